//! Room `app`: the publishers of a check, from their threads.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::app::threads::ring_at_stop;
use crate::clock::{Clock, Instant};
use crate::correlate::Qos;
use crate::preflight::{Accepted, Answer, Login, Message};
use crate::publish::{self, Seen, Sight};
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::wire::{Bell, Limits, Unsendable};

/// How long a broker may take to accept all clients: as long as their event loop has patience for each
/// step, and some more.
const LOGIN_MAX: Duration = Duration::from_secs(12);

/// The publishers of a path, connected or not.
#[derive(Default)]
pub(super) struct Probes {
    publishers: Vec<Publisher>,
    running: Option<Running>,
    group: Tasks,
}

struct Running {
    go: Sender<()>,
    bell: Bell,
    sights: UnboundedReceiver<Sight>,
}

/// What is known of a publisher.
struct Publisher {
    qos: Qos,
    bytes: usize,
    due: Instant,
    opened: Option<Instant>,
    accepted: Option<(Instant, Limits)>,
    sent: Result<Instant, Option<Unsendable>>,
    answers: Vec<Answer>,
    broke: Option<String>,
}

impl Publisher {
    fn new(config: &publish::Config) -> Self {
        Self {
            qos: config.qos,
            bytes: config.size,
            due: Instant::ZERO,
            opened: None,
            accepted: None,
            sent: Err(None),
            answers: Vec::new(),
            broke: None,
        }
    }

    fn note(&mut self, at: Instant, seen: Seen) {
        match seen {
            Seen::Opened => self.opened = Some(at),
            Seen::Accepted(limits) => self.accepted = Some((at, limits)),
            Seen::Broke(why) => self.broke = self.broke.take().or(Some(why)),
            Seen::Due => self.due = at,
            Seen::NotSent(why) => self.sent = Err(Some(why)),
            Seen::Sent => self.sent = Ok(self.sent.unwrap_or(at)),
            Seen::Answered(stage, reason) => self.answers.push(Answer { stage, reason, at }),
        }
    }

    fn login(&self) -> Login {
        let outcome = match (self.accepted, self.opened, &self.broke) {
            (Some((at, limits)), opened, _) => Ok(Accepted {
                after: at.saturating_since(opened.unwrap_or(at)),
                receive_max: limits.receive_max,
                packet_bytes_max: limits.packet_bytes_max,
                qos_max: limits.qos_max,
            }),
            (None, _, Some(why)) => Err(why.clone()),
            (None, ..) => Err("no answer to CONNECT in time; look at the broker's log".to_owned()),
        };
        Login { qos: self.qos, outcome }
    }

    /// The message as far as it is known; what came out of it is still to be added.
    fn message(&self) -> Message {
        let sent = self.sent.map_err(|why| match (why, &self.broke, self.accepted) {
            (Some(Unsendable::TooLarge), _, Some((_, limits))) => format!(
                "with {} bytes of payload it is larger than the broker takes (packets of {} bytes \
                 at most); lower mqtt.payload.size, or raise the broker's maximum packet size",
                self.bytes,
                limits.packet_bytes_max.unwrap_or(u32::MAX)
            ),
            (_, Some(broke), _) => format!("not sent, because the connection broke: {broke}"),
            _ => "not sent in time; try again".to_owned(),
        });
        Message {
            qos: self.qos,
            due: self.due,
            sent,
            answers: self.answers.clone(),
            // Before it was sent, that is why it was not.
            broke: self.broke.clone().filter(|_| self.sent.is_ok()),
            records: Vec::new(),
            copies: Vec::new(),
        }
    }
}

impl Probes {
    /// Begins to connect.
    pub(super) fn start(configs: &[publish::Config], around: (Clock, Stamper)) -> Self {
        let publishers = configs.iter().map(Publisher::new).collect();
        let mut probes = Self { publishers, running: None, group: Tasks::new() };
        let started = probes.start_thread(configs.to_vec(), around);
        if let Err(error) = started {
            for publisher in &mut probes.publishers {
                publisher.broke = Some(format!("this machine has no thread to give: {error}"));
            }
        }
        probes
    }

    fn start_thread(
        &mut self,
        configs: Vec<publish::Config>,
        (clock, stamper): (Clock, Stamper),
    ) -> std::io::Result<()> {
        let bell = Bell::new()?;
        let (go, told_to_go) = channel();
        let (tell, sights) = unbounded_channel();
        let (group, ring) = (self.group.clone(), bell.clone());
        ring_at_stop(&self.group, &bell);
        self.group.thread("publish", move || {
            let around = (clock, &stamper);
            if let Err(error) = publish::probe(configs, around, (told_to_go, tell), ring, &group) {
                tracing::error!("no message is sent, try again: {error}");
            }
        })?;
        self.running = Some(Running { go, bell, sights });
        Ok(())
    }

    /// Waits until the broker has accepted each client or not.
    pub(super) async fn await_logins(&mut self, stop: &Tasks) {
        let all = async {
            while self.publishers.iter().any(|it| it.accepted.is_none() && it.broke.is_none()) {
                if !self.hear().await {
                    return;
                }
            }
        };
        tokio::select! {
            () = all => (),
            () = tokio::time::sleep(LOGIN_MAX) => (),
            () = stop.stopped() => (),
        }
    }

    /// Waits for one sight; false where there will be none.
    pub(super) async fn hear(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(Sight { publisher, at, what }) = running.sights.recv().await else { return false };
        if let Some(publisher) = self.publishers.get_mut(publisher) {
            publisher.note(at, what);
        }
        true
    }

    /// What the broker said to each client.
    pub(super) fn logins(&self) -> Vec<Login> {
        self.publishers.iter().map(Publisher::login).collect()
    }

    /// Whether a message can be sent at all.
    pub(super) fn any_accepted(&self) -> bool {
        self.publishers.iter().any(|publisher| publisher.accepted.is_some())
    }

    /// Has every client that stands send its message.
    pub(super) fn go(&self) {
        if let Some(running) = &self.running {
            // A thread that is gone has said why.
            let _ = running.go.send(());
            running.bell.ring();
        }
    }

    /// The messages of the clients that were accepted, with the places of their publishers.
    pub(super) fn messages(&self) -> Vec<(usize, Message)> {
        let accepted = self.publishers.iter().enumerate().filter(|(_, it)| it.accepted.is_some());
        accepted.map(|(place, publisher)| (place, publisher.message())).collect()
    }

    /// Whether the message of a publisher was given up before it was sent.
    pub(super) fn gave_up(&self, place: usize) -> bool {
        let publisher = self.publishers.get(place);
        publisher.is_none_or(|it| match it.sent {
            Ok(_) => false,
            Err(why) => why.is_some() || it.broke.is_some(),
        })
    }

    /// Says goodbye.
    pub(super) async fn end(self) {
        self.group.stop();
        self.group.finished().await;
    }
}

//! Room `subscribe` (edge): an MQTT subscriber beside the crossing, for lane `mqtt_mqtt`.
//!
//! # Design
//!
//! MQTT has no watermark. What stands in for it is a ping: the connection delivers in order, so a
//! PINGRESP says that everything the broker had sent before it was read. What was due while the
//! subscriber was away is reported as such, since at QoS 0 nobody keeps it: the probe's own absence
//! is not the system's loss.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::clock::{Clock, Instant};
use crate::correlate::{Lane, Observation, PathId, Qos, Reader, Router, Sink};
use crate::shutdown::Tasks;
use crate::stamp::{Reading, Stamper};
use crate::study::{Notice, Role};
use crate::wire::{
    Bell, Client, Endpoint, EventLoop, Failure, Handler, Happening, Message, Mute, Sending, Session,
};

/// How often the broker is pinged: so long a loss waits for its verdict at most.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// How many unanswered pings are remembered, of a broker that has much to say before it answers.
const PINGS_MAX: usize = 64;

/// What one subscriber listens to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its path.
    pub path: PathId,
    /// The broker.
    pub endpoint: Endpoint,
    /// Its connection.
    pub session: Session,
    /// The topic filter that covers every publisher of the path.
    pub filter: String,
    /// The highest QoS of its publishers.
    pub qos: Qos,
}

/// What subscribers are given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where they read the time.
    pub clock: Clock,
    /// What finds their stamps.
    pub stamper: Stamper,
    /// Where they report.
    pub router: Router,
    /// Where they say that they are subscribed, or not.
    pub notices: Sender<Notice>,
    /// Whether a process before this one had their MQTT sessions and ended without goodbye. What the
    /// broker kept for them since has no honest moment of receipt: it is let go.
    pub takes_over: bool,
}

/// Keeps subscribers connected and reports what they are handed, until told to stop. Then they say
/// goodbye and let the broker forget their sessions. `bell` must be rung when it is time to stop.
///
/// # Errors
///
/// When the system has no descriptor or thread to give.
pub fn run(
    configs: Vec<Config>,
    around: Surroundings,
    bell: Bell,
    tasks: &Tasks,
) -> io::Result<()> {
    let sending = || Sending { topic: String::new(), qos: Qos::AtMostOnce, source: Mute };
    let clients: Vec<Client<Mute>> = configs
        .iter()
        .map(|config| Client::new(config.endpoint.clone(), config.session.clone(), sending()))
        .collect();
    let clock = around.clock;
    let subscribers = configs.into_iter().map(Subscriber::new).collect();
    let takes_over = around.takes_over;
    let event_loop = EventLoop::new(clock, Subscribers { around, subscribers }, clients, bell)?;
    if takes_over { event_loop.taking_over() } else { event_loop }.run(tasks)
}

/// Subscribers at work, as the event loop numbers them.
struct Subscribers {
    around: Surroundings,
    subscribers: Vec<Subscriber>,
}

/// One of them.
struct Subscriber {
    config: Config,
    /// When the pings were sent that are not answered, oldest first.
    pinged: VecDeque<Instant>,
    /// When it was last certainly there.
    last_there: Option<Instant>,
    /// Since when it is away, if it was there before.
    away_since: Option<Instant>,
    /// Whether the broker has granted the subscription on this connection.
    subscribed: bool,
    /// Whether messages were taken in since the event loop was woken.
    has_read: bool,
}

impl Handler for Subscribers {
    type Source = Mute;

    fn happened(
        &mut self,
        (index, client): (usize, &mut Client<Mute>),
        happening: Happening,
        at: Instant,
    ) {
        if let Some(subscriber) = self.subscribers.get_mut(index) {
            subscriber.tell(client, happening, (at, &self.around));
        }
    }

    fn turned(&mut self, busy: Duration) {
        let nanos = i64::try_from(busy.as_nanos()).unwrap_or(i64::MAX);
        for subscriber in &mut self.subscribers {
            if std::mem::take(&mut subscriber.has_read) {
                let (path, reader) = (subscriber.config.path, Reader::Subscriber);
                self.around.router.count(path, Observation::Polled { path, reader, nanos });
            }
        }
    }

    fn broke(&mut self, index: usize, failure: &Failure) {
        if let Some(subscriber) = self.subscribers.get_mut(index) {
            subscriber.broke();
            self.around.say(Notice::Down(subscriber.role(), failure.to_string()));
        }
    }
}

impl Subscriber {
    fn new(config: Config) -> Self {
        Self {
            config,
            pinged: VecDeque::new(),
            last_there: None,
            away_since: None,
            subscribed: false,
            has_read: false,
        }
    }

    fn tell(
        &mut self,
        client: &mut Client<Mute>,
        happening: Happening,
        (at, around): (Instant, &Surroundings),
    ) {
        let (path, lane) = (self.config.path, Lane::MqttMqtt);
        match happening {
            // Subscribed anew each time: harmless in a session that is resumed, and a broker that
            // lost its state may still claim one.
            Happening::Connected => client.subscribe(&self.config.filter, self.config.qos),
            Happening::Subscribed(true) => self.back(at, around),
            Happening::Subscribed(false) => {
                let why = format!(
                    "the broker refused the subscription to {}; allow it for this client",
                    self.config.filter
                );
                around.say(Notice::Down(self.role(), why));
            }
            Happening::Message(message) => self.received(&message, (at, around)),
            // Told before it is written, which is the safe side. An answer without its ping says less
            // than it could, and never too much.
            Happening::Ping if self.pinged.len() < PINGS_MAX => self.pinged.push_back(at),
            // Who is not subscribed has read nothing, however alive the connection is.
            Happening::Pong if !self.subscribed => {
                client.subscribe(&self.config.filter, self.config.qos);
            }
            Happening::Pong => {
                self.last_there = Some(at);
                if let Some(at) = self.pinged.pop_front() {
                    around.router.tell_all(Observation::CaughtUp { path, lane, at });
                }
            }
            Happening::Ping
            | Happening::Sent { .. }
            | Happening::Dropped(_)
            | Happening::Answered { .. } => (),
        }
    }

    fn back(&mut self, at: Instant, around: &Surroundings) {
        if let Some(from) = self.away_since.take() {
            let (path, lane) = (self.config.path, Lane::MqttMqtt);
            around.router.tell_all(Observation::Away { path, lane, from, until: at });
        }
        self.last_there = Some(at);
        self.subscribed = true;
        around.say(Notice::Up(self.role()));
    }

    fn broke(&mut self) {
        self.away_since = self.away_since.or(self.last_there);
        self.pinged.clear();
        self.subscribed = false;
    }

    fn received(&mut self, message: &Message, (at, around): (Instant, &Surroundings)) {
        self.has_read = true;
        let path = self.config.path;
        let property = message.property.as_deref().map(str::as_bytes);
        let Reading::Ours(found) = around.stamper.read(property, &message.payload) else {
            around.router.count(path, Observation::Foreign { path, count: 1 });
            return;
        };
        if found.identity.flags.control {
            // A control message is for Kafka alone: somebody copied it here.
            around.router.count(path, Observation::Foreign { path, count: 1 });
            return;
        }
        self.last_there = Some(at);
        let publisher = found.identity.publisher;
        let observation = Observation::Received {
            path,
            stamped_path: PathId(found.identity.path),
            publisher,
            sequence: found.identity.sequence,
            sink: Sink::Mqtt { resent: message.resent },
            at,
            integrity: found.integrity,
            carriers: found.carriers,
            span: found.span,
        };
        around.router.receive(path, publisher, observation);
    }

    fn role(&self) -> Role {
        Role::Subscriber(self.config.path.0)
    }
}

impl Surroundings {
    fn say(&self, notice: Notice) {
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.blocking_send(notice);
    }
}

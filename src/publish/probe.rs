//! Room `publish`: one message of each publisher, for a check.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::mpsc::UnboundedSender;

use super::composer::Composer;
use super::{Config, client};
use crate::clock::{Clock, Instant};
use crate::correlate::Stage;
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::wire::{
    Bell, Client, Clients, EventLoop, Failure, Handler, Happening, Limits, Unsendable,
};

/// The number of the only message of a publisher.
pub const SEQUENCE: u64 = 0;

/// One thing that was seen of a publisher.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Its place among the publishers.
    pub publisher: usize,
    /// When.
    pub at: Instant,
    /// What.
    pub what: Seen,
}

/// What can be seen of a publisher.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Its socket is connected, and CONNECT comes next.
    Opened,
    /// The broker accepted it, and takes so much.
    Accepted(Limits),
    /// It was not let in, or its connection broke; it stays away.
    Broke(String),
    /// Its message is to be sent.
    Due,
    /// Its message was not taken.
    NotSent(Unsendable),
    /// Its message was handed to the socket.
    Sent,
    /// The broker answered its message.
    Answered(Stage, u8),
}

/// Connects publishers, each once, and sends one message of each that stands when `go` says so. Tells
/// what it sees until told to stop; then they say goodbye and let the broker forget their sessions.
/// `bell` must be rung at either.
///
/// # Errors
///
/// When the system has no descriptor, timer or thread to give.
pub fn probe(
    publishers: Vec<Config>,
    (clock, stamper): (Clock, &Stamper),
    (go, tell): (Receiver<()>, UnboundedSender<Sight>),
    bell: Bell,
    tasks: &Tasks,
) -> io::Result<()> {
    let probe = Probe { clock, count: publishers.len(), go, tell, is_due: false };
    let stamper = Arc::new(stamper.clone());
    let clients = publishers.into_iter().map(|config| client(config, &stamper));
    EventLoop::new(clock, probe, clients, bell)?.run(tasks)
}

/// Publishers at work, as the event loop numbers them.
struct Probe {
    clock: Clock,
    count: usize,
    go: Receiver<()>,
    tell: UnboundedSender<Sight>,
    is_due: bool,
}

impl Probe {
    fn say(&self, publisher: usize, at: Instant, what: Seen) {
        // Fails only when nobody looks any more.
        let _ = self.tell.send(Sight { publisher, at, what });
    }
}

impl Handler for Probe {
    type Source = Composer;

    fn next_due(&self) -> Option<Instant> {
        self.is_due.then_some(Instant::ZERO)
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Composer>) {
        self.is_due = false;
        for publisher in 0..self.count {
            self.say(publisher, now, Seen::Due);
            if let Err(why) = clients.publish(publisher, SEQUENCE, now) {
                self.say(publisher, now, Seen::NotSent(why));
            }
        }
    }

    fn called(&mut self) {
        self.is_due |= self.go.try_recv().is_ok();
    }

    fn opened(&mut self, publisher: usize, at: Instant) {
        self.say(publisher, at, Seen::Opened);
    }

    fn happened(
        &mut self,
        (publisher, client): (usize, &mut Client<Composer>),
        happening: Happening,
        at: Instant,
    ) {
        let what = match happening {
            Happening::Connected => client.limits().map(Seen::Accepted),
            Happening::Sent { .. } => Some(Seen::Sent),
            Happening::Answered { stage, reason, .. } => Some(Seen::Answered(stage, reason)),
            // The connection broke, which is told beside it.
            Happening::Dropped(_)
            | Happening::Message(_)
            | Happening::Subscribed(_)
            | Happening::Ping
            | Happening::Pong => None,
        };
        if let Some(what) = what {
            self.say(publisher, at, what);
        }
    }

    fn broke(&mut self, publisher: usize, failure: &Failure) {
        self.say(publisher, self.clock.now(), Seen::Broke(failure.to_string()));
    }

    /// One message is one message: nothing is sent again.
    fn comes_back(&self, _: usize) -> bool {
        false
    }
}

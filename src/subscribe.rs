//! Room `subscribe` (edge): an MQTT subscriber beside the crossing, for lane `mqtt_mqtt`.
//!
//! # Design
//!
//! MQTT has no watermark. What stands in for it is a ping: the connection delivers in order, so a
//! PINGRESP says that everything the broker had sent before it was read. What was due while the
//! subscriber was away is reported as such, since at QoS 0 nobody keeps it: the probe's own absence
//! is not the system's loss.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::clock::{Clock, Instant};
use crate::correlate::{Lane, Observation, PathId, Qos, Router, Sink};
use crate::shutdown::Tasks;
use crate::stamp::{Reading, Stamper};
use crate::study::{Notice, Role};
use crate::wire::{
    self, Client, Connection, Endpoint, Happening, Leftover, Link, Message, Session, Step,
};

/// How often the broker is pinged: so long a loss waits for its verdict at most.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// How long a leaving client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

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

/// A subscriber at work.
struct Subscriber {
    config: Config,
    client: Client,
    clock: Clock,
    stamper: Stamper,
    router: Router,
    notices: Sender<Notice>,
    /// When the last ping was sent.
    pinged: Option<Instant>,
    /// When it was last certainly there.
    last_there: Option<Instant>,
    /// Since when it is away, if it was there before.
    away_since: Option<Instant>,
    /// Whether the broker has granted the subscription on this connection.
    subscribed: bool,
}

/// Keeps one subscriber connected and reports what it is handed, until told to stop. Then it lets
/// the broker forget its session.
pub async fn run(
    config: Config,
    clock: Clock,
    stamper: Stamper,
    router: Router,
    notices: Sender<Notice>,
    tasks: Tasks,
) {
    let (client, connection) = wire::connect(&config.endpoint, &config.session);
    let (pinged, last_there, away_since, subscribed) = (None, None, None, false);
    let mut subscriber = Subscriber {
        config,
        client,
        clock,
        stamper,
        router,
        notices,
        pinged,
        last_there,
        away_since,
        subscribed,
    };
    let mut link = Link::new(connection);
    loop {
        match link.step(&tasks).await {
            Step::Happened(happening) => subscriber.tell(happening).await,
            Step::Broke(failure, leftover) => {
                subscriber.broken(leftover, failure.to_string()).await;
            }
            Step::Stopped => break,
        }
    }
    // Whoever does not answer by then keeps a session that expires by itself.
    let _ = tokio::time::timeout(GOODBYE, subscriber.leave(link.into_connection())).await;
}

impl Subscriber {
    async fn tell(&mut self, happening: Happening) {
        let at = self.clock.now();
        match happening {
            // Subscribed anew each time: harmless in a session that is resumed, and a broker that
            // lost its state may still claim one.
            Happening::Connected { .. } => self.subscribe().await,
            Happening::Subscribed(true) => self.back(at).await,
            Happening::Subscribed(false) => {
                let why = format!(
                    "the broker refused the subscription to {}; allow it for this client",
                    self.config.filter
                );
                self.say(Notice::Down(self.role(), why)).await;
            }
            Happening::Message(message) => self.received(&message, at),
            Happening::Ping => self.pinged = Some(at),
            // Who is not subscribed has read nothing, however alive the connection is.
            Happening::Pong if !self.subscribed => self.subscribe().await,
            Happening::Pong => {
                self.last_there = Some(at);
                if let Some(at) = self.pinged.take() {
                    let (path, lane) = (self.config.path, Lane::MqttMqtt);
                    self.router.tell_all(Observation::CaughtUp { path, lane, at });
                }
            }
            Happening::Sent(_) | Happening::Answered { .. } | Happening::Other => (),
        }
    }

    async fn subscribe(&mut self) {
        if self.client.subscribe(&self.config.filter, self.config.qos).is_err() {
            let why = "the client's queue is full of subscriptions".to_owned();
            self.say(Notice::Down(self.role(), why)).await;
        }
    }

    async fn back(&mut self, at: Instant) {
        if let Some(from) = self.away_since.take() {
            let (path, lane) = (self.config.path, Lane::MqttMqtt);
            self.router.tell_all(Observation::Away { path, lane, from, until: at });
        }
        self.last_there = Some(at);
        self.subscribed = true;
        self.say(Notice::Up(self.role())).await;
    }

    async fn broken(&mut self, leftover: Leftover, reason: String) {
        self.away_since = self.away_since.or(self.last_there);
        self.pinged = None;
        self.subscribed = false;
        let at = self.clock.now();
        for happening in leftover.happenings {
            if let Happening::Message(message) = happening {
                self.received(&message, at);
            }
        }
        self.say(Notice::Down(self.role(), reason)).await;
    }

    fn received(&mut self, message: &Message, at: Instant) {
        let path = self.config.path;
        let property = message.property.as_deref().map(str::as_bytes);
        let Reading::Ours(found) = self.stamper.read(property, &message.payload) else {
            self.router.count(path, Observation::Foreign { path, count: 1 });
            return;
        };
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
        };
        self.router.receive(path, publisher, observation);
    }

    async fn leave(self, mut connection: Connection) {
        if self.client.disconnect().is_ok() {
            while connection.poll().await.is_ok() {}
        }
        wire::forget_session(&self.config.endpoint, &self.config.session).await;
    }

    fn role(&self) -> Role {
        Role::Subscriber(self.config.path.0)
    }

    async fn say(&self, notice: Notice) {
        // Fails only when nobody listens any more, at the end of the run.
        let _ = self.notices.send(notice).await;
    }
}

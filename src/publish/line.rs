//! Room `publish`: one publisher's connection.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::tracker::Tracker;
use crate::clock::Clock;
use crate::correlate::{NotSent, PublisherId, Qos, Router};
use crate::shutdown::Tasks;
use crate::stamp::Format;
use crate::study::{Notice, Role};
use crate::wire::{self, Client, Connection, Endpoint, Happening, Leftover, Link, Session, Step};

/// How long a leaving client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a PUBLISH packet holds beside topic and payload, generously.
const PACKET_OVERHEAD: usize = 128;

/// What one publisher sends, and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is in the roster.
    pub publisher: PublisherId,
    /// Index of its path, as the stamp has it.
    pub path: u8,
    /// Its index within the path, as the stamp has it.
    pub index: u32,
    /// The broker.
    pub endpoint: Endpoint,
    /// Its connection.
    pub session: Session,
    /// The topic it publishes to.
    pub topic: String,
    /// The QoS it publishes with.
    pub qos: Qos,
    /// How its payloads are written.
    pub format: Format,
    /// How large they are, in bytes.
    pub size: usize,
}

/// What the pacing task and the connection's task of one publisher share. They run on one thread; the
/// locks are never waited for, and are there because a task must be fit to move.
#[derive(Debug)]
pub struct Line {
    pub(super) config: Config,
    client: Client,
    tracker: Mutex<Tracker>,
    connected: AtomicBool,
    packet_bytes_max: AtomicU32,
}

impl Line {
    /// A publisher that is not connected yet; [`run`] connects it.
    #[must_use]
    pub fn new(config: Config) -> (Arc<Self>, Connection) {
        let (client, connection) = wire::connect(&config.endpoint, &config.session);
        let tracker = Tracker::new(config.publisher, config.qos, config.session.inflight);
        let line = Self {
            tracker: Mutex::new(tracker),
            connected: AtomicBool::new(false),
            packet_bytes_max: AtomicU32::new(u32::MAX),
            client,
            config,
        };
        (Arc::new(line), connection)
    }

    /// Queues a message, or says why it will not be sent.
    pub(super) fn queue(
        &self,
        sequence: u64,
        payload: Bytes,
        property: Option<String>,
    ) -> Result<(), NotSent> {
        if !self.connected.load(Ordering::Acquire) {
            return Err(NotSent::Disconnected);
        }
        let size = payload.len() + self.config.topic.len() + PACKET_OVERHEAD;
        if size > self.packet_bytes_max.load(Ordering::Relaxed) as usize {
            return Err(NotSent::Refused);
        }
        let (topic, qos) = (self.config.topic.clone(), self.config.qos);
        let mut tracker = self.tracker();
        tracker.queue(sequence);
        self.client.publish(wire::Outgoing { topic, qos, payload, property }).map_err(|_| {
            tracker.unqueue();
            NotSent::QueueFull
        })
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection's task needs beside its line.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    clock: Clock,
    router: Router,
    notices: Sender<Notice>,
}

/// Keeps one publisher connected and reports what happens to its messages, until told to stop. Then
/// it says goodbye and lets the broker forget its session.
pub async fn run(
    line: Arc<Line>,
    connection: Connection,
    clock: Clock,
    router: Router,
    notices: Sender<Notice>,
    tasks: Tasks,
) {
    let around = Surroundings { clock, router, notices };
    let mut link = Link::new(connection);
    loop {
        match link.step(&tasks).await {
            Step::Happened(happening) => line.tell(happening, &around).await,
            Step::Broke(failure, leftover) => {
                line.broken(leftover, &around).await;
                let role = Role::Publisher(line.config.publisher.0);
                let _ = around.notices.send(Notice::Down(role, failure.to_string())).await;
            }
            Step::Stopped => break,
        }
    }
    line.connected.store(false, Ordering::Release);
    let goodbye = line.leave(link.into_connection(), &around);
    // Whoever does not answer by then keeps a session that expires by itself.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

impl Line {
    /// Reports one happening.
    async fn tell(&self, happening: Happening, around: &Surroundings) {
        let at = around.clock.now();
        let observation = match happening {
            Happening::Sent(packet_id) => self.tracker().sent(packet_id, at),
            Happening::Answered { packet_id, stage, reason } => {
                self.tracker().answered(packet_id, stage, reason, at)
            }
            Happening::Connected { session_present, packet_bytes_max } => {
                self.packet_bytes_max
                    .store(packet_bytes_max.unwrap_or(u32::MAX), Ordering::Relaxed);
                let mut observations = Vec::new();
                self.tracker().connected(session_present, &mut observations);
                for observation in observations {
                    around.router.publish(self.config.publisher, observation);
                }
                self.connected.store(true, Ordering::Release);
                let role = Role::Publisher(self.config.publisher.0);
                // Fails only when nobody listens any more, at the end of the run.
                let _ = around.notices.send(Notice::Up(role)).await;
                None
            }
            _ => None,
        };
        if let Some(observation) = observation {
            around.router.publish(self.config.publisher, observation);
        }
    }

    /// Takes stock of a connection that broke.
    async fn broken(&self, mut leftover: Leftover, around: &Surroundings) {
        self.connected.store(false, Ordering::Release);
        for happening in std::mem::take(&mut leftover.happenings) {
            // A CONNACK that was not told of before the connection broke again stands no more.
            if matches!(happening, Happening::Answered { .. }) {
                self.tell(happening, around).await;
            }
        }
        let mut observations = Vec::new();
        self.tracker().broke(&leftover, &mut observations);
        for observation in observations {
            around.router.publish(self.config.publisher, observation);
        }
    }

    async fn leave(&self, mut connection: Connection, around: &Surroundings) {
        // A handshake that is under way is finished, so that the broker is left nothing half done.
        while !self.tracker().is_idle() {
            let Ok(happening) = connection.poll().await else { break };
            self.tell(happening, around).await;
        }
        if self.client.disconnect().is_ok() {
            while let Ok(happening) = connection.poll().await {
                self.tell(happening, around).await;
            }
        }
        wire::forget_session(&self.config.endpoint, &self.config.session).await;
    }
}

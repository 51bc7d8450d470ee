//! Room `wire`: a client on its socket.

mod reading;

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

use super::outbox::Buffers;
use super::protocol::Protocol;
use super::stream::Stream;
use super::{Endpoint, Failure, Happening, Limits, Sending, Session, Source, Unsendable};
use crate::clock::Instant;
use crate::correlate::Qos;
use reading::Pace;

/// No more is written at a time, so that nobody else waits for long and what is said of it is recent.
const WRITE_BYTES: usize = 128 * 1_024;

/// One MQTT client: its sessions and connections, one after the other. Never waits for its socket.
#[derive(Debug)]
pub struct Client<S> {
    endpoint: Endpoint,
    session: Session,
    protocol: Protocol<S>,
    stream: Option<Stream>,
    /// What came in of a packet that is not complete.
    inbox: Vec<u8>,
    habits: Habits,
}

/// What is not as usual with a client.
#[derive(Clone, Copy, Debug, Default)]
struct Habits {
    /// Its sessions end with their connections.
    forgetful: bool,
    /// It does not wait for its turn to connect.
    rushing: bool,
    /// It reads only so much, and rests between.
    pace: Option<Pace>,
}

impl<S: Source> Client<S> {
    /// A client without a connection; an [`EventLoop`](super::EventLoop) makes it one. The session is
    /// asked to outlive connections.
    #[must_use]
    pub fn new(endpoint: Endpoint, session: Session, sending: Sending<S>) -> Self {
        let protocol = Protocol::new(endpoint.version, &session, sending);
        let (stream, inbox, habits) = (None, Vec::new(), Habits::default());
        Self { endpoint, session, protocol, stream, inbox, habits }
    }

    /// The same, that has the broker keep the last message of its topic, and forget it at goodbye.
    #[must_use]
    pub fn retaining(mut self) -> Self {
        self.protocol.retain();
        self
    }

    /// The same, with sessions that end with their connections.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.habits.forgetful = true;
        self
    }

    /// The same, that connects at its moment, however many others are on the way to the same broker.
    #[must_use]
    pub fn rushing(mut self) -> Self {
        self.habits.rushing = true;
        self
    }

    /// The same, that reads so many bytes a second at most: what comes faster waits for it in the broker.
    /// One record of an encrypted connection may wait here, 16 KiB.
    #[must_use]
    pub fn reading(mut self, bytes_a_second: u32) -> Self {
        self.habits.pace = Some(Pace::new(bytes_a_second));
        self
    }

    /// Subscribes to one topic filter. What the broker says comes as [`Happening::Subscribed`].
    pub fn subscribe(&mut self, filter: &str, qos: Qos) {
        self.subscribe_all(std::iter::once(filter), qos);
    }

    /// The same with several filters in one packet: at least one, and so few that the packet stays small.
    pub fn subscribe_all<'a>(&mut self, filters: impl Iterator<Item = &'a str>, qos: Qos) {
        self.protocol.subscribe(filters, qos);
    }

    /// What the broker takes, by its last word; nothing as long as it never accepted a connection.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.protocol.limits()
    }

    /// Whether its sessions end with their connections.
    pub(super) fn is_forgetful(&self) -> bool {
        self.habits.forgetful
    }

    /// Whether it does not wait for its turn to connect.
    pub(super) fn is_rushing(&self) -> bool {
        self.habits.rushing
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many of its messages wait, or are not fully answered.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.protocol.under_way()
    }

    pub(super) fn connect_after(&self) -> Duration {
        self.session.connect_after
    }

    pub(super) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref().map(Stream::tcp)
    }

    pub(super) fn publish(&mut self, number: u64, now: Instant) -> Result<(), Unsendable> {
        self.protocol.publish(number, now)
    }

    /// Whether every message was written and fully answered.
    pub(super) fn is_idle(&self) -> bool {
        self.protocol.is_idle()
    }

    /// Whether the broker accepted the connection and it stands.
    pub(super) fn is_up(&self) -> bool {
        self.protocol.is_up()
    }

    /// Whether goodbye was said on the connection that stands.
    pub(super) fn is_parting(&self) -> bool {
        self.protocol.is_parting()
    }

    pub(super) fn keep_alive(&self) -> Duration {
        self.protocol.keep_alive()
    }

    /// Takes a socket that does not block and is being connected.
    pub(super) fn attach(&mut self, stream: TcpStream) {
        if let Some(pace) = self.habits.pace {
            // What waits must wait in the broker and not here. Where the system does not let us, more does.
            let _ = sockopt::set_socket_recv_buffer_size(&stream, pace.buffer_bytes());
        }
        self.stream = Some(Stream::Plain(stream));
    }

    /// Goes on to encrypt a connection that is to be; whether it can be talked on.
    pub(super) fn encrypt(&mut self) -> Result<bool, Failure> {
        let Some(tls) = &self.endpoint.tls else { return Ok(true) };
        let Some(stream) = self.stream.take() else { return Ok(false) };
        let stream = self.stream.insert(stream.encrypt(tls, &self.endpoint.host)?);
        Ok(matches!(stream, Stream::Encrypted(_)))
    }

    /// Begins to talk on a socket that is connected.
    pub(super) fn connect(&mut self, clean: bool) {
        self.protocol.connect(&self.endpoint, &self.session, clean);
    }

    /// Asks the broker for a sign of life.
    pub(super) fn ping(&mut self) -> Result<Happening, Failure> {
        self.protocol.ping()
    }

    /// Says goodbye; the broker closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.protocol.disconnect();
    }

    /// Gives up what was not sent and what was not answered.
    pub(super) fn abandon(&mut self) {
        self.protocol.abandon();
    }

    /// Takes stock of a connection that broke, and closes it.
    pub(super) fn broke(&mut self, happenings: &mut Vec<Happening>) {
        self.stream = None;
        self.inbox = Vec::new();
        self.protocol.broke(happenings);
    }

    /// Writes as much as the socket takes now and appends what was sent; whether that was everything.
    pub(super) fn flush(
        &mut self,
        buffers: &mut Buffers,
        happenings: &mut Vec<Happening>,
    ) -> Result<bool, Failure> {
        self.protocol.borrow(buffers);
        let flushed = self.write(happenings);
        self.protocol.give_back(buffers);
        flushed
    }

    fn write(&mut self, happenings: &mut Vec<Happening>) -> Result<bool, Failure> {
        let Some(stream) = &mut self.stream else { return Ok(true) };
        let mut total = 0;
        while total < WRITE_BYTES {
            let bytes = self.protocol.unwritten();
            if bytes.is_empty() {
                self.protocol.note_held();
                return Ok(true);
            }
            match stream.write(bytes) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    total += count;
                    self.protocol.written(count, happenings);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.protocol.note_held();
                    return Ok(false);
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(false)
    }

    /// Tells the broker that nothing more will be written, as a client must behind its DISCONNECT; what
    /// the broker still sends is read.
    pub(super) fn close_for_writing(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.close_for_writing();
        }
    }
}

fn closed() -> Failure {
    Failure::new("the broker closed the connection", "see its log")
}

fn lost(error: &io::Error) -> Failure {
    let what = format!("the connection to the broker was lost: {error}");
    Failure::new(what, "check that it runs, and the network")
}

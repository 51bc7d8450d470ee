//! Room `wire`: where one client of an event loop stands with its broker.

use std::net::SocketAddr;
use std::time::Duration;
use std::vec::IntoIter;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::dial::Sources;
use super::{Client, Failure, Source, Version};
use crate::clock::Instant;

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How long the name server may take until that is said. It is asked on, as long as it takes.
pub(super) const RESOLVE_MAX: Duration = Duration::from_secs(5);
/// How long a broker may take to accept a connection, and again to answer CONNECT.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How far a client has come. Its timer says when that has taken long enough.
#[derive(Debug)]
pub(super) enum Phase {
    /// It will dial again.
    Waiting,
    /// It waits until there is room for one more on the way in.
    Lobby,
    /// Its broker's name is looked up.
    Resolving,
    /// Its socket is being connected; the other addresses are still to be tried.
    Connecting(IntoIter<SocketAddr>),
    /// Its connection is being encrypted.
    Shaking,
    /// It talks to its broker.
    Open,
    /// It is done.
    Gone,
}

/// How a client comes and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It has not begun: it connects once, so that the broker forgets an old session.
    Before,
    /// It said goodbye to the old session and begins.
    Begun,
    /// It stays.
    No,
    /// It finishes what is under way.
    Finishing,
    /// It said goodbye.
    Parted,
    /// It connects once more, so that the broker forgets its session: MQTT 3.1.1 knows no expiry, and
    /// messages would pile up for a subscriber that is gone.
    Forgetting,
}

/// A client of an event loop.
#[derive(Debug)]
pub(super) struct Place<S> {
    pub(super) client: Client<S>,
    pub(super) phase: Phase,
    pub(super) leaving: Leaving,
    /// When its phase has taken long enough, or a ping is due.
    pub(super) timer: Option<Instant>,
    /// Whether the loop waits for room in its socket.
    pub(super) is_blocked: bool,
    /// Until when nothing is read from its socket, if it rests.
    pub(super) rests_until: Option<Instant>,
    /// The handler wants it to go, with a goodbye or without, and to come again at a moment.
    pub(super) absence: Option<(bool, Instant)>,
    /// Whether the handler has given it something to write.
    pub(super) is_touched: bool,
    /// When it began to connect to an address.
    pub(super) dialed: Instant,
    /// When its socket was connected.
    pub(super) opened: Instant,
    /// When its connection was encrypted, if it is.
    pub(super) encrypted: Option<Instant>,
    /// Of a row of failures.
    delays: Option<ExponentialBackoff>,
}

impl<S: Source> Place<S> {
    pub(super) fn new(client: Client<S>) -> Self {
        Self {
            client,
            phase: Phase::Waiting,
            leaving: Leaving::No,
            timer: None,
            is_blocked: false,
            rests_until: None,
            absence: None,
            is_touched: false,
            dialed: Instant::ZERO,
            opened: Instant::ZERO,
            encrypted: None,
            delays: None,
        }
    }

    /// Has it forget an old session before it begins.
    pub(super) fn take_over(&mut self) {
        self.leaving = Leaving::Before;
    }

    /// Begins to connect to the first of these addresses that can be tried at all.
    pub(super) fn dial(
        &mut self,
        mut addresses: IntoIter<SocketAddr>,
        sources: &mut Sources,
    ) -> Result<(), Failure> {
        let mut why = "its name has no address".to_owned();
        for address in addresses.by_ref() {
            match sources.connecting(address) {
                Ok(stream) => {
                    self.client.attach(stream);
                    self.phase = Phase::Connecting(addresses);
                    return Ok(());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(self.unreachable(&why))
    }

    /// Whether its socket is connected, or why it is not.
    pub(super) fn is_connected(&self) -> Result<(), Failure> {
        let failed = self.client.stream().and_then(|stream| stream.take_error().transpose());
        if let Some(error) = failed {
            let why = error.unwrap_or_else(|error| error).to_string();
            return Err(self.unreachable(&why));
        }
        Ok(())
    }

    /// Whether its socket is connected by now.
    pub(super) fn is_there(&self) -> bool {
        self.client.stream().is_some_and(|stream| stream.peer_addr().is_ok())
    }

    /// Says CONNECT on a connection that can be talked on.
    pub(super) fn open(&mut self) {
        let is_clean = matches!(self.leaving, Leaving::Forgetting | Leaving::Before)
            || self.client.is_forgetful();
        self.client.connect(is_clean);
        self.phase = Phase::Open;
    }

    /// What is said of a broker that can't be reached.
    pub(super) fn unreachable(&self, why: &str) -> Failure {
        self.unconnected(why, "check mqtt.url, and that the broker runs")
    }

    /// What is said of a broker whose name nobody looks up.
    pub(super) fn unresolved(&self) -> Failure {
        self.unconnected("no answer from the name server", "check that it runs")
    }

    fn unconnected(&self, why: &str, to_do: &str) -> Failure {
        let endpoint = self.client.endpoint();
        let what = format!("can't connect to {}:{}: {why}", endpoint.host, endpoint.port);
        Failure::new(what, to_do)
    }

    /// The broker does what is asked of it: the next attempt need not wait long. Accepting is not
    /// enough, since a broker may do that and close the connection for what comes next.
    pub(super) fn forget_delays(&mut self) {
        self.delays = None;
    }

    /// Waits without a connection.
    fn pause(&mut self) {
        self.is_blocked = false;
        self.rests_until = None;
        self.phase = Phase::Waiting;
    }

    /// Waits without a connection that was given up without need.
    pub(super) fn wait(&mut self) {
        self.pause();
        self.forget_delays();
    }

    /// Goes on without a connection; how long to wait for the next one, if there is to be one.
    pub(super) fn go_on(&mut self) -> Option<Duration> {
        self.pause();
        let keeps_session =
            self.client.endpoint().version == Version::V4 && !self.client.is_forgetful();
        match self.leaving {
            Leaving::Begun => {
                self.leaving = Leaving::No;
                return Some(Duration::ZERO);
            }
            Leaving::No | Leaving::Before => {
                return Some(self.delays.get_or_insert_with(delays).next().unwrap_or(DELAY_MAX));
            }
            Leaving::Parted if !keeps_session => self.phase = Phase::Gone,
            Leaving::Finishing if self.client.is_forgetful() => self.phase = Phase::Gone,
            Leaving::Finishing | Leaving::Parted => {
                self.leaving = Leaving::Forgetting;
                self.client.abandon();
                return Some(Duration::ZERO);
            }
            Leaving::Forgetting => self.phase = Phase::Gone,
        }
        None
    }

    /// Says goodbye where it is to leave and nothing is under way any more; whether it just did.
    pub(super) fn part(&mut self) -> bool {
        let may_part = match self.leaving {
            Leaving::No | Leaving::Parted | Leaving::Begun => false,
            Leaving::Finishing => self.client.is_idle(),
            Leaving::Forgetting | Leaving::Before => true,
        };
        if !may_part || !self.client.is_up() {
            return false;
        }
        self.client.disconnect();
        match self.leaving {
            Leaving::Finishing => self.leaving = Leaving::Parted,
            Leaving::Before => self.leaving = Leaving::Begun,
            _ => (),
        }
        true
    }
}

fn delays() -> ExponentialBackoff {
    let delays = ExponentialBuilder::default().with_min_delay(DELAY_MIN).with_max_delay(DELAY_MAX);
    delays.with_jitter().without_max_times().build()
}

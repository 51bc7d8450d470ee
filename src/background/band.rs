//! Room `background`: clients of one kind.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Instant;
use crate::correlate::{Bystander, PathId, Qos};
use crate::study::Notice;
use crate::wire::{Client, Clients, Endpoint, Mute, Sending, Session};

/// How often the same band may complain.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// Part of its period that a storm is away for.
const LULL: u32 = 10;

/// Clients of one kind on a path.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path that they are there for.
    pub path: PathId,
    /// What they do.
    pub kind: Bystander,
    /// How many they are.
    pub count: u32,
    /// The broker.
    pub endpoint: Endpoint,
    /// Their connections; each client id has a number behind, and each but of a storm waits so often as
    /// long.
    pub session: Session,
    /// What those that listen are subscribed to.
    pub filter: String,
    /// At which QoS.
    pub qos: Qos,
    /// How often those come that come and go.
    pub every: Duration,
    /// How many bytes a second each of those reads that read slowly.
    pub read: u32,
    /// Where it is counted what becomes of them.
    pub tally: Tally,
}

/// What became of the clients of one kind, for whoever shows it. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Counting>);

#[derive(Debug, Default)]
struct Counting {
    received: AtomicU64,
    connected: AtomicU64,
}

/// What a [`Tally`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many messages they were handed so far.
    pub received: u64,
    /// How many of them are connected.
    pub connected: u64,
}

impl Tally {
    /// How it stands.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            received: self.0.received.load(Ordering::Relaxed),
            connected: self.0.connected.load(Ordering::Relaxed),
        }
    }
}

impl Config {
    /// The clients, none of them connected.
    pub(super) fn clients(&self) -> impl Iterator<Item = Client<Mute>> {
        (0..self.count).map(|number| {
            let mut session = self.session.clone();
            session.client_id = format!("{}{number}", session.client_id);
            if self.kind != Bystander::Storm {
                session.connect_after *= number;
            }
            let sending = Sending { topic: String::new(), qos: Qos::AtMostOnce, source: Mute };
            let client = Client::new(self.endpoint.clone(), session, sending);
            match self.kind {
                Bystander::Persistent => client,
                Bystander::SlowSubscriber => client.forgetful().reading(self.read),
                Bystander::Idle => client.forgetful(),
                Bystander::Storm => client.forgetful().rushing(),
            }
        })
    }
}

/// Clients of one kind at work.
pub(super) struct Band {
    config: Config,
    /// Their numbers on the thread.
    numbers: Range<usize>,
    /// Whether each is connected.
    is_up: Vec<bool>,
    /// When they go next, if they do.
    goes: Option<Instant>,
    /// When they may complain again.
    next_complaint: Instant,
}

impl Band {
    /// Numbers from `first` on; the first ones come at `begun`.
    pub(super) fn new(config: Config, first: usize, begun: Instant) -> Self {
        let count = config.count as usize;
        let goes = match config.kind {
            Bystander::Idle | Bystander::SlowSubscriber => None,
            Bystander::Persistent => Some(begun + config.every / 2),
            Bystander::Storm => Some(begun + config.every),
        };
        let (numbers, is_up) = (first..first + count, vec![false; count]);
        Self { config, numbers, is_up, goes, next_complaint: Instant::ZERO }
    }

    /// The number behind its last one.
    pub(super) fn end(&self) -> usize {
        self.numbers.end
    }

    pub(super) fn path(&self) -> PathId {
        self.config.path
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.goes
    }

    /// Has them go, and come again at their time.
    pub(super) fn go(&mut self, now: Instant, clients: &mut Clients<'_, Mute>) {
        let (every, is_storm) = (self.config.every, self.config.kind == Bystander::Storm);
        let until = now + if is_storm { every / LULL } else { every / 2 };
        self.goes = Some(now + every);
        for number in self.numbers.clone() {
            self.left(number);
            clients.send_away(number, is_storm, until);
        }
    }

    /// One of them is connected.
    pub(super) fn came(&mut self, number: usize, client: &mut Client<Mute>) {
        if self.config.kind.listens() {
            client.subscribe(&self.config.filter, self.config.qos);
        }
        if !self.set_up(number, true) {
            self.config.tally.0.connected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One of them is not connected any more, if it was.
    pub(super) fn left(&mut self, number: usize) {
        if self.set_up(number, false) {
            self.config.tally.0.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One of them was handed a message.
    pub(super) fn received(&self) {
        self.config.tally.0.received.fetch_add(1, Ordering::Relaxed);
    }

    /// What there is to complain of, unless that was done just now.
    pub(super) fn complain(&mut self, what: &str, now: Instant) -> Option<Notice> {
        if now < self.next_complaint {
            return None;
        }
        self.next_complaint = now + COMPLAIN_EVERY;
        let text = format!("background clients, {}: {what}", self.config.kind.name());
        Some(Notice::Warning { path: self.config.path.0, kind: "background", text })
    }

    /// Notes whether one is connected; whether it was.
    fn set_up(&mut self, number: usize, is_up: bool) -> bool {
        let place = number.checked_sub(self.numbers.start);
        let known = place.and_then(|place| self.is_up.get_mut(place));
        known.is_some_and(|known| std::mem::replace(known, is_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;

    const EVERY: Duration = Duration::from_secs(10);

    fn band(kind: Bystander, first: usize) -> Band {
        let config = Config {
            path: PathId(1),
            kind,
            count: 3,
            endpoint: samples::endpoint("localhost", 1_883),
            session: samples::session("b"),
            filter: "t".into(),
            qos: Qos::AtLeastOnce,
            every: EVERY,
            read: 100,
            tally: Tally::default(),
        };
        Band::new(config, first, Instant::ZERO)
    }

    #[test]
    fn who_is_connected_is_counted_once() {
        let mut band = band(Bystander::Idle, 7);
        let mut client = band.config.clients().next().unwrap();
        let tally = band.config.tally.clone();
        for number in [7, 9, 9] {
            band.came(number, &mut client);
        }
        band.left(8);
        assert_eq!(tally.counts(), Counts { received: 0, connected: 2 });
        for number in [6, 7, 7, 10, 9] {
            band.left(number);
        }
        band.received();
        assert_eq!(tally.counts(), Counts { received: 1, connected: 0 });
    }

    #[test]
    fn they_go_when_it_is_their_time() {
        let half = Some(Instant::ZERO + EVERY / 2);
        for (kind, due) in
            Bystander::ALL.into_iter().zip([None, None, half, Some(Instant::ZERO + EVERY)])
        {
            assert_eq!(band(kind, 0).next_due(), due, "{kind:?}");
        }
        assert_eq!(band(Bystander::Idle, 4).end(), 7);
    }

    #[test]
    fn complaints_are_bounded() {
        let mut band = band(Bystander::Storm, 0);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let Some(Notice::Warning { path: 1, text, .. }) = band.complain("no route", at(1)) else {
            unreachable!()
        };
        assert_eq!(text, "background clients, storm: no route");
        assert_eq!(band.complain("no route", at(10)), None);
        assert!(band.complain("no route", at(11)).is_some());
    }
}

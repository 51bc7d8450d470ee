//! Room `publish`: what sends each slot when it is due.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::Surroundings;
use super::composer::Composer;
use super::lateness::LateOffers;
use super::rooms::Rooms;
use crate::clock::Instant;
use crate::correlate::{
    Batch, NotSent, Observation, PathId, PublisherId, Qos, Reader, SEND_LATE_NANOS,
};
use crate::schedule::{self, Agenda, Arrivals, Slot, Stretch};
use crate::shutdown::{Hold, Tasks};
use crate::study::{Notice, Role};
use crate::wire::{Client, Clients, Failure, Handler, Handshake, Happening, Unsendable};

/// How many overdue slots are sent before the connections of the thread get their turn.
pub(super) const TURN_MAX: usize = 512;

/// Sends the slots of some publishers and reports what happens to them.
pub(super) struct Pacer {
    /// As the event loop numbers them.
    publishers: Vec<Publisher>,
    /// Of each of them.
    late: Vec<LateOffers>,
    paths: BTreeSet<PathId>,
    around: Surroundings,
    batch: Batch,
    agenda: Agenda,
    rooms: Rooms,
    /// When closed loops begin that have not.
    opens: Vec<Instant>,
    /// The paths whose brokers have answered since the event loop was woken.
    answered: BTreeSet<u8>,
    /// Slots are sent up to this moment.
    last: Instant,
    /// Whether it has passed.
    is_past: bool,
    /// Says which path begins when.
    told: Receiver<Stretch>,
    tasks: Tasks,
    /// Lets nobody believe that the last slot was sent while one may follow.
    pacing: Option<Hold>,
}

/// What is to be known of a publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publisher {
    pub(super) id: PublisherId,
    pub(super) path: u8,
    pub(super) qos: Qos,
    /// How many messages it may have under way in a closed loop.
    pub(super) inflight: u16,
}

impl Pacer {
    pub(super) fn new(
        publishers: Vec<Publisher>,
        plans: Vec<schedule::Config>,
        around: Surroundings,
        told: Receiver<Stretch>,
        (tasks, held): (Tasks, Hold),
    ) -> Self {
        let paths = publishers.iter().map(|of| PathId(of.path)).collect();
        let rooms = Rooms::new(plans.iter().map(|plan| plan.arrivals == Arrivals::Closed));
        let (mut agenda, last) = (Agenda::new(plans), Instant::from_nanos(u64::MAX));
        if let Some(leases) = &around.leases {
            for (client, publisher) in (0..).zip(&publishers) {
                agenda.number_from(client, leases.first(publisher.id));
            }
        }
        let (answered, pacing, batch) = (BTreeSet::new(), Some(held), Batch::new(&around.router));
        let (opens, late) = (Vec::new(), vec![LateOffers::default(); publishers.len()]);
        Self {
            publishers,
            late,
            paths,
            around,
            batch,
            agenda,
            rooms,
            opens,
            answered,
            last,
            is_past: false,
            told,
            tasks,
            pacing,
        }
    }

    /// Begins the plans of a path's publishers.
    fn begin(&mut self, Stretch { path, start, until }: Stretch) {
        if let Some(until) = until {
            self.last = self.last.min(until.offset(-1));
        }
        for (client, _) in (0..).zip(&self.publishers).filter(|(_, of)| of.path == path) {
            self.agenda.begin(client, start);
        }
        self.opens.push(start);
    }

    /// Lets the hold go once nothing more will be sent.
    fn look_for_end(&mut self) {
        if self.tasks.stopping() && self.next_due().is_none() {
            self.pacing = None;
        }
    }

    /// Returns when a slot of this number may be given out.
    fn await_lease(&mut self, client: usize, sequence: u64) {
        if let Some(leases) = &self.around.leases
            && let Some(publisher) = self.publishers.get(client)
        {
            let batch = &mut self.batch;
            leases.await_grant(publisher.id, sequence, || batch.hand_over());
        }
    }

    fn tell(&mut self, client: usize, observation: impl FnOnce(PublisherId) -> Observation) {
        if let Some(publisher) = self.publishers.get(client) {
            self.batch.publish(publisher.id, observation(publisher.id));
        }
    }

    fn say(&self, client: usize, notice: impl FnOnce(Role) -> Notice) {
        if let Some(publisher) = self.publishers.get(client) {
            // Fails only when nobody listens any more, at the end of the run.
            let _ = self.around.notices.blocking_send(notice(Role::Publisher(publisher.id.0)));
        }
    }

    /// Offers a slot; whether its client took it.
    fn offer(&mut self, slot: Slot, now: Instant, clients: &mut Clients<'_, Composer>) -> bool {
        let (client, intended, sequence) = (slot.publisher as usize, slot.intended, slot.sequence);
        self.await_lease(client, sequence);
        self.tell(client, |publisher| Observation::Offered { publisher, sequence, intended });
        let Err(why) = clients.publish(client, sequence, now) else {
            if now.nanos_since(intended) > SEND_LATE_NANOS
                && let Some(late) = self.late.get_mut(client)
            {
                late.note(sequence);
            }
            return true;
        };
        let cause = match why {
            Unsendable::Disconnected => NotSent::Disconnected,
            Unsendable::QueueFull => NotSent::QueueFull,
            Unsendable::TooLarge => NotSent::Refused,
        };
        self.tell(client, |publisher| Observation::NotSent { publisher, sequence, cause });
        false
    }

    /// Fills the room that closed loops have.
    fn fill(&mut self, now: Instant, clients: &mut Clients<'_, Composer>) {
        while now <= self.last
            && let Some((client, free)) = self.rooms.next(now)
        {
            for _ in 0..free {
                let publisher = u32::try_from(client).unwrap_or(u32::MAX);
                let Some(slot) = self.agenda.take_closed(publisher, now) else { break };
                // What can't be sent now is not asked for again before there is news.
                if !self.offer(slot, now, clients) {
                    break;
                }
                self.rooms.took(client);
            }
        }
    }
}

impl Handler for Pacer {
    type Source = Composer;

    fn next_due(&self) -> Option<Instant> {
        // Who is to stop asks for nothing more.
        let room = self.rooms.next_due().filter(|_| !self.is_past && !self.tasks.stopping());
        let due = self.agenda.next_due().into_iter().chain(self.opens.iter().copied());
        let due = due.chain(room).min();
        due.filter(|&due| due <= self.last)
    }

    fn tick(&self, most: Duration) -> Duration {
        self.rooms.tick(most)
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Composer>) {
        let (mut now, mut woken) = (now, true);
        for _ in 0..TURN_MAX {
            let Some(slot) = self.agenda.take_due(now.min(self.last)) else { break };
            // Only the first shows how late the thread was woken.
            if std::mem::take(&mut woken) {
                let nanos = now.nanos_since(slot.intended);
                let client = slot.publisher as usize;
                self.tell(client, |publisher| Observation::Woken { publisher, nanos });
            }
            self.offer(slot, now, clients);
            now = self.around.clock.now();
        }
        let opened = self.opens.extract_if(.., |&mut opens| opens <= now).count();
        if opened > 0 {
            self.rooms.list_all(now);
        }
        self.is_past = now > self.last;
        self.fill(now, clients);
        // Before anything is written: what comes out must find its slot in the books.
        self.batch.hand_over();
        self.look_for_end();
    }

    fn called(&mut self) {
        while let Ok(stretch) = self.told.try_recv() {
            self.begin(stretch);
        }
        if self.tasks.stopping() {
            // What is due by now was to be sent, however late the thread is; every slot is told.
            self.last = self.last.min(self.around.clock.now());
            self.look_for_end();
        }
    }

    fn happened(
        &mut self,
        (client, connection): (usize, &mut Client<Composer>),
        happening: Happening,
        at: Instant,
    ) {
        if let Some(of) = self.publishers.get(client) {
            self.rooms.heard((client, connection), (of.qos, of.inflight), (&happening, at));
        }
        match happening {
            Happening::Connected => self.say(client, Notice::Up),
            Happening::Sent { number: sequence, held } => {
                let was_late = self.late.get_mut(client).is_some_and(|late| late.take(sequence));
                let held = held && !was_late;
                self.tell(client, |publisher| Observation::Sent { publisher, sequence, at, held });
            }
            Happening::Answered { number: sequence, stage, reason } => {
                self.answered.extend(self.publishers.get(client).map(|of| of.path));
                self.tell(client, |publisher| Observation::Acknowledged {
                    publisher,
                    sequence,
                    stage,
                    reason,
                    at,
                });
            }
            Happening::Dropped(sequence) => {
                let cause = NotSent::ClientDropped;
                self.tell(client, |publisher| Observation::NotSent { publisher, sequence, cause });
            }
            Happening::Message(_)
            | Happening::Subscribed(_)
            | Happening::Ping
            | Happening::Pong => (),
        }
    }

    fn turned(&mut self, lag: Duration) {
        let nanos = i64::try_from(lag.as_nanos()).unwrap_or(i64::MAX);
        while let Some(path) = self.answered.pop_first().map(PathId) {
            let reader = Reader::Publisher;
            self.batch.count(path, Observation::Polled { path, reader, nanos });
        }
        self.batch.hand_over();
    }

    fn worked(&mut self, share: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "three digits are enough")]
        let share = share as f32;
        for &path in &self.paths {
            self.batch.count(path, Observation::Worked { path, share });
        }
        self.batch.hand_over();
    }

    fn shook_hands(&mut self, client: usize, took: Handshake) {
        if let Some(path) = self.publishers.get(client).map(|of| PathId(of.path)) {
            self.batch.count(path, took.observed(path));
        }
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.rooms.broke(client);
        self.say(client, |role| Notice::Down(role, failure.to_string()));
    }
}

//! Room `publish`: what sends each slot when it is due.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::Surroundings;
use super::composer::Composer;
use crate::clock::Instant;
use crate::correlate::{NotSent, Observation, PathId, PublisherId, Reader};
use crate::schedule::{self, Agenda, Stretch};
use crate::shutdown::{Hold, Tasks};
use crate::study::{Notice, Role};
use crate::wire::{Client, Clients, Failure, Handler, Happening, Unsendable};

/// How many overdue slots are sent before the connections of the thread get their turn.
const TURN_MAX: usize = 64;

/// Sends the slots of some publishers and reports what happens to them.
pub(super) struct Pacer {
    /// The publishers and their paths, as the event loop numbers them.
    publishers: Vec<(PublisherId, u8)>,
    around: Surroundings,
    agenda: Agenda,
    /// The paths whose brokers have answered since the event loop was woken.
    answered: BTreeSet<u8>,
    /// Slots are sent up to this moment.
    last: Instant,
    /// Says which path begins when.
    told: Receiver<Stretch>,
    tasks: Tasks,
    /// Lets nobody believe that the last slot was sent while one may follow.
    pacing: Option<Hold>,
}

impl Pacer {
    pub(super) fn new(
        publishers: Vec<(PublisherId, u8)>,
        plans: Vec<schedule::Config>,
        around: Surroundings,
        told: Receiver<Stretch>,
        (tasks, held): (Tasks, Hold),
    ) -> Self {
        let (mut agenda, last) = (Agenda::new(plans), Instant::from_nanos(u64::MAX));
        if let Some(leases) = &around.leases {
            for (client, &(publisher, _)) in (0..).zip(&publishers) {
                agenda.number_from(client, leases.first(publisher));
            }
        }
        let (answered, pacing) = (BTreeSet::new(), Some(held));
        Self { publishers, around, agenda, answered, last, told, tasks, pacing }
    }

    /// Begins the plans of a path's publishers.
    fn begin(&mut self, Stretch { path, start, until }: Stretch) {
        if let Some(until) = until {
            self.last = self.last.min(until.offset(-1));
        }
        for (client, _) in (0..).zip(&self.publishers).filter(|(_, of)| of.1 == path) {
            self.agenda.begin(client, start);
        }
    }

    /// Lets the hold go once nothing more will be sent.
    fn look_for_end(&mut self) {
        if self.tasks.stopping() && self.next_due().is_none() {
            self.pacing = None;
        }
    }

    /// Returns when a slot of this number may be given out.
    fn await_lease(&self, client: usize, sequence: u64) {
        if let Some(leases) = &self.around.leases
            && let Some(&(publisher, _)) = self.publishers.get(client)
        {
            leases.await_grant(publisher, sequence);
        }
    }

    fn tell(&self, client: usize, observation: impl FnOnce(PublisherId) -> Observation) {
        if let Some(&(publisher, _)) = self.publishers.get(client) {
            self.around.router.publish(publisher, observation(publisher));
        }
    }

    fn say(&self, client: usize, notice: impl FnOnce(Role) -> Notice) {
        if let Some((publisher, _)) = self.publishers.get(client) {
            // Fails only when nobody listens any more, at the end of the run.
            let _ = self.around.notices.blocking_send(notice(Role::Publisher(publisher.0)));
        }
    }
}

impl Handler for Pacer {
    type Source = Composer;

    fn next_due(&self) -> Option<Instant> {
        self.agenda.next_due().filter(|&due| due <= self.last)
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Composer>) {
        let (mut now, mut woken) = (now, true);
        for _ in 0..TURN_MAX {
            let Some(slot) = self.agenda.take_due(now.min(self.last)) else { break };
            let (client, intended, sequence) =
                (slot.publisher as usize, slot.intended, slot.sequence);
            // Only the first shows how late the thread was woken.
            if std::mem::take(&mut woken) {
                let nanos = now.nanos_since(intended);
                self.tell(client, |publisher| Observation::Woken { publisher, nanos });
            }
            self.await_lease(client, sequence);
            self.tell(client, |publisher| Observation::Offered { publisher, sequence, intended });
            if let Err(why) = clients.publish(client, sequence) {
                let cause = match why {
                    Unsendable::Disconnected => NotSent::Disconnected,
                    Unsendable::QueueFull => NotSent::QueueFull,
                    Unsendable::TooLarge => NotSent::Refused,
                };
                self.tell(client, |publisher| Observation::NotSent { publisher, sequence, cause });
            }
            now = self.around.clock.now();
        }
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
        (client, _): (usize, &mut Client<Composer>),
        happening: Happening,
        at: Instant,
    ) {
        match happening {
            Happening::Connected => self.say(client, Notice::Up),
            Happening::Sent(sequence) => {
                self.tell(client, |publisher| Observation::Sent { publisher, sequence, at });
            }
            Happening::Answered { number: sequence, stage, reason } => {
                self.answered.extend(self.publishers.get(client).map(|&(_, path)| path));
                self.tell(client, |publisher| Observation::Acknowledged {
                    publisher,
                    sequence,
                    stage,
                    reason,
                    at,
                });
            }
            Happening::Dropped(sequence) => self.tell(client, |publisher| Observation::NotSent {
                publisher,
                sequence,
                cause: NotSent::ClientDropped,
            }),
            Happening::Message(_)
            | Happening::Subscribed(_)
            | Happening::Ping
            | Happening::Pong => (),
        }
    }

    fn turned(&mut self, busy: Duration) {
        let nanos = i64::try_from(busy.as_nanos()).unwrap_or(i64::MAX);
        while let Some(path) = self.answered.pop_first().map(PathId) {
            let reader = Reader::Publisher;
            self.around.router.count(path, Observation::Polled { path, reader, nanos });
        }
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.say(client, |role| Notice::Down(role, failure.to_string()));
    }
}

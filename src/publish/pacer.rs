//! Room `publish`: what sends each slot when it is due.

use std::sync::mpsc::Receiver;

use super::composer::Composer;
use super::{Stretch, Surroundings};
use crate::clock::Instant;
use crate::correlate::{NotSent, Observation, PublisherId};
use crate::schedule::{self, Agenda};
use crate::shutdown::{Hold, Tasks};
use crate::study::{Notice, Role};
use crate::wire::{Client, Clients, Failure, Handler, Happening, Unsendable};

/// How many overdue slots are sent before the connections of the thread get their turn.
const TURN_MAX: usize = 64;

/// What is left of the schedule.
#[derive(Debug)]
enum Schedule {
    /// Nobody has said yet when it begins.
    Untold(Receiver<Stretch>),
    /// Slots are sent up to the last moment.
    Running(Agenda, Instant),
    /// No more slots are sent.
    Over,
}

/// Sends the slots of some publishers and reports what happens to them.
pub(super) struct Pacer {
    /// The publishers, as the event loop numbers them.
    publishers: Vec<PublisherId>,
    plans: Vec<schedule::Config>,
    around: Surroundings,
    schedule: Schedule,
    tasks: Tasks,
    /// Lets nobody believe that the last slot was sent while one may follow.
    pacing: Option<Hold>,
}

impl Pacer {
    pub(super) fn new(
        publishers: Vec<PublisherId>,
        plans: Vec<schedule::Config>,
        around: Surroundings,
        told: Receiver<Stretch>,
        (tasks, held): (Tasks, Hold),
    ) -> Self {
        let pacing = Some(held);
        Self { publishers, plans, around, schedule: Schedule::Untold(told), tasks, pacing }
    }

    fn end(&mut self) {
        self.schedule = Schedule::Over;
        self.pacing = None;
    }

    fn tell(&self, client: usize, observation: impl FnOnce(PublisherId) -> Observation) {
        if let Some(&publisher) = self.publishers.get(client) {
            self.around.router.publish(publisher, observation(publisher));
        }
    }

    fn say(&self, client: usize, notice: impl FnOnce(Role) -> Notice) {
        if let Some(publisher) = self.publishers.get(client) {
            // Fails only when nobody listens any more, at the end of the run.
            let _ = self.around.notices.blocking_send(notice(Role::Publisher(publisher.0)));
        }
    }
}

impl Handler for Pacer {
    type Source = Composer;

    fn next_due(&self) -> Option<Instant> {
        match &self.schedule {
            Schedule::Running(agenda, last) => agenda.next_due().filter(|due| due <= last),
            Schedule::Untold(_) | Schedule::Over => None,
        }
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Composer>) {
        let (mut now, mut woken) = (now, true);
        for _ in 0..TURN_MAX {
            let Schedule::Running(agenda, last) = &mut self.schedule else { return };
            let Some(slot) = agenda.take_due(now.min(*last)) else { break };
            let (client, intended, sequence) =
                (slot.publisher as usize, slot.intended, slot.sequence);
            // Only the first shows how late the thread was woken.
            if std::mem::take(&mut woken) {
                let nanos = now.nanos_since(intended);
                self.tell(client, |publisher| Observation::Woken { publisher, nanos });
            }
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
        if self.next_due().is_none() {
            self.end();
        }
    }

    fn called(&mut self) {
        if self.tasks.stopping() {
            return self.end();
        }
        if let Schedule::Untold(told) = &self.schedule
            && let Ok(Stretch { start, until }) = told.try_recv()
        {
            let last = until.map_or(Instant::from_nanos(u64::MAX), |until| until.offset(-1));
            self.schedule = Schedule::Running(Agenda::new(start, self.plans.drain(..)), last);
            if self.next_due().is_none() {
                self.end();
            }
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

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.say(client, |role| Notice::Down(role, failure.to_string()));
    }
}

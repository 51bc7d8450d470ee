//! Room `produce`: the thread that sends each slot when it is due.

use std::io;
use std::sync::mpsc::Receiver;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::reports::Slot;
use super::{Config, Line, Surroundings, Twin};
use crate::clock::{Alarm, Instant};
use crate::correlate::{NotSent, Observation, PublisherId};
use crate::schedule::{Agenda, Stretch};
use crate::shutdown::{Hold, Tasks};
use crate::stamp::PROPERTY;
use crate::wire::Bell;

/// How many overdue slots are sent before anything else is looked at.
const TURN_MAX: usize = 64;

/// Sends every slot of the stretch of the path that `told` tells as it comes due, until the group of
/// `pacing` is told to stop; its hold is let go when what was due by then is sent. Blocks its thread
/// until `tasks` is told to stop. `bell` must be rung at each of the three.
///
/// # Errors
///
/// When the system has no timer to give.
pub fn pace(
    config: &Config,
    (line, around): (&Line, &Surroundings),
    (told, bell): (&Receiver<Stretch>, &Bell),
    (pacing, held): (&Tasks, Hold),
    tasks: &Tasks,
) -> io::Result<()> {
    let mut alarm = Alarm::new()?;
    let mut agenda = Agenda::new(config.twins.iter().map(|(_, plan)| *plan));
    if let Some(leases) = &around.leases {
        for (index, (twin, _)) in (0..).zip(&config.twins) {
            agenda.number_from(index, leases.first(twin.publisher));
        }
    }
    let (last, payload) = (Instant::from_nanos(u64::MAX), Vec::with_capacity(config.size));
    let mut pacer = Pacer { config, line, around, agenda, last, payload };
    let mut held = Some(held);
    while !tasks.stopping() {
        for stretch in told.try_iter().filter(|stretch| stretch.path == config.path.0) {
            pacer.begin(stretch);
        }
        if pacing.stopping() && held.is_some() {
            // What is due by now was to be sent, however late the thread is; every slot is told.
            pacer.last = pacer.last.min(around.clock.now());
        }
        pacer.act();
        let due = pacer.next_due();
        if pacing.stopping() && due.is_none() {
            held = None;
        }
        alarm.set(due)?;
        let mut doors =
            [PollFd::new(&alarm, PollFlags::IN), PollFd::new(bell.descriptor(), PollFlags::IN)];
        match poll(&mut doors, None) {
            Ok(_) | Err(Errno::INTR) => bell.hush(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Pacer<'a> {
    config: &'a Config,
    line: &'a Line,
    around: &'a Surroundings,
    agenda: Agenda,
    /// Slots are sent up to this moment.
    last: Instant,
    payload: Vec<u8>,
}

impl Pacer<'_> {
    /// Begins the plans of all twins.
    fn begin(&mut self, Stretch { start, until, .. }: Stretch) {
        if let Some(until) = until {
            self.last = self.last.min(until.offset(-1));
        }
        for (twin, _) in (0..).zip(&self.config.twins) {
            self.agenda.begin(twin, start);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.agenda.next_due().filter(|&due| due <= self.last)
    }

    /// Sends what is due.
    fn act(&mut self) {
        let (mut now, mut woken) = (self.around.clock.now(), true);
        for _ in 0..TURN_MAX {
            let Some(slot) = self.agenda.take_due(now.min(self.last)) else { return };
            let Some((twin, _)) = self.config.twins.get(slot.publisher as usize) else { return };
            let (twin, sequence, intended) = (*twin, slot.sequence, slot.intended);
            let publisher = twin.publisher;
            // Only the first shows how late the thread was woken.
            if std::mem::take(&mut woken) {
                let nanos = now.nanos_since(intended);
                self.tell(publisher, Observation::Woken { publisher, nanos });
            }
            if let Some(leases) = &self.around.leases {
                // Whatever it has seen it has told.
                leases.await_grant(publisher, sequence, || {});
            }
            self.tell(publisher, Observation::Offered { publisher, sequence, intended });
            if let Err(cause) = self.send(twin, sequence) {
                self.tell(publisher, Observation::NotSent { publisher, sequence, cause });
            }
            now = self.around.clock.now();
        }
    }

    fn tell(&self, publisher: PublisherId, observation: Observation) {
        self.around.router.publish(publisher, observation);
    }

    /// Hands a message to the client and tells when, or says why it was not taken.
    fn send(&mut self, Twin { publisher, index }: Twin, sequence: u64) -> Result<(), NotSent> {
        let Config { path, topic, format, size, .. } = self.config;
        let producer = self.line.producer().ok_or(NotSent::Disconnected)?;
        let stamper = &self.around.stamper;
        let identity = stamper.identity(path.0, index, sequence).on_control(true);
        let id = stamper.write(&mut self.payload, *format, *size, identity);
        let property = id.traceparent();
        let header = Header { key: PROPERTY, value: Some(&property[..]) };
        let slot = Box::new(Slot { publisher, sequence });
        let record: BaseRecord<'_, (), [u8], Box<Slot>> = BaseRecord::with_opaque_to(topic, slot)
            .payload(&self.payload[..])
            .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        // Kafka may answer before this thread has told anything.
        let turn = producer.context().take_turn();
        let at = self.around.clock.now();
        let taken = producer.send(record);
        if taken.is_ok() {
            self.tell(publisher, Observation::Sent { publisher, sequence, at, held: false });
        }
        drop(turn);
        match taken {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(why), _)) => Err(match why {
                RDKafkaErrorCode::QueueFull => NotSent::QueueFull,
                RDKafkaErrorCode::Fatal => NotSent::Disconnected,
                _ => NotSent::Refused,
            }),
            Err(_) => Err(NotSent::Refused),
        }
    }
}

//! Room `publish`: the task that sends each slot when it is due.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot::Receiver;

use super::Line;
use crate::clock::{Alarm, Clock, Instant};
use crate::correlate::{Observation, Router};
use crate::schedule::{self, Agenda, Slot};
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::wire::Version;

/// How many overdue slots are sent before the connections of the thread get their turn.
const TURN_MAX: usize = 64;

/// What sends the slots of some publishers.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Where it reads the time.
    pub clock: Clock,
    /// What makes its stamps.
    pub stamper: Stamper,
    /// Where it reports.
    pub router: Router,
    /// Its publishers, each with its plan.
    pub lines: Vec<(Arc<Line>, schedule::Config)>,
}

/// A stretch of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When the time of the schedule begins.
    pub start: Instant,
    /// Slots that are due from here on are not part of it; without it there is no end.
    pub until: Option<Instant>,
}

/// Sends every slot of the stretch that `told` tells as it comes due, until told to stop. Is to
/// run on the thread of its publishers' connections, so that no message waits for another thread.
///
/// # Errors
///
/// When the system has no timer to give.
pub async fn pace(pacer: Pacer, told: Receiver<Stretch>, tasks: Tasks) -> io::Result<()> {
    let mut alarm = Alarm::new(pacer.clock)?;
    let told = tokio::select! {
        told = told => told,
        () = tasks.stopped() => return Ok(()),
    };
    let Ok(Stretch { start, until }) = told else {
        return Ok(());
    };
    let last = until.map_or(Instant::from_nanos(u64::MAX), |until| until.offset(-1));
    let mut agenda = Agenda::new(start, pacer.lines.iter().map(|(_, plan)| *plan));
    let mut payload = Vec::new();
    while let Some(due) = agenda.next_due().filter(|&due| due <= last) {
        tokio::select! {
            biased;
            () = tasks.stopped() => break,
            rung = alarm.until(due) => rung?,
        }
        let mut woken = true;
        let mut sent = 0;
        while sent < TURN_MAX {
            let Some(slot) = agenda.take_due(pacer.clock.now().min(last)) else { break };
            pacer.send(slot, &mut payload, std::mem::take(&mut woken));
            sent += 1;
        }
        // Waiting for the alarm gives the connections their turn; an overdue slot does not wait.
        if sent == TURN_MAX {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

impl Pacer {
    /// Sends one slot; `woken` where the task was just woken for it, which shows how late it is.
    fn send(&self, slot: Slot, payload: &mut Vec<u8>, woken: bool) {
        let Some((line, _)) = self.lines.get(slot.publisher as usize) else {
            return;
        };
        let config = &line.config;
        let Slot { intended, sequence, .. } = slot;
        let publisher = config.publisher;
        let report = |observation| self.router.publish(publisher, observation);
        if woken {
            let nanos = self.clock.now().nanos_since(intended);
            report(Observation::Woken { publisher, nanos });
        }
        report(Observation::Offered { publisher, sequence, intended });
        let identity = self.stamper.identity(config.path, config.index, sequence);
        let id = self.stamper.write(payload, config.format, config.size, identity);
        let property = (config.endpoint.version == Version::V5)
            .then(|| id.traceparent().iter().map(|&digit| char::from(digit)).collect());
        if let Err(cause) = line.queue(sequence, Bytes::copy_from_slice(payload), property) {
            report(Observation::NotSent { publisher, sequence, cause });
        }
    }
}

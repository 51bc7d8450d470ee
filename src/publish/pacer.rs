//! Room `publish`: the thread that sends each slot when it is due.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Line;
use crate::clock::{Clock, Instant};
use crate::correlate::{Observation, Router};
use crate::schedule::{self, Agenda, Slot};
use crate::shutdown::Tasks;
use crate::stamp::Stamper;
use crate::wire::Version;

/// How long the thread sleeps at most, so that it notices when it is to stop.
const NAP: Duration = Duration::from_millis(100);

/// What a pacing thread needs.
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

/// Sends every slot from `start` on as it comes due, until told to stop. Blocks its thread.
pub fn pace(pacer: &Pacer, start: Instant, tasks: &Tasks) {
    pacer.clock.wake_promptly();
    let plans = pacer.lines.iter().map(|(_, plan)| *plan);
    let mut agenda = Agenda::new(start, plans);
    let mut payload = Vec::new();
    while let Some(due) = agenda.next_due() {
        pacer.clock.sleep_until(due.min(pacer.clock.now() + NAP));
        if tasks.stopping() {
            return;
        }
        let mut first = true;
        while let Some(slot) = agenda.take_due(pacer.clock.now()) {
            pacer.send(slot, &mut payload, std::mem::take(&mut first));
        }
    }
    // Without publishers there is nothing to do but to be there.
    while !tasks.stopping() {
        pacer.clock.sleep_until(pacer.clock.now() + NAP);
    }
}

impl Pacer {
    /// Sends one slot; `woken` where the thread has just slept for it, which shows how late it is.
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
        let property = (config.endpoint.version == Version::V5).then(|| {
            let traceparent = self.stamper.trace_id(identity).traceparent();
            traceparent.iter().map(|&digit| char::from(digit)).collect()
        });
        self.stamper.write(payload, config.format, config.size, identity);
        if let Err(cause) = line.queue(sequence, Bytes::copy_from_slice(payload), property) {
            report(Observation::NotSent { publisher, sequence, cause });
        }
    }
}

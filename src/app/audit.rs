//! Room `app`: every slot with its outcome in a file, for audits (`--slots FILE`).
//!
//! One line a slot and lane, tab-separated, after a header line. Slots that did not come out are
//! written at the end of the run, since they may yet; beyond [`HELD_MAX`] of them the oldest are
//! written early, and should such a one come out after all it gets a second line, which then counts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::correlate::{Event, Lane, Outcome, PublisherId, Roster};
use crate::stamp::Stamper;

/// How many slots that did not come out are held back.
const HELD_MAX: usize = 1_000_000;

const HEADER: &str =
    "path\tlane\tqos\tpublisher\tsequence\ttrace_id\toutcome\tintended_ns\tlatency_ns";

/// Writes slots as they get their outcomes.
pub(super) struct Audit {
    roster: Arc<Roster>,
    stamper: Stamper,
    state: Mutex<State>,
}

struct State {
    file: BufWriter<File>,
    held: BTreeMap<Key, Line>,
    failure: Option<io::Error>,
}

type Key = (PublisherId, u64, Lane);

#[derive(Clone, Copy)]
struct Line {
    outcome: Outcome,
    intended: Option<u64>,
    latency: Option<i64>,
}

impl Audit {
    /// Creates the file, or empties it.
    pub(super) fn create(
        path: &Path,
        roster: Arc<Roster>,
        stamper: Stamper,
    ) -> io::Result<Arc<Self>> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "{HEADER}")?;
        let state = Mutex::new(State { file, held: BTreeMap::new(), failure: None });
        Ok(Arc::new(Self { roster, stamper, state }))
    }

    /// Writes what became of slots.
    pub(super) fn apply(&self, events: &[Event]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            match *event {
                Event::Resolved {
                    publisher, sequence, lane, outcome, departure, arrival, ..
                } => {
                    let latency = arrival.map(|arrival| arrival.end_to_end);
                    let line =
                        Line { outcome, intended: Some(departure.intended.nanos()), latency };
                    let key = (publisher, sequence, lane);
                    if matches!(outcome, Outcome::Delivered | Outcome::Late) {
                        self.write(&mut state, key, line);
                    } else {
                        state.held.insert(key, line);
                    }
                }
                Event::LateRecovery { publisher, sequence, lane, end_to_end, .. } => {
                    let key = (publisher, sequence, lane);
                    let intended = state.held.remove(&key).and_then(|line| line.intended);
                    let line = Line { outcome: Outcome::Late, intended, latency: end_to_end };
                    self.write(&mut state, key, line);
                }
                _ => (),
            }
        }
        while state.held.len() > HELD_MAX
            && let Some((key, line)) = state.held.pop_first()
        {
            self.write(&mut state, key, line);
        }
    }

    /// Writes what was held back and flushes.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, line) in std::mem::take(&mut state.held) {
            self.write(&mut state, key, line);
        }
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => state.file.flush(),
        }
    }

    fn write(&self, state: &mut State, (id, sequence, lane): Key, line: Line) {
        let publisher = self.roster.publisher(id);
        let identity = self.stamper.identity(publisher.path.0, publisher.index, sequence);
        let identity = identity.on_control(publisher.control);
        let latency = line.latency.map_or_else(String::new, |nanos| nanos.to_string());
        let intended = line.intended.map_or_else(String::new, |nanos| nanos.to_string());
        let written = writeln!(
            state.file,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{intended}\t{latency}",
            self.roster.path(publisher.path).name,
            lane.name(),
            publisher.qos.label(),
            publisher.index,
            sequence,
            self.stamper.trace_id(identity).to_hex(),
            line.outcome.name(),
        );
        // Told once, at the end: a full disk must not stop the measurement.
        if let Err(error) = written {
            state.failure.get_or_insert(error);
        }
    }
}

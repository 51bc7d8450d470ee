//! Room `app`: `landfall selftest`: known faults happen to known messages, and the report must say
//! exactly that.
//!
//! # Design
//!
//! The whole probe runs, as it always does, over real sockets against the embedded broker, bridges and
//! Kafka. Between the bridges' two sides is a fault link with a ledger of its own; the broker counts
//! what it refuses, and Kafka tells when it lets which record go. From these ledgers and the schedule
//! follows what the report must say: counts exactly, latencies within 1 % or what it takes to wake for
//! a record on this machine, which a sleeper finds out beside it. The probe's books are never asked.
//!
//! All MQTT goes over a relay that hears when each message is sent and answered: legs, service latency
//! and the durability gap begin or end there. Sockets, threads and a third party's own waking lie between
//! what it hears and what the probe sees, so that a leg of less than that is only bounded from above.
//!
//! All faults happen in one run, each on a path of its own, because what takes time is waiting: for
//! messages that are late, and for the end of a run whose consumer is stuck.

mod comparison;
mod lag;
mod plant;
mod records;
mod sabotage;
mod scenes;
mod screen;
mod timing;
mod truth;

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::wiring::Parts;
use super::{Calibrated, Error, Options, Over, Progress, Screen, Special, carry_out, new_run};
use crate::clock::{Clock, Instant};
use crate::config::{self, Loaded, Overrides};
use crate::correlate::PathId;
use crate::report::{Report, duration};
use crate::schedule::Agenda;
use crate::stamp::Run;

use comparison::{Lag, Row};
use lag::Sleeper;
use plant::Plant;
use scenes::{LOAD, Part, SCENES, SET_BACK};
use truth::{Slot, Stream};

/// The path whose books are falsified: one with a single lane, since foreign records belong to none of
/// several.
const FALSIFIED: &str = "reordering";
/// A run whose consumer is stuck lasts so much longer than its schedule at least, unless somebody
/// ends it.
const WAITED: Duration = Duration::from_secs(8);
/// How long everything takes, about.
const TAKES: Duration = Duration::from_secs(18);
/// How often somebody in front of a terminal is told how far it is.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Which counters can be falsified, for the command line.
pub(super) fn counters() -> PossibleValuesParser {
    PossibleValuesParser::new(sabotage::list())
}

/// Runs the selftest; 0 where every figure agrees.
pub(super) async fn run(seed: u64, sabotaged: &[String], screen: Screen) -> Result<u8, Error> {
    let clock = Clock::system();
    let begun = clock.now();
    let plant = Plant::start(seed, clock).await?;
    let text = scenes::configuration(&plant.addresses);
    let none = std::iter::empty();
    let loaded = config::load_text("landfall selftest", &text, &Overrides::default(), none)?;
    let sleeper =
        Sleeper::start(clock).map_err(|error| Error::System("starting the sleeper", error))?;
    let identity = new_run()?;
    let parts = Parts::new(&loaded.resolved, identity);
    let path = |place: usize| PathId(u8::try_from(place).unwrap_or(0));
    let place = SCENES.iter().position(|scene| scene.name == FALSIFIED).unwrap_or(0);
    let falsified = Special {
        invented: sabotage::invented(sabotaged, &parts.roster, path(place)),
        set_back: Some((path(scenes::index_of(Part::SetBack)), SET_BACK)),
        watched: None,
    };
    let options = Options {
        measure_for: Some(LOAD),
        report: None,
        slots: None,
        calibration: Calibrated::Unasked,
        progress: Progress::Quiet,
        screen: screen.clone(),
    };
    let over = tokio::select! {
        over = carry_out(&loaded, &options, identity, falsified) => over,
        never = tell(clock, begun, &screen) => match never {},
    };
    screen.clear();
    let over = over?;
    let lag = Lag(sleeper.stop().await);
    let Some(over) = over else {
        return Ok(130);
    };
    let Some((mut report, streams)) = Box::pin(finished(over, &loaded, identity, clock)).await
    else {
        screen.print("selftest: interrupted");
        return Ok(130);
    };
    let ledgers = plant.stop().await;
    sabotage::falsify(sabotaged, &mut report, FALSIFIED);
    let expected = truth::expected(&streams, &ledgers);
    let rows = comparison::compare(&expected, &report.paths, &lag);
    screen.print(screen::text(&rows, io::stdout().is_terminal()).trim_end());
    let took = clock.now().saturating_since(begun);
    screen.print(&summary(&rows, (seed, sabotaged), &lag, took));
    Ok(u8::from(rows.iter().any(|row| !row.agrees)))
}

/// Tells on a terminal how far it is; never ends.
async fn tell(clock: Clock, begun: Instant, screen: &Screen) -> Infallible {
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    screen.begin();
    loop {
        let elapsed = clock.now().saturating_since(begun);
        screen.draw(screen::progress(elapsed, TAKES));
        tokio::time::sleep(DRAW_EVERY).await;
    }
}

/// The report, and the slots that the schedule had; `None` where the run was ended early.
async fn finished(
    over: Over,
    loaded: &Loaded,
    identity: Run,
    clock: Clock,
) -> Option<(Report, Vec<Stream>)> {
    let paths = (0..).take(SCENES.len());
    let starts: Vec<Option<Instant>> =
        paths.map(|path| over.control.machine.started(path)).collect();
    let report = over.report.clone();
    over.leave(Duration::ZERO).await;
    let until = starts.iter().flatten().min().copied()? + LOAD;
    (clock.now() > until + WAITED).then(|| (report, streams(loaded, identity, &starts, until)))
}

/// Every slot that was due before the end: the schedule is a function of seed and start.
fn streams(
    loaded: &Loaded,
    identity: Run,
    starts: &[Option<Instant>],
    until: Instant,
) -> Vec<Stream> {
    let parts = Parts::new(&loaded.resolved, identity);
    let last = until.offset(-1);
    let stream = |(config, plan): &(crate::publish::Config, crate::schedule::Config)| {
        let scene = usize::from(config.path);
        let mut agenda = Agenda::new([*plan]);
        if let Some(start) = starts.get(scene).copied().flatten() {
            agenda.begin(0, start);
        }
        let slots = std::iter::from_fn(|| agenda.take_due(last));
        let slots = slots.map(|slot| {
            let identity = parts.stamper.identity(config.path, config.index, slot.sequence);
            let trace_id = parts.stamper.trace_id(identity).to_hex();
            Slot { intended: slot.intended, trace_id }
        });
        let (qos, topic) = (config.qos.level(), config.topic.clone());
        Stream { scene, qos, topic, slots: slots.collect() }
    };
    parts.publishers.iter().map(stream).collect()
}

/// What came of it, on one line; each difference before it, so that nobody has to look for it.
fn summary(rows: &[Row], (seed, sabotaged): (u64, &[String]), lag: &Lag, took: Duration) -> String {
    let differing: Vec<String> = rows.iter().filter(|row| !row.agrees).map(screen::line).collect();
    let facts =
        format!("seed {seed}, {} s, woken up to {} late", took.as_secs(), duration(lag.max()));
    if differing.is_empty() {
        return format!("selftest: all {} figures agree ({facts})", rows.len());
    }
    let (count, all) = (differing.len(), rows.len());
    let advice = if sabotaged.is_empty() {
        "if this machine is busy, run it alone; what differs again is a fault of landfall: report it \
         with its seed"
            .to_owned()
    } else {
        format!("falsified: {}", sabotaged.join(", "))
    };
    format!(
        "{}\nselftest: {count} of {all} figures differ ({facts})\n{advice}",
        differing.join("\n")
    )
}

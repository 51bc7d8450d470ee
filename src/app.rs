//! Room `app` (wiring): builds, spawns, owns every channel and task, drains.
//!
//! # Design
//!
//! Edges meet only here: each is given a [`Router`] for what it sees and a channel for what it has to
//! say about itself. The state machine of room `study` decides what is next, [`control`] obeys it, and
//! this file has the order in which a run starts and stops.

mod audit;
mod books;
mod bridge;
mod calibrate;
mod check;
mod cli;
mod clocks;
mod control;
mod demo;
mod environment;
mod exposure;
mod journalist;
mod keeper;
mod load;
mod loads;
mod logging;
mod meters;
mod news;
mod otlp;
mod output;
mod recorder;
mod resources;
mod results;
mod resume;
mod selftest;
mod state;
mod teams;
mod threads;
mod wiring;
mod witness;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::{Loaded, Problems};
use crate::consume;
use crate::correlate::{Event, PathId, Router};
use crate::host;
use crate::journal::Directory;
use crate::produce;
use crate::report::Report;
use crate::shutdown::{Signals, Tasks};
use crate::stamp::Run;
use crate::study::Machine;

use audit::Audit;
use books::{Bookkeeper, Books, Overview};
use control::{Control, End, State};
use exposure::{Exposed, expose, linger, serve};
use journalist::Journalist;
use load::Load;
use loads::Loads;
use meters::Meters;
use otlp::Exporting;
use output::Output;
use resume::{Beginning, Kept};
use state::Story;
use threads::{Surroundings, Threads};
use wiring::Parts;
use witness::Witness;

pub use cli::main;
pub use loads::Calibrated;
pub use output::{Progress, Screen};

/// How many observations may wait in each inbox of a shard.
const INBOX: usize = 262_144;
/// How many notices of edges may wait.
const NOTICES: usize = 1_024;
/// One shard keeps the books of so many messages a second.
const RATE_PER_SHARD: f64 = 50_000.0;

/// Why a run could not be started, or not be finished; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Problems),
    /// Something that was asked for is not to be had.
    #[error("{0}")]
    Refused(String),
    /// The system refused something it should not.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// What a run is told beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to measure; for ever without it.
    pub measure_for: Option<Duration>,
    /// Where the reports go.
    pub report: Option<PathBuf>,
    /// Where every slot goes.
    pub slots: Option<PathBuf>,
    /// Where it stands what landfall alone could do on this machine.
    pub calibration: Calibrated,
    /// How the run shows how it goes.
    pub progress: Progress,
    /// What it shows it on.
    pub screen: Screen,
}

/// Measures until told to stop, or for as long as it was asked to; the exit code.
///
/// # Errors
///
/// Before anything is sent: when the configuration can't be had as it is.
pub async fn measure(loaded: &Loaded, options: Options) -> Result<u8, Error> {
    if options.measure_for.is_some_and(|length| length.is_zero()) {
        return Err(Error::Refused("--for: 0 measures nothing; give it some seconds".to_owned()));
    }
    load::program(loaded)?;
    resources::ensure(&loaded.resolved)?;
    let run = carry_out(loaded, &options, new_run()?, Special::default());
    let Some(over) = Box::pin(run).await? else {
        return Ok(130);
    };
    let written = results::finish(&over.report, &options, over.audit.as_deref());
    let code = over.report.verdict.exit_code();
    let directory = over.leave(loaded.resolved.telemetry.linger).await;
    written?;
    // The run is over, and told.
    if let Some(directory) = directory {
        directory.clear().map_err(|error| Error::System("removing the state of the run", error))?;
    }
    Ok(code)
}

/// A run that has its report, and what still shows its last values.
struct Over {
    report: Report,
    control: Box<Control>,
    audit: Option<Arc<Audit>>,
    otlp: Exporting,
    http: Tasks,
    /// Where state is kept, if it is.
    directory: Option<Directory>,
}

/// What a selftest falsifies and a calibration watches; nothing in any other run.
#[derive(Default)]
struct Special {
    /// Slipped into the books as if it had happened.
    invented: Vec<Event>,
    /// Whose records are timed by a clock that is set back, and by how much.
    set_back: Option<(PathId, Duration)>,
    /// Who is handed the books while the run lasts.
    watched: Option<oneshot::Sender<Vec<Arc<Books>>>>,
}

/// Measures from the first connection to the report; `None` where a second signal did not want to
/// wait for it.
async fn carry_out(
    loaded: &Loaded,
    options: &Options,
    run: Run,
    Special { mut invented, set_back, watched }: Special,
) -> Result<Option<Over>, Error> {
    let clock = Clock::system();
    let resolved = &loaded.resolved;
    // Before anybody can see the run, or anything is written.
    let signals = Signals::listen().map_err(system("listening for signals"))?;
    let Beginning { parts, state, keeping } = resume::begin(loaded, run, clock)?;
    let loads = Loads::of(resolved, &parts, &options.calibration);
    let Exposed { telemetry, health, press, server } = expose(loaded, (&parts, &loads), clock)?;
    let audit = results::open(options, &parts)?;
    let otlp = otlp::start(loaded, &telemetry, &health).await?;
    let http = serve(server)?;

    let components = parts.components();
    let mut kept = Kept::new(keeping, (&telemetry, &health), clock.now());
    let shards = kept.shards().unwrap_or_else(|| shards(parts.rate));
    let router = Router::new(Arc::clone(&parts.roster), shards, INBOX);
    let story = state.story.clone();
    let (correlators, books, clocks) = state.spread(&parts.roster, shards);
    let mut bookkeeper = |((shard, books), correlator)| Bookkeeper {
        clock,
        router: router.clone(),
        shard,
        books: Arc::clone(books),
        correlator,
        keeper: kept.keeper.take(),
        clocks: clocks.clone(),
        telemetry: telemetry.clone(),
        audit: audit.clone(),
        second_looks: Vec::new(),
        tracer: otlp.sink.as_ref().map(|sink| otlp::tracer(resolved, &parts, sink.clone())),
        invented: std::mem::take(&mut invented),
    };
    let bookkeepers = (0..).zip(&books).zip(correlators).map(&mut bookkeeper).collect();
    let (notify, notices) = mpsc::channel(NOTICES);
    let given = (kept.leases.clone(), kept.takes_over);
    let around = Surroundings::new(clock, (router.clone(), notify), given, set_back);
    let machine = Machine::new(parts.plan(resolved, options.measure_for));
    let overview = Overview::new(Arc::clone(&parts.roster), clock.now(), story.windows.clone());
    let journalist = journalist(loaded, &parts, (clock, story), loads.clone());
    let threads = Threads::start(parts, around, (bookkeepers, kept.syncer));
    let threads = threads.map_err(system("starting threads"))?;
    show(watched, &books);
    let mut control = Box::new(Control {
        clock,
        machine,
        threads,
        notices,
        signals,
        router,
        leases: kept.leases,
        books,
        clocks,
        overview,
        load: Load::of(loaded, clock, (&telemetry, &health))?,
        telemetry,
        health,
        press: Some(press),
        edition: 0,
        meters: Meters::new(host::Sampler::new(load::sampled(loaded))),
        output: Output::new(options.screen.clone(), options.progress, loads.paths),
        journalist,
        window: resolved.window,
        components,
        state: State::default(),
    });
    if control.run().await == End::Aborted {
        return Ok(None);
    }
    let (report, directory) = (control.stop().await, kept.directory);
    Ok(report.map(|report| Over { report, control, audit, otlp, http, directory }))
}

/// What is said when the system refuses something it should not.
fn system(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::System(what, error)
}

/// Hands the books to who watches them.
fn show(watched: Option<oneshot::Sender<Vec<Arc<Books>>>>, books: &[Arc<Books>]) {
    if let Some(watched) = watched {
        // Who has gone does not look.
        let _ = watched.send(books.to_vec());
    }
}

impl Over {
    /// Lets Collector and scrapers see the last values. A signal ends each wait. Hands on where state is
    /// kept.
    async fn leave(mut self, linger_for: Duration) -> Option<Directory> {
        let signals = &mut self.control.signals;
        tokio::select! {
            () = self.otlp.finish() => (),
            () = signals.next() => (),
        }
        linger(signals, linger_for).await;
        self.http.stop();
        self.http.finished().await;
        self.directory
    }
}

fn journalist(
    loaded: &Loaded,
    parts: &Parts,
    (clock, story): (Clock, Story),
    loads: Loads,
) -> Journalist {
    let names = parts.roster.paths().iter().map(|path| path.name.clone()).collect();
    let witness = Witness::new(Arc::clone(&parts.roster), parts.stamper.clone());
    let told = (witness, names, parts.objectives.clone(), story);
    Journalist::new(clock, (environment::product(), environment::survey(loaded)), told, loads)
}

impl Control {
    /// Stops whatever still runs, in the order that invents no loss, and sums up; `None` where
    /// another signal does not want to wait for that.
    async fn stop(&mut self) -> Option<Report> {
        let threads = &self.threads;
        for group in [&threads.publishers, &threads.subscribers, &threads.consumers] {
            group.stop();
        }
        // The last notices are read by nobody: room for them must not be waited for.
        self.notices.close();
        let stopped = async {
            for group in [&threads.publishers, &threads.subscribers, &threads.consumers] {
                group.finished().await;
            }
            threads.books.stop();
            threads.books.finished().await;
            if let Some(load) = &mut self.load {
                load.finished().await;
            }
        };
        tokio::select! {
            () = stopped => (),
            () = self.signals.next() => return None,
        }
        self.output.finish();
        let now = self.clock.now();
        self.meters.read(now, &self.telemetry);
        self.end_window(now);
        self.close_press();
        self.tell_load();
        let unmeasured = self.unmeasured();
        Some(self.journalist.report(&self.overview.stats, &self.meters, &unmeasured))
    }
}

/// Makes sure, before anything is sent, that librdkafka takes its properties.
fn check_properties(loaded: &Loaded, parts: &Parts) -> Result<(), Error> {
    for config in &parts.consumers {
        let at = format!("paths[{}].kafka.properties", config.path.0);
        consume::check(config).map_err(|what| loaded.problem(&at, &what))?;
    }
    for config in &parts.producers {
        let at = format!("paths[{}].kafka.properties", config.path.0);
        produce::check(config).map_err(|what| loaded.problem(&at, &what))?;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the number of processors"
)]
fn shards(rate: f64) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ((rate / RATE_PER_SHARD).ceil() as usize).clamp(1, cpus)
}

/// A run that no other is mistaken for: 32 random bits.
fn new_run() -> Result<Run, Error> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::System("asking the kernel for random bits", error.into()))?;
    let [a, b, c, instance] = random;
    Ok(Run { epoch: u32::from_be_bytes([0, a, b, c]), instance })
}

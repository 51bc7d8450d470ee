//! Room `app`: the command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::runtime;

use super::{
    Calibrated, Error, Options, Progress, Screen, bridge, calibrate, check, demo, logging, measure,
    selftest,
};
use crate::clock::Clock;
use crate::config::{self, Loaded, Overrides};
use crate::load;
use crate::telemetry;

/// How long `health` waits for an answer.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// Measures, all the time, how long an MQTT message takes to become a Kafka record, and which ones
/// never do.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value = "text", env = "LANDFALL_LOG_FORMAT")]
    log_format: logging::Format,
    /// Which log lines are written: error, warn, info, debug, or filters by module; without it what is
    /// wrong and when it is over, and of selftest, which provokes all of that, errors alone
    #[arg(long, global = true, env = "LANDFALL_LOG")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process, nothing to install: broker, bridge, Kafka and the measurement
    Demo(Demo),
    /// The sidecar; with --for a soak with a verdict
    Run(Run),
    /// What is in force, the JSON Schema of the file, the metric reference
    Config(Config),
    /// Asks the running sidecar's /readyz: exit code 0 when it is ready
    Health(Health),
    /// The reference bridge by itself, from MQTT to Kafka
    Bridge(bridge::Flags),
    /// Preflight: connects, sends one message for each path and QoS, and explains what came back
    Check(Check),
    /// Drops, delays, doubles, reorders and damages known messages, and shows that the counters say
    /// exactly that
    Selftest(Selftest),
    /// Stands between landfall and a load generator, and ends with either
    #[command(hide = true, name = load::GUARD)]
    LoadGuard(Guard),
    /// Not built yet
    #[command(hide = true)]
    Study(NotBuilt),
    /// What landfall alone can do on this machine, and what measuring costs: about two minutes
    Calibrate(calibrate::Flags),
    /// Not built yet
    #[command(hide = true)]
    Asyncapi(NotBuilt),
}

/// What landfall and a guard start themselves with.
#[derive(Debug, Args)]
struct Guard {
    /// Become the program that the guard of this process id guards
    #[arg(long = "become", value_name = "PID")]
    guard: Option<i32>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What `demo` and `run` share.
#[derive(Debug, Args)]
struct Outputs {
    /// Measure for so long, then say the verdict (such as 30s or 8h)
    #[arg(long = "for", value_name = "DURATION", value_parser = config::duration)]
    measure_for: Option<Duration>,
    /// Write report.json and report.md there
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write every slot with its outcome there, tab-separated
    #[arg(long, value_name = "FILE")]
    slots: Option<PathBuf>,
    /// Where HTTP is served (instead of telemetry.listen)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

#[derive(Debug, Args)]
struct Demo {
    #[command(flatten)]
    outputs: Outputs,
    /// Messages a second over all QoS levels
    #[arg(long, default_value = "100/s", value_parser = config::rate)]
    rate: String,
}

#[derive(Debug, Args)]
struct File {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "landfall.yaml")]
    config: PathBuf,
    /// Name of the probe (instead of probe)
    #[arg(long)]
    probe: Option<String>,
    /// Keep /metrics up so long after the report (instead of telemetry.linger)
    #[arg(long, value_name = "DURATION")]
    linger: Option<String>,
    /// Length of a window (instead of window)
    #[arg(long, value_name = "DURATION")]
    window: Option<String>,
    /// How long a signal waits for outcomes (instead of drain)
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    outputs: Outputs,
    /// Where `landfall calibrate --json` wrote what landfall alone can do (instead of those that it keeps)
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    file: File,
    /// Wait so long for each message (instead of the path's deadline, at most 10s)
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    wait: Option<Duration>,
}

#[derive(Debug, Args)]
struct Selftest {
    /// Draws the faults; the same seed draws the same again
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Falsify this counter of the books, which must be found out; may be given more than once
    #[arg(long, value_name = "COUNTER", value_parser = selftest::counters())]
    sabotage: Vec<String>,
}

#[derive(Debug, Args)]
struct Config {
    /// What to print
    what: What,
    #[command(flatten)]
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The configuration in force, and where each value came from
    Show,
    /// JSON Schema of the file
    Schema,
    /// Every metric
    Metrics,
}

#[derive(Debug, Args)]
struct Health {
    /// Where the sidecar serves HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9464")]
    address: SocketAddr,
}

/// Runs the command that the arguments name; its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::default();
    let unasked = match cli.command {
        Command::Selftest(_) => logging::OF_SELFTEST,
        _ => logging::DEFAULT,
    };
    let filter = cli.log.as_deref().unwrap_or(unasked);
    let code = logging::start(filter, cli.log_format, screen.clone())
        .and_then(|()| obey(cli.command, screen));
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody reads a closed standard error; the exit code tells.
            let _ = writeln!(io::stderr(), "{}", error.to_string().trim_end());
            ExitCode::from(2)
        }
    }
}

fn obey(command: Command, screen: Screen) -> Result<u8, Error> {
    match command {
        Command::Demo(flags) => {
            let progress = progress(Progress::Lines);
            let options = flags.outputs.options(progress, screen);
            let listen = flags.outputs.listen.as_deref();
            block_on(demo::run(&flags.rate, listen, variables(), options))
        }
        Command::Run(flags) => {
            let loaded = flags.file.load(flags.outputs.listen.clone())?;
            let options = flags.outputs.options(progress(Progress::Quiet), screen);
            let options = Options {
                calibration: flags.calibration.map_or(Calibrated::Kept, Calibrated::In),
                ..options
            };
            block_on(measure(&loaded, options))
        }
        Command::Config(flags) => show(&flags),
        Command::Health(flags) => Ok(ask(flags.address)),
        Command::Bridge(flags) => block_on(bridge::run(flags)),
        Command::Check(flags) => {
            let run = format!("landfall run -c {}", flags.file.config.display());
            block_on(check::run(flags.file.load(None), flags.wait, &run))
        }
        Command::Selftest(flags) => block_on(selftest::run(flags.seed, &flags.sabotage, screen)),
        Command::LoadGuard(flags) => block_on(async move { Ok(flags.stand()) }),
        Command::Study(_) => not_built("study"),
        Command::Calibrate(flags) => block_on(calibrate::run(flags, screen)),
        Command::Asyncapi(_) => not_built("asyncapi"),
    }
}

fn not_built(command: &str) -> Result<u8, Error> {
    Err(Error::Refused(format!("landfall {command}: is known but not built yet")))
}

/// A table for a terminal, something else for a pipe.
fn progress(in_a_pipe: Progress) -> Progress {
    if io::stderr().is_terminal() && io::stdout().is_terminal() {
        Progress::Table
    } else {
        in_a_pipe
    }
}

impl Outputs {
    fn options(&self, progress: Progress, screen: Screen) -> Options {
        Options {
            measure_for: self.measure_for,
            report: self.report.clone(),
            slots: self.slots.clone(),
            calibration: Calibrated::Kept,
            progress,
            screen,
        }
    }
}

impl Guard {
    /// The exit code of the generator.
    fn stand(&self) -> u8 {
        let Some((program, arguments)) = self.command.split_first() else { return 2 };
        match self.guard {
            Some(guard) => load::become_generator(guard, program, arguments),
            None => load::guard(program, arguments, Clock::system()),
        }
    }
}

impl File {
    fn load(&self, listen: Option<String>) -> Result<Loaded, Error> {
        let flags = Overrides {
            probe: self.probe.clone(),
            listen,
            linger: self.linger.clone(),
            window: self.window.clone(),
            drain: self.drain.clone(),
        };
        Ok(config::load(&self.config, &flags, variables())?)
    }
}

/// The environment; what is not UTF-8 can't be meant for us.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn show(flags: &Config) -> Result<u8, Error> {
    let text = match flags.what {
        What::Show => flags.file.load(None)?.show(),
        What::Schema => format!("{:#}\n", config::schema()),
        What::Metrics => telemetry::reference(),
    };
    // A reader that has seen enough closes the pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(0)
}

fn ask(address: SocketAddr) -> u8 {
    match telemetry::get(address, "/readyz", HEALTH_PATIENCE, Clock::system()) {
        Ok(answer) => {
            let _ = writeln!(io::stdout(), "{}", answer.body.trim_end());
            u8::from(answer.status != 200)
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    }
}

fn block_on(work: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::System("starting the runtime", error))?.block_on(work)
}

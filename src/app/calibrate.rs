//! Room `app`: `landfall calibrate`: what landfall alone can do on this machine, and what measuring costs.
//!
//! # Design
//!
//! The very run that measures a system is made against a sink that keeps nothing, in this process and on
//! real sockets, so that nothing but landfall is the limit: flat out and at a fixed rate, at each QoS, and
//! each time also bare, without stamp, books and metrics. CPU time is that of the whole process less
//! what the sink's threads say of themselves, and only of the time in which the load is steady. All of it
//! is done in several rounds, the bare load first in one and last in the next: what else the machine does
//! changes from second to second, and hits both alike.

mod draft;
mod load;

use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{Error, Screen, environment, loads, resources};
use crate::clock::Clock;
use crate::config::{self, Loaded, Overrides};
use crate::embedded::null::NullSink;
use crate::report::{Calibration, Level, NULL_SINK, rfc3339};
use crate::shutdown::{Signals, Tasks};
use crate::stamp::Format;
use draft::Draft;
use load::{Outcome, Target};

/// Messages a second of the paced loads.
const PACED_RATE: u32 = 10_000;
/// Shorter loads say nothing.
const SHORTEST: Duration = Duration::from_millis(100);
/// More threads than this the sink never needs.
const SINK_THREADS_MAX: usize = 2;
/// How wide the bar is that shows how far it is.
const BAR: usize = 24;
/// Where nothing could be reached.
const UNREACHABLE: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Measure each of the 12 loads for so long in each round
    #[arg(long = "for", value_name = "DURATION", default_value = "1s", value_parser = config::duration)]
    each: Duration,
    /// How often each load is measured: figures are medians over the rounds, and only several of them
    /// show how far apart they are
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many clients share a load
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// How large each payload is, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Send to this broker, which is loaded as hard as it can take, and not to a sink in this process
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Write the figures there as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The keys that are made of flags.
const MADE_OF: [(&str, &str); 3] = [
    ("paths[0].mqtt.url", "--broker"),
    ("paths[0].mqtt.clients", "--clients"),
    ("paths[0].mqtt.payload", "--size"),
];

/// A load of the calibration.
#[derive(Clone, Copy, Debug)]
struct Step {
    is_paced: bool,
    qos: u8,
}

/// Measures every load, prints what came out and keeps it; 3 where the broker can't be reached.
pub(super) async fn run(flags: Flags, screen: Screen) -> Result<u8, Error> {
    if flags.each < SHORTEST {
        return Err(Error::Refused(
            "--for: is too short to measure; give it 100ms or more".to_owned(),
        ));
    }
    let steps = [false, true]
        .into_iter()
        .flat_map(|is_paced| (0..3).map(move |qos| Step { is_paced, qos }));
    let steps: Vec<Step> = steps.collect();
    let systems = Tasks::new();
    let (sink, url) = if let Some(url) = &flags.broker {
        (None, url.clone())
    } else {
        let sink = NullSink::start(sink_threads(), &systems)
            .map_err(|error| Error::System("starting the null sink", error))?;
        let url = format!("mqtt://{}", sink.address());
        (Some(sink), url)
    };
    // All of them before the first: what is wrong with a flag is wrong with each.
    let loads = steps.iter().map(|&step| Ok((step, configuration(step, &flags, &url)?)));
    let loads: Vec<(Step, Loaded)> = loads.collect::<Result<_, Error>>()?;
    ensure(&loads, &flags)?;
    let target = Target { sink, each: flags.each, clients: flags.clients };
    let signals = Signals::listen().map_err(|error| Error::System("listening for signals", error));
    let mut signals = signals?;
    let draft = |file| Draft::of(file).map_err(|error| unwritable(file, &error));
    let draft = flags.json.as_deref().map(draft).transpose()?;
    let levels = tokio::select! {
        levels = measure(&loads, flags.rounds, &target, &screen) => levels,
        () = signals.next() => Ok(Outcome::Interrupted),
    };
    screen.clear();
    systems.stop();
    match levels? {
        Outcome::Done(levels) => finish(&flags, &levels, draft, &screen),
        Outcome::Unreachable(why) => {
            // Nobody reads a closed standard error; the exit code tells.
            let _ = writeln!(io::stderr(), "landfall calibrate: {url}: {why}");
            Ok(UNREACHABLE)
        }
        Outcome::Interrupted => Ok(130),
    }
}

/// Makes sure, before the first of them, that the machine has what each of the loads needs.
fn ensure(loads: &[(Step, Loaded)], flags: &Flags) -> Result<(), Error> {
    let is_here = flags.broker.is_none();
    let ensure = if is_here { resources::ensure_both_ends } else { resources::ensure };
    loads.iter().try_for_each(|(_, loaded)| ensure(&loaded.resolved)).map_err(|error| match error {
        Error::Refused(why) if is_here => Error::Refused(format!(
            "--clients {}: each counts twice, since the sink is in this process; {why}",
            flags.clients
        )),
        error => error,
    })
}

/// Runs one load after the other, round by round.
async fn measure(
    loads: &[(Step, Loaded)],
    rounds: u32,
    target: &Target,
    screen: &Screen,
) -> Result<Outcome<Vec<(Step, Level)>>, Error> {
    let is_shown = io::stderr().is_terminal();
    if is_shown {
        screen.begin();
    }
    let all = 2 * loads.len() * rounds as usize;
    let mut done = 0;
    let mut levels = vec![Vec::new(); loads.len()];
    for round in 0..rounds {
        for ((step, loaded), levels) in loads.iter().zip(&mut levels) {
            let mut level = Level::default();
            let bare_first = round % 2 == 0;
            for is_bare in [bare_first, !bare_first] {
                if is_shown {
                    screen.draw(progress(*step, is_bare, (done, all), target.each));
                }
                done += 1;
                let outcome = if is_bare {
                    load::bare(loaded, target).await?.map(|bare| Level { bare, ..level.clone() })
                } else {
                    let bare = level.bare;
                    load::measured(loaded, target, screen).await?.map(|of| Level { bare, ..of })
                };
                level = match outcome {
                    Outcome::Done(level) => level,
                    Outcome::Unreachable(why) => return Ok(Outcome::Unreachable(why)),
                    Outcome::Interrupted => return Ok(Outcome::Interrupted),
                };
            }
            levels.push(Level { qos: step.qos, ..level }.compared());
        }
    }
    let steps = loads.iter().map(|(step, _)| *step);
    let of_rounds = levels.iter().map(|rounds| Level::of_rounds(rounds));
    Ok(Outcome::Done(steps.zip(of_rounds).collect()))
}

/// Prints and keeps what came out.
fn finish(
    flags: &Flags,
    levels: &[(Step, Level)],
    draft: Option<Draft>,
    screen: &Screen,
) -> Result<u8, Error> {
    let now = rfc3339(Clock::system().wall());
    let of = |is_paced: bool| {
        let levels = levels.iter().filter(|(step, _)| step.is_paced == is_paced);
        levels.map(|(_, level)| level.clone()).collect()
    };
    let calibration = Calibration {
        target: flags.broker.clone().unwrap_or_else(|| NULL_SINK.to_owned()),
        clients: flags.clients,
        payload_bytes: flags.size,
        format: format(flags.size).name().to_owned(),
        seconds: flags.each.as_secs_f64(),
        rounds: flags.rounds,
        flat_out: of(false),
        paced: of(true),
        paced_rate: f64::from(PACED_RATE),
        ..Calibration::new(now, environment::product().version, environment::machine())
    };
    screen.print(&calibration.text());
    let json = serde_json::to_string_pretty(&calibration)
        .map_err(|error| Error::System("writing the figures", error.into()))?;
    if let Some((draft, file)) = draft.zip(flags.json.as_ref()) {
        draft.finish(&json).map_err(|error| unwritable(file, &error))?;
    }
    // With a broker it is not landfall alone.
    if flags.broker.is_none()
        && let Some(file) = loads::kept_at(flags.size)
    {
        keep(&file, &calibration, &json, screen);
    }
    Ok(0)
}

/// Keeps it for runs with such payloads, unless what is kept is better founded.
fn keep(file: &Path, calibration: &Calibration, json: &str, screen: &Screen) {
    let shown = file.display();
    if !calibration.is_sound() {
        screen.print(
            "not kept: nothing was sent in one of the loads; calibrate again when the machine is less busy",
        );
        return;
    }
    let better = loads::calibration(file).ok().filter(|kept| kept.outweighs(calibration));
    if let Some(better) = better {
        screen.print(&format!(
            "not kept: {shown} was measured for longer or with more clients ({}); remove it to keep another",
            better.effort()
        ));
        return;
    }
    let directory = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    match directory.and_then(|()| Draft::of(file)?.finish(json)) {
        Ok(()) => screen.print(&format!("kept in {shown}")),
        Err(error) => tracing::warn!(
            "{shown}: {error}; `landfall run` will not find the calibration, give it --calibration"
        ),
    }
}

fn sink_threads() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cpus / 2).clamp(1, SINK_THREADS_MAX)
}

/// How payloads of that size are written: the first way that has room for a stamp.
fn format(size: u32) -> Format {
    let fits = |format: &Format| format.size_min() <= size as usize;
    [Format::Json, Format::Binary].into_iter().find(fits).unwrap_or(Format::Text)
}

/// A load in the words of any other configuration.
fn configuration(step: Step, flags: &Flags, url: &str) -> Result<Loaded, Error> {
    let rate = if step.is_paced { format!("{PACED_RATE}/s") } else { "max".to_owned() };
    let text = format!(
        "probe: calibrate
paths:
  - name: calibrate
    mqtt:
      url: {url}
      topic: landfall/calibrate/{{client}}
      qos: {qos}
      clients: {clients}
      rate: {rate}
      connect_rate: 1000000/s
      payload: {{ size: {size}, format: {format} }}
    lanes: []
    deadline: 1s
telemetry: {{ listen: 127.0.0.1:0 }}
",
        // Any text is YAML in the quotes of JSON.
        url = serde_json::Value::from(url),
        qos = step.qos,
        clients = flags.clients,
        size = flags.size,
        format = format(flags.size).name(),
    );
    let none = std::iter::empty();
    let loaded = config::load_text("landfall calibrate", &text, &Overrides::default(), none);
    Ok(loaded.map_err(|problems| problems.of_flags(&MADE_OF))?)
}

/// Which load it is at.
fn progress(step: Step, is_bare: bool, (done, all): (usize, usize), each: Duration) -> String {
    let left = u32::try_from(all - done).unwrap_or(u32::MAX);
    let drawn = BAR * done / all.max(1);
    format!(
        "[{}{}] calibrating: {}, QoS {}{}; some {} s left",
        "#".repeat(drawn),
        "-".repeat(BAR - drawn),
        if step.is_paced { "paced" } else { "flat out" },
        step.qos,
        if is_bare { ", bare" } else { "" },
        ((each + load::AROUND) * left).as_secs(),
    )
}

fn unwritable(file: &Path, error: &io::Error) -> Error {
    let file = file.display();
    Error::Refused(format!("--json {file}: {error}; name a file that can be written"))
}

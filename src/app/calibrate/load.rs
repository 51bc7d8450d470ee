//! Room `app`: one load of a calibration: how many messages a second, and for how much CPU time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::app::books::Books;
use crate::app::teams::{self, Team};
use crate::app::threads::ring_at_stop;
use crate::app::wiring::Parts;
use crate::app::{Calibrated, Error, Options, Progress, Screen, Special, carry_out, new_run};
use crate::clock::{Clock, Instant, cpu_of_process};
use crate::config::Loaded;
use crate::correlate::{Leg, PathId, Qos};
use crate::embedded::null::NullSink;
use crate::publish;
use crate::report::{Bare, Level};
use crate::shutdown::Tasks;
use crate::stats::Stats;
use crate::wire::Bell;

/// How long a load runs before it is taken for steady.
const WARM_UP: Duration = Duration::from_millis(300);
/// How much longer than it is measured it lasts at least after that: who watches may be woken late.
const MARGIN: Duration = Duration::from_secs(1);
/// How long connecting, all that is not measured and leaving take, roughly.
pub(super) const AROUND: Duration = Duration::from_secs(2);
/// How long may pass before the first message is sent, and how much longer for each client that is to be
/// connected before.
const PATIENCE: Duration = Duration::from_secs(15);
const PATIENCE_A_CLIENT: Duration = Duration::from_millis(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No count is older than this.
const UP_TO_DATE: Duration = Duration::from_millis(300);
/// How long it takes to bring a count up to date, once that has begun.
const SETTLE: Duration = Duration::from_millis(2);
const PATH: PathId = PathId(0);

/// Where a load goes, and for how long.
pub(super) struct Target {
    /// Where it is a broker of somebody else there is none.
    pub(super) sink: Option<NullSink>,
    pub(super) each: Duration,
    pub(super) clients: u32,
}

/// How a load ended.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Done(T),
    /// Nothing could be sent, and why.
    Unreachable(String),
    Interrupted,
}

impl<T> Outcome<T> {
    pub(super) fn map<U>(self, of: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(done) => Outcome::Done(of(done)),
            Self::Unreachable(why) => Outcome::Unreachable(why),
            Self::Interrupted => Outcome::Interrupted,
        }
    }
}

/// What was seen of a steady load.
struct Span {
    messages: u64,
    cpu: Duration,
    length: Duration,
}

/// Where a load stands.
struct Mark {
    at: Instant,
    cpu: Duration,
    messages: u64,
}

impl Span {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    fn figures(&self) -> Bare {
        let messages = self.messages.max(1) as f64;
        Bare {
            messages_a_second: self.messages as f64 / self.length.as_secs_f64(),
            cpu_us_a_message: self.cpu.as_secs_f64() * 1e6 / messages,
        }
    }
}

impl Target {
    /// CPU time of all that is landfall.
    fn cpu(&self) -> Duration {
        let sink = self.sink.as_ref().map_or(Duration::ZERO, NullSink::cpu);
        cpu_of_process().saturating_sub(sink)
    }

    /// Watches a load that has sent so many messages, where there is no sink that counts them; `None`
    /// where it does not begin.
    async fn watch(&self, sent: impl Fn() -> u64) -> Option<Span> {
        let clock = Clock::system();
        let messages = || self.sink.as_ref().map_or_else(&sent, |sink| sink.taken().messages);
        let patience = PATIENCE + PATIENCE_A_CLIENT * self.clients;
        let (before, deadline) = (messages(), clock.now() + patience);
        while messages() == before {
            if clock.now() > deadline {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::time::sleep(WARM_UP).await;
        let first = self.mark(&messages).await;
        tokio::time::sleep(self.each).await;
        let last = self.mark(&messages).await;
        Some(Span {
            length: last.at.saturating_since(first.at),
            cpu: last.cpu.saturating_sub(first.cpu),
            messages: last.messages.saturating_sub(first.messages),
        })
    }

    /// Where a load stands once its count has just been brought up to date: the books do that ten times a
    /// second, and whoever looked in between would miss up to a tenth of it.
    async fn mark(&self, messages: &impl Fn() -> u64) -> Mark {
        let clock = Clock::system();
        let (before, until) = (messages(), clock.now() + UP_TO_DATE);
        while messages() == before && clock.now() < until {
            tokio::time::sleep(SETTLE).await;
        }
        tokio::time::sleep(SETTLE).await;
        Mark { at: clock.now(), cpu: self.cpu(), messages: messages() }
    }
}

/// Sends with nothing around it.
pub(super) async fn bare(loaded: &Loaded, target: &Target) -> Result<Outcome<Bare>, Error> {
    let parts = Parts::new(&loaded.resolved, new_run()?);
    let (tasks, tally) = (Tasks::new(), Arc::new(publish::Tally::default()));
    let failed = |error| Error::System("starting threads", error);
    for Team { publishers, tick } in teams::of(parts.publishers) {
        let bell = Bell::new().map_err(failed)?;
        ring_at_stop(&tasks, &bell);
        let (stop, tally) = (tasks.clone(), Arc::clone(&tally));
        let work = move || {
            let timing = (Clock::system(), tick);
            if let Err(error) = publish::bare(publishers, timing, bell, tally, &stop) {
                tracing::error!("nothing is sent: {error}");
            }
        };
        tasks.thread("publish", work).map_err(failed)?;
    }
    let span = target.watch(|| tally.sent()).await;
    tasks.stop();
    tasks.finished().await;
    let why = || tally.failure().unwrap_or_else(|| "no client was let in in time".to_owned());
    Ok(span.map_or_else(|| Outcome::Unreachable(why()), |span| Outcome::Done(span.figures())))
}

/// Sends as any run does.
pub(super) async fn measured(
    loaded: &Loaded,
    target: &Target,
    screen: &Screen,
) -> Result<Outcome<Level>, Error> {
    let options = Options {
        measure_for: Some(WARM_UP + target.each + MARGIN),
        report: None,
        slots: None,
        calibration: Calibrated::Unasked,
        progress: Progress::Quiet,
        screen: screen.clone(),
    };
    let (tell, told) = oneshot::channel();
    let special = Special { watched: Some(tell), ..Special::default() };
    let mut run = Box::pin(carry_out(loaded, &options, new_run()?, special));
    let mut watch = pin!(watch(target, told, &loaded.resolved.paths[0].mqtt.qos));
    let span = tokio::select! {
        // What is wrong with the run comes out first.
        biased;
        over = &mut run => match over? {
            Some(_) => None,
            None => return Ok(Outcome::Interrupted),
        },
        span = &mut watch => span,
    };
    let Some(span) = span else {
        return Ok(Outcome::Unreachable("the load did not begin, or ended early".to_owned()));
    };
    let Some(over) = run.await? else { return Ok(Outcome::Interrupted) };
    let level = level(&span, &over.control.overview.stats, &loaded.resolved.paths[0].mqtt.qos);
    over.leave(Duration::ZERO).await;
    Ok(Outcome::Done(level))
}

async fn watch(
    target: &Target,
    told: oneshot::Receiver<Vec<Arc<Books>>>,
    qos: &[Qos],
) -> Option<Span> {
    let books = told.await.ok()?;
    let sent = || {
        let published = |books: &Arc<Books>| {
            let stats = books.stats();
            qos.iter().map(|&qos| stats.publish(PATH, qos).published).sum::<u64>()
        };
        books.iter().map(published).sum()
    };
    target.watch(sent).await
}

fn level(span: &Span, stats: &Stats, qos: &[Qos]) -> Level {
    let Bare { messages_a_second, cpu_us_a_message } = span.figures();
    let delays = qos.iter().filter_map(|&qos| {
        stats.publish(PATH, qos).legs[Leg::PublishDelay.index()].quantile_nanos(0.99)
    });
    let seconds = |nanos: i64| Duration::from_nanos(nanos.max(0).unsigned_abs()).as_secs_f64();
    Level {
        messages_a_second,
        cpu_us_a_message,
        busiest_thread_ratio: f64::from(stats.path(PATH).busiest),
        scheduler_lag_p99_seconds: stats.lag().quantile_nanos(0.99).map(seconds),
        publish_delay_p99_seconds: delays.max().map(seconds),
        ..Level::default()
    }
}

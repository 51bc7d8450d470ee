//! Room `app`: how a run begins, or goes on where a killed process left it.

use std::sync::Arc;

use super::Error;
use super::keeper::Keeper;
use super::recorder::{Holdings, Recorder};
use super::state::{Owner, State, take_up};
use super::wiring::Parts;
use crate::clock::{self, Clock, Instant};
use crate::config::Loaded;
use crate::correlate::Leases;
use crate::journal::{Directory, Stored, Syncer};
use crate::stamp::Run;
use crate::telemetry::{Component, Health, Telemetry};

/// What a run begins with.
pub(super) struct Beginning {
    pub(super) parts: Parts,
    pub(super) state: State,
    /// Where state is kept, if it is.
    pub(super) keeping: Option<Keeping>,
}

/// How state is kept.
pub(super) struct Keeping {
    pub(super) directory: Directory,
    pub(super) leases: Arc<Leases>,
    pub(super) recorder: Recorder,
    pub(super) syncer: Syncer,
    /// Whether the MQTT sessions are those of a process that was killed.
    pub(super) takes_over: bool,
    /// Bytes of a frame that was being written when the process was killed.
    pub(super) torn: usize,
}

/// How state is kept, in the hands of those who keep it.
pub(super) struct Kept {
    pub(super) keeper: Option<Keeper>,
    pub(super) leases: Option<Arc<Leases>>,
    pub(super) takes_over: bool,
    pub(super) syncer: Option<Syncer>,
    pub(super) directory: Option<Directory>,
}

impl Kept {
    pub(super) fn new(
        keeping: Option<Keeping>,
        (telemetry, health): (&Telemetry, &Health),
        now: Instant,
    ) -> Self {
        let Some(keeping) = keeping else {
            let (keeper, leases, syncer, directory) = (None, None, None, None);
            return Self { keeper, leases, takes_over: false, syncer, directory };
        };
        let Keeping { directory, leases, recorder, syncer, takes_over, torn } = keeping;
        telemetry.dropped(Component::Journal.name(), "torn", u64::from(torn > 0));
        let exposed = (telemetry.clone(), health.clone());
        Self {
            keeper: Some(Keeper::new(recorder, directory.path().to_owned(), exposed, now)),
            leases: Some(leases),
            takes_over,
            syncer: Some(syncer),
            directory: Some(directory),
        }
    }

    /// How many shards there must be, where that is not free: state is that of one correlator.
    pub(super) fn shards(&self) -> Option<usize> {
        self.keeper.as_ref().map(|_| 1)
    }
}

/// A run that was taken up.
struct TakenUp {
    parts: Parts,
    state: State,
    owner: Owner,
    same_boot: bool,
    torn: usize,
}

/// Begins a run as `run`, or goes on with the one that `state_dir` holds.
pub(super) fn begin(loaded: &Loaded, run: Run, clock: Clock) -> Result<Beginning, Error> {
    let resolved = &loaded.resolved;
    let Some(path) = &resolved.state_dir else {
        let parts = Parts::new(resolved, run);
        let state = State::new(&parts.roster);
        return Ok(Beginning { parts, state, keeping: None });
    };
    let refused = |what: &str| loaded.problem("state_dir", what);
    let directory = Directory::open(path).map_err(|what| refused(&what))?;
    let boot_id = clock::boot_id();
    let taken_up = load(&directory, boot_id.as_deref())
        .and_then(|stored| stored.map(|it| go_on(loaded, (&it, &boot_id), run, clock)).transpose());
    let (mut parts, state, owner, takes_over, torn) = match taken_up {
        Ok(Some(TakenUp { parts, state, owner, same_boot, torn })) => {
            (parts, state, owner, same_boot, torn)
        }
        nothing => {
            if let Err(what) = nothing {
                let aside = directory.set_aside(clock.wall()).map_err(|what| refused(&what))?;
                tracing::warn!(
                    "state_dir: {}: {what}; set aside as {aside}, a new run begins",
                    directory.path().display()
                );
            }
            let parts = Parts::new(resolved, run);
            let owner = Owner::new(boot_id, run, (&parts.stamper, &parts.roster));
            let state = State::new(&parts.roster);
            (parts, state, owner, false, 0)
        }
    };
    if state.story.restarts > 0 {
        say_resumed(&directory, &state, torn);
        for consumer in &mut parts.consumers {
            consumer.resumed = Some(state.positions((consumer.path, consumer.lane)));
        }
    }
    let leases = Arc::new(Leases::new(state.first.clone(), parts.rates()));
    let (teller, syncer) = Syncer::new();
    let recorder = Recorder::begin(
        (owner, Arc::clone(&leases)),
        (state.names.clone(), state.story.clone()),
        Holdings { correlator: &state.correlator, stats: &state.stats, clocks: &state.clocks },
        teller,
        |snapshot, teller| directory.begin(snapshot, teller),
    );
    let recorder = recorder.map_err(|error| {
        refused(&format!("{}: {error}; free space there", directory.path().display()))
    })?;
    let keeping = Keeping { directory, leases, recorder, syncer, takes_over, torn };
    Ok(Beginning { parts, state, keeping: Some(keeping) })
}

/// What is in the directory. An end that does not add up is left out where the machine has started
/// again: one that lost its power leaves such.
fn load(directory: &Directory, boot_id: Option<&str>) -> Result<Option<Stored>, String> {
    directory
        .load(|snapshot| Owner::of(snapshot).is_ok_and(|(owner, _)| !owner.is_of_boot(boot_id)))
}

/// Goes on with what a process left; as `run` where the machine has started again since.
fn go_on(
    loaded: &Loaded,
    (stored, boot_id): (&Stored, &Option<String>),
    run: Run,
    clock: Clock,
) -> Result<TakenUp, String> {
    let (left, _) = Owner::of(&stored.snapshot)?;
    let as_run = |run| {
        let parts = Parts::new(&loaded.resolved, run);
        let owner = Owner::new(boot_id.clone(), run, (&parts.stamper, &parts.roster));
        (parts, owner)
    };
    let (parts, owner) = as_run(left.run());
    let state = take_up(stored, &owner, &parts.roster, clock)?;
    let same_boot = left.is_of_boot(boot_id.as_deref());
    let (parts, owner) = if same_boot { (parts, owner) } else { as_run(run) };
    Ok(TakenUp { parts, state, owner, same_boot, torn: stored.torn })
}

fn say_resumed(directory: &Directory, state: &State, torn: usize) {
    let open = state.correlator.open_outcomes();
    let torn = if torn > 0 {
        format!(", {torn} bytes of a frame that was cut left out")
    } else {
        String::new()
    };
    tracing::warn!(
        restarts = state.story.restarts,
        "state_dir: {}: a process was killed, its run goes on with {open} open outcomes{torn}",
        directory.path().display()
    );
}

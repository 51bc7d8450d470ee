//! Room `app`: a run that is cut anywhere and goes on is the run that was never cut.

mod leases_and_clocks;
mod ticks;

use proptest::prelude::*;

use super::super::recorder::{News, Recorder};
use super::*;
use crate::correlate::{Append, Carrier, Event, NotSent, Outcome, Path, RecordPlace, Sink, Stage};
use crate::journal::{Directory, Log, Syncer, Teller};
use crate::stamp::{Carriers, Integrity, Run, Stamper};
use crate::stats::Led;

use ticks::{Tick, numbered, ticks};

const PATH: PathId = PathId(0);
const DEADLINE: Duration = Duration::from_secs(5);
const RUN: Run = Run { epoch: 7, instance: 1 };

fn roster() -> Arc<Roster> {
    let mut roster = Roster::default();
    let path = Path {
        name: "plant".into(),
        lanes: vec![Lane::MqttKafka, Lane::MqttMqtt],
        qos: Qos::ALL.to_vec(),
        carriers: Carrier::ALL.to_vec(),
        deadline: DEADLINE,
    };
    roster.add(path, Qos::ALL);
    Arc::new(roster)
}

fn owner(boot_id: &str, secret: &[u8], roster: &Roster) -> Owner {
    Owner::new(Some(boot_id.to_owned()), RUN, (&Stamper::new(secret, RUN), roster))
}

/// A process: its machine, its totals, and all events.
struct Process {
    correlator: Correlator,
    stats: Stats,
    clocks: Clocks,
    events: Vec<Event>,
}

impl Process {
    fn new(roster: &Arc<Roster>) -> Self {
        let State { correlator, stats, clocks, .. } = State::new(roster);
        Self { correlator, stats, clocks, events: Vec::new() }
    }

    fn live(&mut self, tick: &Tick) {
        let from = self.events.len();
        for PartitionName { path, lane, slot, topic, partition, .. } in &tick.names {
            self.clocks.name_partition((*path, *lane), *slot, (topic.clone(), *partition));
        }
        for Leaders { of, led } in &tick.leaders {
            self.clocks.set_leaders(*of, led);
        }
        for observation in tick.published.iter().chain(&tick.received) {
            self.correlator.observe(observation, &mut self.events);
        }
        if let Some(now) = tick.judged {
            self.correlator.advance(now, &mut self.events);
        }
        let mut events = self.events.split_off(from);
        let roster = Arc::clone(self.stats.roster());
        self.clocks.apply(&roster, &mut events);
        self.stats.apply(&events);
        self.events.append(&mut events);
    }

    /// All that is known, in bytes. Windows are of no account: each process has its own.
    fn bytes(&mut self) -> [Vec<u8>; 3] {
        self.stats.end_window();
        [
            postcard::to_extend(&self.correlator.kept(), Vec::new()).unwrap(),
            postcard::to_extend(&self.stats, Vec::new()).unwrap(),
            postcard::to_extend(&self.clocks, Vec::new()).unwrap(),
        ]
    }

    fn holdings(&self) -> Holdings<'_> {
        let Self { correlator, stats, clocks, .. } = self;
        Holdings { correlator, stats, clocks }
    }

    fn record(&self, tick: &Tick, recorder: &mut Recorder) -> std::io::Result<()> {
        let mut rows: Vec<Row> = Vec::new();
        for observation in &tick.published {
            if !rows.last_mut().is_some_and(|row| row.takes(observation)) {
                rows.push((*observation).into());
            }
        }
        let taken = (rows.as_slice(), tick.received.as_slice());
        let (names, leaders) = (tick.names.clone(), tick.leaders.clone());
        let news = News { names, leaders, ..News::default() };
        recorder.record(taken, tick.judged, news, &self.correlator)
    }
}

fn leases() -> Arc<Leases> {
    Arc::new(Leases::new(vec![0; 3], [1.0, 100.0, 1.0]))
}

/// A recorder in a directory, behind a snapshot of this process.
fn recorder(directory: &Directory, process: &Process, roster: &Arc<Roster>) -> Recorder {
    recorder_of(leases(), directory, process, roster)
}

fn recorder_of(
    leases: Arc<Leases>,
    directory: &Directory,
    process: &Process,
    roster: &Arc<Roster>,
) -> Recorder {
    let (teller, _) = Syncer::new();
    let owner = owner("boot", b"key", roster);
    let told = (Vec::new(), Story { began: true, ..Story::default() });
    let begin = |snapshot: &[u8], teller: Teller| -> std::io::Result<Log> {
        directory.begin(snapshot, teller)
    };
    Recorder::begin((owner, leases), told, process.holdings(), teller, begin).unwrap()
}

fn load(directory: &Directory) -> Stored {
    directory.load(|_| false).unwrap().unwrap()
}

/// The log, of which there is one.
fn log_of(directory: &Directory) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max().unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_cut_anywhere_goes_on_as_if_it_had_not_been(
        ticks in ticks(),
        snapshot in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let ticks = numbered(ticks);
        let (roster, scratch) = (roster(), tempfile::tempdir().unwrap());
        let directory = Directory::open(scratch.path()).unwrap();
        let snapshot = snapshot.index(ticks.len());
        let mut whole = Process::new(&roster);
        ticks[..snapshot].iter().for_each(|tick| whole.live(tick));
        let mut recorder = recorder(&directory, &whole, &roster);
        for tick in &ticks[snapshot..] {
            whole.record(tick, &mut recorder).unwrap();
        }
        // The process is killed while it writes.
        let log = log_of(&directory);
        let written = std::fs::read(&log).unwrap();
        std::fs::write(&log, &written[..cut.index(written.len() + 1)]).unwrap();

        let stored = load(&directory);
        let from = snapshot + stored.frames.len();
        prop_assert!(from <= ticks.len());
        ticks[snapshot..from].iter().for_each(|tick| whole.live(tick));
        let read = replay(&stored, &roster).unwrap();
        let mut resumed =
            Process { correlator: read.correlator, stats: read.stats, clocks: read.clocks, events: Vec::new() };
        prop_assert_eq!(resumed.bytes(), whole.bytes());
        whole.events.clear();
        for tick in &ticks[from..] {
            whole.live(tick);
            resumed.live(tick);
        }
        prop_assert_eq!(&resumed.events, &whole.events);
        prop_assert_eq!(resumed.bytes(), whole.bytes());
    }

    /// Whatever was known when the process was killed, each slot has one outcome in the end.
    #[test]
    fn over_a_restart_every_slot_has_one_outcome(ticks in ticks(), after in ticks()) {
        let (roster, mut before) = (roster(), Process::new(&roster()));
        for tick in numbered(ticks) {
            before.live(&tick);
        }
        let next = |of: &Process| [0, 1, 2].map(|id| of.correlator.next_sequence(PublisherId(id)));
        let ends = next(&before).map(|next| next + 5);
        let from = before.events.len();
        before.correlator.restart(&ends, at(100), &mut before.events);
        before.stats.apply(&before.events[from..]);
        prop_assert_eq!(next(&before), ends);
        for mut tick in after {
            // Nothing more is heard of what the process before sent, but that it comes out.
            (tick.offers, tick.published) = (Vec::new(), Vec::new());
            before.live(&tick);
        }
        let from = before.events.len();
        before.correlator.finish(&mut before.events);
        before.stats.apply(&before.events[from..]);
        for (path, qos, lane) in before.stats.measured() {
            let (totals, publish) = (before.stats.lane(path, qos, lane), before.stats.publish(path, qos));
            prop_assert_eq!(totals.slots(), publish.offered);
            prop_assert!(publish.published <= publish.offered);
        }
        prop_assert_eq!(before.correlator.open_outcomes(), 0);
        prop_assert_eq!(roster.publishers().len(), 3);
    }
}

/// A process that had one slot of each publisher on its way, and was killed.
fn killed(directory: &Directory, roster: &Arc<Roster>) -> Stored {
    let mut process = Process::new(roster);
    let mut recorder = recorder(directory, &process, roster);
    let published: Vec<Observation> = (0..3)
        .map(PublisherId)
        .flat_map(|publisher| {
            [
                Observation::Offered { publisher, sequence: 0, intended: at(1) },
                Observation::Sent { publisher, sequence: 0, at: at(1), held: false },
            ]
        })
        .collect();
    let (names, judged) = (vec![name(0, 40)], Some(at(2)));
    let tick = Tick { published, judged, names, ..Tick::default() };
    process.record(&tick, &mut recorder).unwrap();
    process.live(&tick);
    load(directory)
}

fn name(slot: u32, from: i64) -> PartitionName {
    PartitionName { path: PATH, lane: Lane::MqttKafka, slot, topic: "t".into(), partition: 0, from }
}

#[test]
fn a_run_goes_on_behind_its_leases_and_reads_on_from_where_it_was() {
    let (roster, scratch) = (roster(), tempfile::tempdir().unwrap());
    let directory = Directory::open(scratch.path()).unwrap();
    let stored = killed(&directory, &roster);
    let state =
        take_up(&stored, &owner("boot", b"key", &roster), &roster, Clock::system()).unwrap();
    assert_eq!(state.first, [17, 101, 17], "each lease is from the sequence that was next");
    assert_eq!(state.story.restarts, 1);
    assert_eq!(state.story.published_before, 3);
    assert_eq!(
        state.positions((PATH, Lane::MqttKafka)),
        [name(0, 40)],
        "nothing of ours was read yet"
    );
    assert_eq!(state.correlator.open_outcomes(), 2 * (17 + 101 + 17));

    let idle = tempfile::tempdir().unwrap();
    let directory = Directory::open(idle.path()).unwrap();
    recorder(&directory, &Process::new(&roster), &roster);
    let ours = owner("boot", b"key", &roster);
    let unused = take_up(&load(&directory), &ours, &roster, Clock::system()).unwrap();
    assert_eq!(unused.first, [0; 3], "who was killed before it began leaves nothing in doubt");

    let mut renamed = state;
    renamed.names.extend([name(3, 0)]);
    assert_eq!(renamed.positions((PATH, Lane::MqttKafka)), [name(3, 0)], "it was made anew");
}

#[test]
fn state_of_another_probe_path_or_version_is_told_from_ours() {
    let (roster, scratch) = (roster(), tempfile::tempdir().unwrap());
    let directory = Directory::open(scratch.path()).unwrap();
    let mut stored = killed(&directory, &roster);
    let why = |stored: &Stored, owner: &Owner, roster: &Arc<Roster>| {
        take_up(stored, owner, roster, Clock::system()).map(drop).unwrap_err()
    };
    let other = owner("boot", b"other key", &roster);
    assert!(why(&stored, &other, &roster).contains("another probe's"));
    let mut fewer = Roster::default();
    let path = Path { qos: vec![Qos::AtMostOnce], ..roster.path(PATH).clone() };
    fewer.add(path, [Qos::AtMostOnce]);
    let fewer = Arc::new(fewer);
    assert_eq!(
        why(&stored, &owner("boot", b"key", &fewer), &fewer),
        "path plant: clients were 1 of QoS 0 + 1 of QoS 1 + 1 of QoS 2 and are 1 of QoS 0; with it \
         ends the run since 1970-01-01T00:00:00.000Z, of 3 published messages on all paths"
    );
    // One byte of length, then the version.
    stored.snapshot[1] = b'9';
    let ours = owner("boot", b"key", &roster);
    assert!(why(&stored, &ours, &roster).starts_with("it was written by landfall 9"));
    stored.snapshot.clear();
    assert!(why(&stored, &ours, &roster).contains("can't be read"));
}

#[test]
fn after_a_start_of_the_machine_totals_are_kept_and_what_was_open_is_unresolved() {
    let (roster, scratch) = (roster(), tempfile::tempdir().unwrap());
    let directory = Directory::open(scratch.path()).unwrap();
    let stored = killed(&directory, &roster);
    let other_boot = owner("another", b"key", &roster);
    let state = take_up(&stored, &other_boot, &roster, Clock::system()).unwrap();
    assert_eq!(state.correlator.open_outcomes(), 0);
    let unresolved = state
        .stats
        .measured()
        .map(|(path, qos, lane)| state.stats.lane(path, qos, lane).outcome(Outcome::Unresolved));
    assert_eq!(unresolved.sum::<u64>(), 2 * (17 + 101 + 17));
    assert_eq!(state.stats.publish(PATH, Qos::AtLeastOnce).published, 1);
    assert!(state.story.earlier > Duration::ZERO, "what lasted before counts");
}

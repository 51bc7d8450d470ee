//! Test support: `landfall run` and `landfall bridge` as processes, and the audit of a run's slots
//! against the records of Kafka. Nothing of the library is used: stamps are read by a few lines here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what is not as it must be has to fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::systems::Record;

/// How long anything may take that comes by itself.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process of ours, with all that it says; killed when dropped.
struct Process {
    child: Child,
    said: Arc<Said>,
    /// The part of it on standard error.
    complained: Arc<Said>,
    /// Who reads its two streams.
    heard: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Said {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "a reader of a pipe, which ends with it")]
    fn hear(all: &[&Arc<Self>], pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let all: Vec<Arc<Self>> = all.iter().map(|&said| Arc::clone(said)).collect();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                for said in &all {
                    said.lines().push(line.clone());
                    said.more.notify_all();
                }
            }
        })
    }
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, complained) = (Arc::<Said>::default(), Arc::<Said>::default());
        let heard = [
            Said::hear(&[&said], child.stdout.take().unwrap()),
            Said::hear(&[&said, &complained], child.stderr.take().unwrap()),
        ];
        Self { child, said, complained, heard: heard.into() }
    }

    /// Waits for its end, and for all that it said.
    fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        for pipe in self.heard.drain(..) {
            pipe.join().unwrap();
        }
        status
    }

    /// Waits for the `nth` line with this text in it, and returns it.
    fn await_line(&self, nth: usize, text: &str) -> String {
        let found = |lines: &[String]| {
            lines.iter().filter(|line| line.contains(text)).nth(nth - 1).cloned()
        };
        let (lines, waited) = self
            .said
            .more
            .wait_timeout_while(self.said.lines(), PATIENCE, |lines| found(lines).is_none())
            .unwrap();
        assert!(!waited.timed_out(), "no {text:?} came:\n{}", lines.join("\n"));
        found(&lines).unwrap()
    }

    fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(kill.unwrap().success());
    }

    fn text(&self) -> String {
        self.said.lines().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The reference bridge between two real systems.
pub(crate) struct Bridge(Process);

impl Bridge {
    /// Joins the MQTT topics `landfall/NAME/#` to the Kafka topic NAME, and waits until it does.
    pub(crate) fn start(name: &str, mqtt: &str, kafka: &str) -> Self {
        Self::start_with(name, mqtt, kafka, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(name: &str, mqtt: &str, kafka: &str, arguments: &[&str]) -> Self {
        Self::launch(name, name, (mqtt, kafka), arguments)
    }

    /// Joins the MQTT topics `landfall/NAME/#` to another Kafka topic, and waits until it does.
    pub(crate) fn start_to(name: &str, topic: &str, systems: (&str, &str)) -> Self {
        Self::launch(name, topic, systems, &[])
    }

    fn launch(name: &str, topic: &str, (mqtt, kafka): (&str, &str), arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(["bridge", "--mqtt", mqtt, "--kafka", kafka, "--topic", topic]);
        command.args(["--filter", &format!("landfall/{name}/#"), "--client-id", name]);
        command.args(arguments);
        let process = Process::start(&mut command);
        process.await_line(1, "subscribed");
        Self(process)
    }

    /// Waits until it has subscribed so often.
    pub(crate) fn await_subscription(&self, nth: usize) {
        self.0.await_line(nth, "subscribed");
    }

    /// Sends it a signal such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        self.0.signal(name);
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.signal("KILL");
        self.0.ended();
    }

    /// Ends it when all that it has taken over is in Kafka; everything that it said.
    pub(crate) fn stop(mut self) -> String {
        self.0.terminate();
        assert!(self.0.ended().success(), "{}", self.0.text());
        self.0.text()
    }
}

/// One `landfall run`.
pub(crate) struct Run {
    process: Process,
    address: String,
    directory: TempDir,
    metrics: String,
}

impl Run {
    /// Starts it with this configuration, a report and a file of slots.
    pub(crate) fn start(config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("landfall.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.arg("run").arg("-c").arg(file).args(arguments);
        command.arg("--report").arg(directory.path().join("report"));
        command.arg("--slots").arg(directory.path().join("slots.tsv"));
        command.env("LANDFALL_LOG", "info,mqtt5=error");
        let process = Process::start(&mut command);
        let line = process.await_line(1, "listening on http://");
        // Up to where text ends, or the string of a JSON line.
        let address = line.rsplit("http://").next().unwrap().split('"').next().unwrap();
        let address = address.trim().to_owned();
        Self { process, address, directory, metrics: String::new() }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&mut self) {
        self.metrics = self.scrape();
        self.process.terminate();
    }

    /// Sends it a signal such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends it with SIGKILL; everything that it said.
    pub(crate) fn kill(mut self) -> String {
        self.process.signal("KILL");
        self.process.ended();
        self.said()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Where it serves HTTP.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The processor time that it has taken so far, user and system.
    pub(crate) fn processor_time(&self) -> Duration {
        // In ticks of 10 ms, behind the name in parentheses (proc(5)).
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id()));
        let stat = stat.unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = [fields[11], fields[12]].map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(10 * (ticks[0] + ticks[1]))
    }

    /// Waits until its report is written: the report. It may linger.
    pub(crate) fn await_report(&self) -> Value {
        let file = self.file("report/report.json");
        self.await_good("a report", || (file.exists(), self.said()));
        self.report()
    }

    /// Waits for its end: the exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        let code = self.process.ended().code();
        code.unwrap_or_else(|| panic!("ended by a signal:\n{}", self.said()))
    }

    /// Everything that it wrote to the two streams.
    pub(crate) fn said(&self) -> String {
        self.process.text()
    }

    /// Everything that it wrote to standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.process.complained.lines().clone()
    }

    /// The answer of `/readyz`: whether it is ready, and each component.
    pub(crate) fn readiness(&self) -> Value {
        let answer = self.get("/readyz");
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    }

    /// Waits until `/readyz` says what is good.
    pub(crate) fn await_readiness(&self, what: &str, is_good: impl Fn(&Value) -> bool) {
        self.await_good(what, || {
            let readiness = self.readiness();
            (is_good(&readiness), readiness.to_string())
        });
    }

    /// Its `report.json`, once it has ended.
    pub(crate) fn report(&self) -> Value {
        let report = std::fs::read_to_string(self.file("report/report.json")).unwrap();
        serde_json::from_str(&report).unwrap()
    }

    /// Its file of slots, once it has ended.
    pub(crate) fn slots(&self) -> String {
        std::fs::read_to_string(self.file("slots.tsv")).unwrap()
    }

    /// The sum of a metric over all series whose name and labels contain this text.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        sum(&self.scrape(), series)
    }

    /// The same, as of the moment of SIGTERM.
    pub(crate) fn last_metric(&self, series: &str) -> f64 {
        sum(&self.metrics, series)
    }

    /// Waits until a metric has come so far.
    pub(crate) fn await_metric(&self, series: &str, at_least: f64) {
        self.await_that(series, |value| value >= at_least);
    }

    /// Waits until a series has a value that is good.
    pub(crate) fn await_that(&self, series: &str, is_good: impl Fn(f64) -> bool) {
        self.await_good(series, || {
            let value = self.metric(series);
            (is_good(value), value.to_string())
        });
    }

    #[expect(clippy::disallowed_methods, reason = "asking again is all there is to wait for")]
    fn await_good(&self, what: &str, ask: impl Fn() -> (bool, String)) {
        let step = Duration::from_millis(200);
        let mut last = String::new();
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            let (is_good, found) = ask();
            if is_good {
                return;
            }
            last = found;
            std::thread::sleep(step);
        }
        panic!("{what} stays {last}:\n{}", self.said());
    }

    fn scrape(&self) -> String {
        self.get("/metrics")
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address)
            .unwrap_or_else(|error| panic!("{error}: the run has ended:\n{}", self.said()));
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Sums the samples of a text exposition.
fn sum(exposition: &str, series: &str) -> f64 {
    exposition
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(series))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// How a payload carries its stamp.
#[derive(Clone, Copy)]
pub(crate) enum Payload {
    /// A JSON object with `traceparent`, `publisher` and `sequence`.
    Json,
    /// A binary traceparent at the head.
    Binary,
}

/// What the trace id, and where it shows the publisher and sequence, of a record are.
pub(crate) fn stamp(payload: Payload, value: &[u8]) -> (String, Option<(u64, u64)>) {
    match payload {
        Payload::Json => {
            let object: Value = serde_json::from_slice(value).unwrap();
            let traceparent = object["traceparent"].as_str().unwrap();
            let number = |key: &str| object[key].as_u64().unwrap();
            (traceparent[3..35].to_owned(), Some((number("publisher"), number("sequence"))))
        }
        Payload::Binary => {
            // Version 0, field 0: 16 bytes of trace id.
            assert_eq!(value[..2], [0, 0]);
            let id = u128::from_be_bytes(value[2..18].try_into().unwrap());
            (format!("{id:032x}"), None)
        }
    }
}

/// What a run said of its slots, once it has been found consistent.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Slots of each lane.
    pub(crate) slots: u64,
    /// Slots that are delivered or late, by lane.
    pub(crate) came_out: BTreeMap<String, u64>,
    /// Trace ids of the slots by lane and outcome.
    pub(crate) outcomes: BTreeMap<(String, String), BTreeSet<String>>,
    /// Trace ids of the records in Kafka.
    pub(crate) found: BTreeSet<String>,
    /// Messages that were published, as the report has it.
    pub(crate) published: u64,
    /// Messages that were acknowledged, as the report has it.
    pub(crate) acknowledged: u64,
    /// Records in Kafka.
    pub(crate) records: u64,
    /// The report's duplicates on `mqtt_kafka`.
    pub(crate) duplicates: u64,
    /// The report's late recoveries.
    pub(crate) late_recoveries: u64,
    /// Whether the report's verdict is `passed`.
    pub(crate) passed: bool,
}

impl Audit {
    /// Slots of a lane with an outcome.
    pub(crate) fn count(&self, lane: &str, outcome: &str) -> u64 {
        self.of(lane, outcome).len() as u64
    }

    /// Their trace ids.
    pub(crate) fn of(&self, lane: &str, outcome: &str) -> BTreeSet<String> {
        self.outcomes.get(&(lane.to_owned(), outcome.to_owned())).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} slots, {} records, {} duplicates, {} late recoveries;",
            self.slots, self.records, self.duplicates, self.late_recoveries
        )?;
        self.outcomes.iter().try_for_each(|((lane, outcome), slots)| {
            write!(formatter, " {lane} {outcome} {};", slots.len())
        })
    }
}

/// A line of the file of slots.
struct Slot {
    qos: u64,
    trace_id: String,
    outcome: String,
}

/// The lane whose messages are no MQTT publisher's.
const CONTROL: &str = "kafka_kafka";

/// Slots by lane, publisher and sequence; each once.
type Slots = BTreeMap<(String, u64, u64), Slot>;

fn read_slots(text: &str) -> Slots {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    assert_eq!(
        header[..7],
        ["path", "lane", "qos", "publisher", "sequence", "trace_id", "outcome"]
    );
    let mut slots = Slots::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, lane, qos, publisher, sequence, trace_id, outcome, ..] = fields[..] else {
            panic!("no line of slots: {line}")
        };
        let key = (lane.to_owned(), publisher.parse().unwrap(), sequence.parse().unwrap());
        let (trace_id, outcome) = (trace_id.to_owned(), outcome.to_owned());
        let slot = Slot { qos: qos.parse().unwrap(), trace_id, outcome };
        assert!(slots.insert(key, slot).is_none(), "a second outcome: {line}");
    }
    slots
}

/// Holds the file of slots, the report and the records of Kafka against each other.
pub(crate) fn audit(run: &Run, records: &[Record], payload: Payload) -> Audit {
    let mut slots = read_slots(&run.slots());
    let report = run.report();
    let over_mqtt = slots.extract_if(.., |(lane, ..), _| lane != CONTROL).collect();
    let control = std::mem::replace(&mut slots, over_mqtt);
    let named = every_slot_once(&slots);
    report_agrees(&report, [&slots, &control], named.len() as u64);

    let mut copies = BTreeMap::<String, u64>::new();
    for record in records {
        let (trace_id, shown) = stamp(payload, record.value.as_deref().unwrap());
        let slot = named.get(&trace_id);
        let slot = slot.unwrap_or_else(|| panic!("{record:?} belongs to no slot"));
        assert!(shown.is_none_or(|shown| shown == *slot), "{record:?} is slot {slot:?}");
        for (name, header) in &record.headers {
            if name == "traceparent" {
                assert_eq!(header[3..35], *trace_id.as_bytes(), "{record:?}");
            }
        }
        *copies.entry(trace_id).or_default() += 1;
    }
    let said = |lane: &str| -> BTreeSet<&str> {
        let arrived = slots.iter().filter(|((of, ..), slot)| of == lane && came_out(slot));
        arrived.map(|(_, slot)| slot.trace_id.as_str()).collect()
    };
    let (said_kafka, found) = (said("mqtt_kafka"), copies.keys().map(String::as_str).collect());
    let describe = |trace_id: &&str| {
        let (publisher, sequence) = named[*trace_id];
        let slot = &slots[&("mqtt_kafka".to_owned(), publisher, sequence)];
        format!("publisher {publisher} sequence {sequence}: {}", slot.outcome)
    };
    let unread: Vec<_> = BTreeSet::difference(&found, &said_kafka).map(describe).collect();
    let invented: Vec<_> = said_kafka.difference(&found).map(describe).collect();
    assert!(
        unread.is_empty() && invented.is_empty(),
        "in Kafka and not in the books ({}): {unread:?}\nin the books and not in Kafka ({}): \
         {invented:?}\n{}",
        unread.len(),
        invented.len(),
        run.said()
    );

    let duplicates = anomaly(&report, "mqtt_kafka", "duplicate");
    let extra: u64 = copies.values().map(|count| count - 1).sum();
    assert_eq!(extra, duplicates, "copies in Kafka, and in the report\n{}", run.said());
    let mut outcomes = BTreeMap::new();
    for ((lane, ..), slot) in &slots {
        let of = outcomes.entry((lane.clone(), slot.outcome.clone()));
        of.or_insert_with(BTreeSet::new).insert(slot.trace_id.clone());
    }
    let lanes = ["mqtt_kafka", "mqtt_mqtt"];
    Audit {
        slots: named.len() as u64,
        came_out: lanes.map(|lane| (lane.to_owned(), said(lane).len() as u64)).into(),
        outcomes,
        records: records.len() as u64,
        published: report["paths"][0]["published"].as_u64().unwrap(),
        acknowledged: report["paths"][0]["acknowledged"].as_u64().unwrap(),
        found: copies.into_keys().collect(),
        duplicates,
        late_recoveries: lanes.iter().map(|lane| anomaly(&report, lane, "late_recovery")).sum(),
        passed: report["verdict"]["result"] == "passed",
    }
}

fn came_out(slot: &Slot) -> bool {
    matches!(slot.outcome.as_str(), "delivered" | "late")
}

/// Every slot of every publisher has one outcome on each lane, and a trace id of its own: the slots
/// by it.
fn every_slot_once(slots: &Slots) -> BTreeMap<String, (u64, u64)> {
    let mut named = BTreeMap::new();
    let mut next = BTreeMap::<(&str, u64), u64>::new();
    for ((lane, publisher, sequence), slot) in slots {
        let next = next.entry((lane, *publisher)).or_default();
        assert_eq!(next, sequence, "a gap of {lane}, publisher {publisher}");
        *next += 1;
        let named = named.entry(slot.trace_id.clone()).or_insert((*publisher, *sequence));
        assert_eq!(*named, (*publisher, *sequence), "two slots share {}", slot.trace_id);
    }
    let ends = |lane: &str| -> Vec<(u64, u64)> {
        next.iter().filter(|((of, _), _)| *of == lane).map(|((_, id), end)| (*id, *end)).collect()
    };
    for lane in next.keys().map(|(lane, _)| *lane).collect::<BTreeSet<_>>() {
        assert_eq!(ends("mqtt_kafka"), ends(lane));
    }
    named
}

/// The control messages of a run: the outcome of each by its trace id.
pub(crate) fn control_slots(run: &Run) -> BTreeMap<String, String> {
    let slots = read_slots(&std::fs::read_to_string(run.file("slots.tsv")).unwrap());
    let control = slots.into_iter().filter(|((lane, ..), _)| lane == CONTROL);
    control.map(|(_, slot)| (slot.trace_id, slot.outcome)).collect()
}

/// The report counts what the file of slots lists.
fn report_agrees(report: &Value, slots: [&Slots; 2], total: u64) {
    let path = &report["paths"][0];
    assert_eq!(path["offered"], total);
    assert_eq!(path["foreign"], 0);
    assert_eq!(path["overflow"], 0);
    for lane in path["lanes"].as_array().unwrap() {
        let of_lane = || {
            slots
                .into_iter()
                .flatten()
                .filter(|((of, ..), slot)| lane["lane"] == of.as_str() && lane["qos"] == slot.qos)
        };
        assert_eq!(lane["slots"], of_lane().count());
        assert_eq!(lane["anomalies"]["corrupt"], 0);
        for (outcome, count) in lane["outcomes"].as_object().unwrap() {
            let listed = of_lane().filter(|(_, slot)| slot.outcome == *outcome).count();
            assert_eq!(*count, listed, "{} of {} QoS {}", outcome, lane["lane"], lane["qos"]);
        }
    }
}

/// The sum of an anomaly over a lane.
fn anomaly(report: &Value, lane: &str, name: &str) -> u64 {
    let lanes = report["paths"][0]["lanes"].as_array().unwrap();
    let of_lane = lanes.iter().filter(|of| of["lane"] == lane);
    of_lane.map(|of| of["anomalies"][name].as_u64().unwrap()).sum()
}

//! A Kafka that stands still for five seconds, and what becomes of it in the figures: every message that
//! waited is in them at its true age. Kafka's own EndToEndLatency measures the same stall beside it. It
//! sends a message when the last one has come back, so that it waits together with the system and sees
//! the stall once; that is the difference between an open and a closed loop.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use crossing::{Bridge, Run};
use landfall::clock::{Clock, Instant};
use systems::{Kafka, Mosquitto, kcat_consume};

const NAME: &str = "stall";
const STALL: Duration = Duration::from_secs(5);
const RATE: f64 = 100.0;
const SECOND: i64 = 1_000_000_000;
/// What EndToEndLatency sends, so many of them before the stall. It takes some milliseconds for each.
const TOOL_MESSAGES: u32 = 2_000;
const TOOL_BEFORE: &str = "1000\t";

fn configuration(mqtt: &str, kafka: &str) -> String {
    format!(
        "probe: stall
paths:
  - name: {NAME}
    mqtt:
      url: 'mqtt://{mqtt}'
      topic: 'landfall/{NAME}/{{client}}'
      qos: 1
      clients: 2
      rate: {RATE}/s
      schedule: fixed
    kafka: {{ brokers: '{kafka}', topics: [{NAME}] }}
    deadline: 30s
telemetry: {{ listen: '127.0.0.1:0' }}
"
    )
}

/// The tool at work, ended for good when it is dropped.
struct Tool {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Tool {
    fn start(kafka: &Kafka, topic: &str) -> Self {
        let mut command = kafka.latency_tool(topic, TOOL_MESSAGES);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for the line that begins so.
    fn await_line(&mut self, beginning: &str) {
        let mut said = String::new();
        while self.lines.read_line(&mut said).unwrap() > 0 {
            if said.lines().next_back().unwrap().starts_with(beginning) {
                return;
            }
        }
        panic!("EndToEndLatency ended early: {said}");
    }

    /// What it says at its end: 50th, 99th and 99.9th percentile, in milliseconds.
    fn percentiles(mut self) -> Vec<u64> {
        let mut said = String::new();
        self.lines.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        let line = said.lines().find(|line| line.starts_with("Percentiles:"));
        let line = line.unwrap_or_else(|| panic!("no percentiles: {said}"));
        let figures = line.split(" = ").skip(1);
        figures.map(|rest| rest.split(',').next().unwrap().trim().parse().unwrap()).collect()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Fails where it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message that came out: when it was due, and how long it took.
struct Sample {
    intended: Instant,
    latency: i64,
}

/// The messages of a file of slots, all of which came out.
fn samples(slots: &str) -> Vec<Sample> {
    let mut lines = slots.lines();
    let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| header.iter().position(|of| *of == name).unwrap();
    let columns = ["outcome", "intended_ns", "latency_ns"].map(column);
    let sample = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [outcome, intended, latency] = columns.map(|column| fields[column]);
        assert_eq!(outcome, "delivered", "{line}");
        let intended = Instant::from_nanos(intended.parse().unwrap());
        Sample { intended, latency: latency.parse().unwrap() }
    };
    lines.map(sample).collect()
}

/// How long each of the tool's messages took but the last, in milliseconds: it makes one when it has the
/// one before back.
fn tool_latencies(kafka: &Kafka, topic: &str) -> Vec<i64> {
    let mut records = kcat_consume(&kafka.address, topic);
    records.sort_by_key(|record| record.offset);
    let made: Vec<i64> = records.iter().map(|record| record.timestamp_millis).collect();
    made.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_stall_is_in_the_figures_with_every_message_that_waited() {
    let clock = Clock::system();
    // What was stopped is not to be taken for dead when it goes on.
    let (kafka, mosquitto) =
        (Kafka::start(&["broker.session.timeout.ms=60000"]), Mosquitto::start(&[]));
    let tool_topic = format!("{NAME}-tool");
    kafka.topic(NAME, 3, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.topic(&tool_topic, 1, &[("message.timestamp.type", "CreateTime")]);
    let bridge = Bridge::start(NAME, &mosquitto.address, &kafka.address);
    let mut run = Run::start(&configuration(&mosquitto.address, &kafka.address), &[]);
    let consumed = "landfall_consumed_records_total";
    run.await_metric(consumed, 200.0);
    let mut tool = Tool::start(&kafka, &tool_topic);
    tool.await_line(TOOL_BEFORE);
    kafka.pause();
    let paused = clock.now();
    clock.sleep_until(paused + STALL);
    let resumed = clock.now();
    kafka.resume();
    let percentiles = tool.percentiles();
    let arrived = run.metric(consumed);
    run.await_metric(consumed, arrived + 300.0);
    run.terminate();
    assert_eq!(run.ended(), 0, "{}", run.said());
    bridge.stop();

    let samples = samples(&run.slots());
    let above = all_waited(&samples, paused..resumed);
    let report = run.report();
    let latency = &report["paths"][0]["lanes"][0]["latency_seconds"];
    assert_eq!(latency["count"], samples.len());
    let figure = |name: &str| latency[name].as_f64().unwrap();
    assert!(figure("max") > 4.9 && figure("p99") > 1.0, "{latency}");

    let of_tool = tool_latencies(&kafka, &tool_topic);
    let tool_above = of_tool.iter().filter(|&&millis| millis > 1_000).count();
    let longest = of_tool.iter().max().unwrap();
    println!(
        "| a stall of {STALL:?} | samples | above 1 s | p50 | p99 | p99.9 | longest |\n\
         |---|---|---|---|---|---|---|\n\
         | landfall, {RATE} messages/s | {} | {above} | {:.1} ms | {:.0} ms | {:.0} ms | {:.0} ms |\n\
         | EndToEndLatency | {TOOL_MESSAGES} | {tool_above} | {} ms | {} ms | {} ms | {longest} ms |",
        samples.len(),
        figure("p50") * 1e3,
        figure("p99") * 1e3,
        figure("p999") * 1e3,
        figure("max") * 1e3,
        percentiles[0],
        percentiles[1],
        percentiles[2],
    );
    // It was held up by the same stall, once. A busy machine may hold it up for a second, but not for two.
    let held_up = of_tool.iter().filter(|&&millis| millis > 2_500).count();
    assert!(held_up == 1 && *longest >= 4_900, "{held_up} times, {longest} ms at most");
    assert!(percentiles[2] < 2_500, "{percentiles:?}");
}

/// Every message that was due in the stall is there, and took at least until its end: how many took more
/// than a second.
fn all_waited(samples: &[Sample], stall: Range<Instant>) -> usize {
    let waited: Vec<&Sample> = samples.iter().filter(|of| stall.contains(&of.intended)).collect();
    let due = RATE * stall.end.saturating_since(stall.start).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let missing = due - waited.len() as f64;
    assert!(missing.abs() <= 4.0, "{due} slots were due, {} are there", waited.len());
    for sample in &waited {
        let age = stall.end.nanos_since(sample.intended);
        assert!(sample.latency >= age, "{} ns, and it waited {age} ns", sample.latency);
    }
    let old = waited.iter().filter(|of| stall.end.nanos_since(of.intended) > SECOND).count();
    let above = samples.iter().filter(|sample| sample.latency > SECOND).count();
    assert!(above >= old && old >= 390, "{above} above a second, {old} waited that long");
    above
}

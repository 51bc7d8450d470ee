//! Every panel, annotation and variable of the dashboards against a real Prometheus that scraped a real
//! run with faults: whoever opens them sees figures, or reads why there are none.
//!
//! Grafana itself comes from no registry, so what is asked here is what it would ask, with its variables
//! filled in as it does. `LANDFALL_TEST_VERBOSE` prints every answer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "functions of tests are tests")]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "dashboards/board.rs"]
mod board;
#[path = "panels/plant.rs"]
mod plant;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/landfall.rs"]
mod running;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/systems.rs"]
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use board::{Board, text};
use landfall::clock::Clock;
use plant::{CONTROL, FAULTY, HEALTHY, Plant};
use running::{Running, wait_until};
use serde_json::Value;
use systems::observers::{self, Prometheus};
use tempfile::TempDir;

/// How far apart Prometheus scrapes here, in seconds.
const SCRAPE: f64 = 1.0;
/// What Grafana makes of that for `$__rate_interval`: four scrapes, where points are a scrape apart.
const RATE_INTERVAL: f64 = 4.0 * SCRAPE;
/// Longer than the deadline of the paths, and than it takes to be sure of a loss.
const STALL: Duration = Duration::from_secs(6);

/// What an answer that is not simply figures may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    /// There must be none.
    Nothing,
    /// All of them must be 0.
    Zero,
    /// It is the machine that decides.
    Whatever,
}
use Instead::{Nothing, Whatever, Zero};

/// Dashboard, title and letter of a query that is not answered with figures, with the reason.
const EXPLAINED: [(&str, &str, &str, Instead, &str); 6] = [
    ("overview", "How long does a message take to become a Kafka record?", "C", Nothing, P999),
    ("overview", "How do the quantiles of the crossing move?", "D", Nothing, P999),
    (
        "legs",
        "How long until the record has its timestamp?",
        "B",
        Nothing,
        "Kafka stamps the records",
    ),
    ("host", "What do tasks wait for?", "A", Whatever, "not every kernel tells its pressure"),
    ("probe", "Are there latencies that can't be?", "A", Zero, "no clock goes backwards"),
    (
        "probe",
        "Which messages were sent late, and for whom did they wait?",
        "A",
        Whatever,
        "none, where the machine has time",
    ),
];
const P999: &str = "a p99.9 needs 10,000 messages of each QoS";

/// The answer to one query.
#[derive(Clone, Debug)]
struct Answer {
    /// Labels and values of each series.
    series: BTreeMap<String, Vec<f64>>,
}

impl Answer {
    /// Of a vector or a matrix.
    fn of(json: &Value) -> Self {
        let result = json["data"]["result"].as_array().unwrap();
        let series = result.iter().map(|one| {
            let points = one["values"].as_array().cloned();
            let points = points.unwrap_or_else(|| vec![one["value"].clone()]);
            let values = points.iter().map(|point| point[1].as_str().unwrap().parse().unwrap());
            (one["metric"].to_string(), values.collect())
        });
        Self { series: series.collect() }
    }

    fn figures(&self) -> impl Iterator<Item = f64> {
        self.series.values().flatten().copied()
    }

    /// Whether it is the same as another one, but for the order in which something was added up.
    fn agrees_with(&self, other: &Self) -> bool {
        let close = |(one, other): (&f64, &f64)| {
            one.to_bits() == other.to_bits() || (one - other).abs() <= 1e-9 * one.abs().max(1.0)
        };
        let alike = |(one, other): ((_, &Vec<f64>), (_, &Vec<f64>))| {
            one.1.len() == other.1.len() && one.1.iter().zip(other.1).all(close)
        };
        self.series.keys().eq(other.series.keys())
            && self.series.iter().zip(&other.series).all(alike)
    }

    /// Whether it is what it should be. What is no number is never: Grafana would show it as one.
    fn is(&self, instead: Option<Instead>) -> bool {
        if !self.figures().all(f64::is_finite) {
            return false;
        }
        let (some, other) = (self.figures().next().is_some(), self.figures().any(|one| one != 0.0));
        match instead {
            None => other,
            Some(Nothing) => !some,
            Some(Zero) => some && !other,
            Some(Whatever) => true,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.series.values().filter_map(|values| values.last());
        let last: Vec<_> = last.take(4).map(|value| format!("{value:.6}")).collect();
        write!(formatter, "{:3} series, {}", self.series.len(), last.join(", "))
    }
}

/// Grafana, as far as Prometheus can tell.
struct Grafana<'a> {
    prometheus: &'a Prometheus,
    /// When the run began and ended, in seconds since 1970.
    from: f64,
    to: f64,
    values: BTreeMap<String, String>,
}

impl<'a> Grafana<'a> {
    /// Shows everything from `from` until now, with All chosen everywhere.
    fn open(prometheus: &'a Prometheus, from: f64) -> Self {
        let to = now(prometheus);
        let chosen = ["job", "instance", "path", "qos", "lane"];
        let mut values: BTreeMap<_, _> =
            chosen.map(|name| (name.to_owned(), ".+".to_owned())).into();
        let seconds = |value: f64| format!("{value:.0}s");
        values.insert("objective".to_owned(), "0.25".to_owned());
        values.insert("__rate_interval".to_owned(), seconds(RATE_INTERVAL));
        values.insert("__range".to_owned(), seconds(to - from));
        values.insert("__range_s".to_owned(), format!("{:.0}", to - from));
        Self { prometheus, from, to, values }
    }

    fn ask(&self, query: &Query<'_>) -> Answer {
        let (from, to) = (self.from, self.to);
        let (path, times) = if query.instant {
            ("query", format!("time={to}"))
        } else {
            ("query_range", format!("start={from}&end={to}&step={SCRAPE}"))
        };
        let text = encoded(&board::fill(query.text, &self.values));
        let path = format!("/api/v1/{path}?query={text}&{times}");
        Answer::of(&get(self.prometheus, &path))
    }

    /// The values that a variable offers.
    fn offers(&self, variable: &Value) -> Vec<String> {
        let (selector, label) = board::label_values(variable).unwrap();
        let selector = encoded(&board::fill(selector, &self.values));
        let path = format!("/api/v1/label/{label}/values?match[]={selector}");
        let json = get(self.prometheus, &path);
        let values = json["data"].as_array().unwrap().iter();
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// Chooses these values of a variable one by one, instead of All.
    fn choose(&mut self, variable: &str, values: &[String]) {
        // What is escaped for the regular expression is escaped once more for the string around it.
        let escaped: Vec<_> =
            values.iter().map(|value| regex::escape(value).replace('\\', "\\\\")).collect();
        self.values.insert(variable.to_owned(), format!("({})", escaped.join("|")));
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

fn get(prometheus: &Prometheus, path: &str) -> Value {
    serde_json::from_str(&observers::get(&prometheus.address, path)).unwrap()
}

/// What Prometheus takes for the time, in seconds since 1970.
fn now(prometheus: &Prometheus) -> f64 {
    prometheus.query("vector(time())")[0].1
}

fn configuration(plant: &Plant) -> String {
    format!(
        "probe: panels
paths:
  - name: {HEALTHY}
    mqtt: {{ url: 'mqtt://{mqtt}', topic: '{HEALTHY}/{{client}}', qos: [0, 1, 2], clients: 3, rate: 240/s,
      subscribers: {{ count: 3 }}, background: {{ idle: 2, persistent: 2, every: 1s }} }}
    kafka: {{ brokers: '{kafka}', topics: [{HEALTHY}], control_topic: {CONTROL} }}
    lanes: [mqtt_kafka, mqtt_mqtt, kafka_kafka]
    deadline: 2s
    slo: {{ p99: 250ms, acked_lost: 0, availability: 99% }}
  - name: {FAULTY}
    mqtt: {{ url: 'mqtt://{mqtt}', topic: '{FAULTY}/{{client}}', qos: [0, 1, 2], clients: 3, rate: 90/s }}
    kafka: {{ brokers: '{kafka}', topics: [{FAULTY}] }}
    deadline: 2s
    slo: {{ p99: 250ms, acked_lost: 0, duplicates: 0, availability: 99% }}
window: 2s
host: {{ interval: 1s, processes: [prometheus] }}
telemetry:
  listen: 127.0.0.1:0
  # Where nobody listens.
  otlp: {{ endpoint: 'http://127.0.0.1:9', interval: 1s }}
",
        mqtt = plant.mqtt,
        kafka = plant.kafka,
    )
}

/// What has to have happened before anybody looks, each of it greater than 0.
const HAPPENED: [&str; 13] = [
    "count(landfall_latency_quantile_seconds{quantile=\"0.99\",path=\"healthy\"}) > 8",
    "landfall_late_recoveries_total{outcome=\"acked_lost\"}",
    "landfall_slots_total{outcome=\"acked_lost\"} - landfall_late_recoveries_total",
    "landfall_slots_total{outcome=\"unacked_lost\"}",
    "landfall_reconnects_total{component=\"mqtt\"}",
    "landfall_invalid_windows_total{cause=\"reconnecting\"}",
    "landfall_duplicates_total{cause=\"pipeline\"}",
    "landfall_duplicates_total{cause=\"reread\"}",
    "landfall_reordered_total",
    "landfall_corrupt_total",
    "landfall_export_failures_total",
    "landfall_dropped_total{component=\"otlp\"}",
    "abs(landfall_clock_offset_seconds)",
];

/// A process that is killed and another one in its place, whose connections are cut, and whose messages
/// are held back beyond their deadline; `look` then looks while it runs.
fn with_a_run(look: impl FnOnce(&Prometheus, f64)) {
    let (clock, plant) = (Clock::system(), Plant::start());
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("landfall.yaml");
    std::fs::write(&file, configuration(&plant)).unwrap();
    let start = |listen: SocketAddr| {
        let (file, listen) = (file.display().to_string(), listen.to_string());
        Running::start(&["run", "-c", &file, "--listen", &listen])
    };
    let first = start(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = first.http;
    let prometheus = Prometheus::start(&[&format!("{address}=landfall")]);
    let from = now(&prometheus);
    let sees = |condition: &str| {
        wait_until(condition, || match prometheus.query(&format!("({condition}) > 0")).len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
    };
    sees("landfall_published_messages_total > 100");
    drop(first);
    let second = start(address);
    second.wait_until_ready();
    sees(HAPPENED[0]);
    plant.sever();
    clock.sleep_until(clock.now() + Duration::from_millis(300));
    plant.mend();
    second.wait_until_ready();
    plant.stall(clock, STALL);
    for condition in HAPPENED {
        sees(condition);
    }
    // Until what happened last is in a rate.
    clock.sleep_until(clock.now() + Duration::from_secs_f64(RATE_INTERVAL));
    look(&prometheus, from);
}

/// A query of a panel, or of an annotation, whose letter is `@`.
struct Query<'a> {
    board: &'a str,
    title: &'a str,
    letter: &'a str,
    text: &'a str,
    /// Answered for one moment.
    instant: bool,
}

fn queries(boards: &[Board]) -> Vec<Query<'_>> {
    let mut queries = Vec::new();
    for board in boards {
        queries.extend(board.targets().map(|(panel, target)| Query {
            board: &board.name,
            title: text(panel, "title"),
            letter: text(target, "refId"),
            text: text(target, "expr"),
            instant: target["instant"] == true,
        }));
        queries.extend(board.annotations().map(|annotation| Query {
            board: &board.name,
            title: text(annotation, "name"),
            letter: "@",
            text: text(annotation, "expr"),
            instant: false,
        }));
    }
    queries
}

#[test]
fn every_panel_answers_a_real_run() {
    let boards = Board::all();
    with_a_run(|prometheus, from| {
        let verbose = std::env::var_os("LANDFALL_TEST_VERBOSE").is_some();
        let all = Grafana::open(prometheus, from);
        // Each value by itself is to be the same as all of them.
        let mut chosen = Grafana { values: all.values.clone(), ..all };
        for variable in boards.iter().flat_map(Board::variables) {
            if variable["type"] == "query" {
                let offers = all.offers(variable);
                assert!(!offers.is_empty(), "{variable} offers nothing");
                chosen.choose(text(variable, "name"), &offers);
            }
        }
        let (mut wrong, mut asked) = (Vec::new(), BTreeSet::new());
        for query in queries(&boards) {
            let Query { board, title, letter, .. } = query;
            let answer = all.ask(&query);
            let explained =
                EXPLAINED.iter().find(|it| (it.0, it.1, it.2) == (board, title, letter));
            if verbose {
                println!("{board:9} {title:62} {letter} {answer}");
            }
            asked.insert((board, title, letter));
            if !answer.is(explained.map(|it| it.3)) {
                wrong.push(format!("{board}: {title} {letter}: {answer}; {explained:?}"));
            }
            let same = chosen.ask(&query);
            if !same.agrees_with(&answer) {
                wrong.push(format!("{board}: {title} {letter}: {answer}, but by choice {same}"));
            }
        }
        let stale: Vec<_> =
            EXPLAINED.iter().filter(|it| !asked.contains(&(it.0, it.1, it.2))).collect();
        assert!(stale.is_empty(), "nobody asks: {stale:?}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

//! The status page in a real Chromium, beside a landfall that measures the embedded systems.
//!
//! `LANDFALL_TEST_SCREENSHOTS` names a directory for pictures of what is tested.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/embedded.rs"]
mod embedded;
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/landfall.rs"]
mod running;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use landfall::clock::{Clock, WallTime};
use landfall::correlate::{Carrier, Lane, Path, Qos, Roster};
use landfall::embedded::kafka::{Topic, Verdict as Batch};
use landfall::report::{
    Bounds, ComponentNow, Environment, Inputs, Live, Load, PathNow, Process, ProcessNow, Product,
    Report, Status, Window, WorstMessage, WorstMessages,
};
use landfall::shutdown::Tasks;
use landfall::stats::Stats;
use landfall::study::{Unmeasured, Verdict};
use landfall::telemetry::{Build, Edition, Health, HttpServer, Pages, Telemetry, press};
use serde_json::Value;
use tempfile::TempDir;

use browser::Browser;
use embedded::Systems;
use running::Running;

/// The figures of the page by where the status has them, and the status of that very moment.
const FIGURES_AND_STATUS: &str = "(async () => {
    for (let attempt = 0; attempt < 40; attempt += 1) {
        const status = await (await fetch('/api/v1/status')).json();
        const shown = [...document.querySelectorAll('data[data-at]')];
        const edition = shown.find((it) => it.dataset.at === '/live/edition');
        if (edition && Number(edition.value) === status.live.edition) {
            return { status, shown: shown.map((it) => [it.dataset.at, it.value, it.textContent]) };
        }
        await new Promise((resolve) => setTimeout(resolve, 230));
    }
    return null;
})()";

/// Cells of tables of figures with a digit that is in no `data` element, and such tables without any.
const BARE: &str = "(() => {
    const bare = [];
    for (const table of document.querySelectorAll('main table.figures')) {
        if (!table.querySelector('data[data-at]')) bare.push(table.caption.textContent);
        for (const cell of table.querySelectorAll('td')) {
            const rest = cell.cloneNode(true);
            rest.querySelectorAll('data[data-at]').forEach((it) => it.remove());
            if (/[0-9]/.test(rest.textContent)) bare.push(cell.textContent);
        }
    }
    return bare;
})()";

/// Where the status has the losses that the page tells first.
const LOST: &str = "document.querySelector('#acked-lost data')?.dataset.at ?? null";

/// What can be reached with the keyboard.
const CONTROLS: &str = "[...document.querySelectorAll('a[href], button, summary')]
    .filter((it) => it.checkVisibility())";

/// Faults that are switched on and off: every so many batches one is lost, doubled or held.
fn break_some(systems: &Systems, broken: &Arc<AtomicBool>) {
    let (broken, batches) = (Arc::clone(broken), AtomicU64::new(0));
    systems.hooks.judge_batches(move |_| {
        if !broken.load(Ordering::Relaxed) {
            return Batch::KEEP;
        }
        match batches.fetch_add(1, Ordering::Relaxed) % 8 {
            1 => Batch::DROP,
            3 => Batch::DOUBLE,
            5 => Batch::hold(Duration::from_millis(900)),
            _ => Batch::KEEP,
        }
    });
}

fn start(systems: &Systems, scratch: &TempDir) -> Running {
    let config = format!(
        "probe: page
paths:
  - name: crossing
    mqtt: {{ url: 'mqtt://{mqtt}', topic: 'landfall/page/{{client}}', qos: [1], rate: 60/s }}
    kafka: {{ brokers: '{kafka}', topics: [page], properties: {{ fetch.wait.max.ms: 100 }} }}
    lanes: [mqtt_kafka, mqtt_mqtt]
    deadline: 800ms
    slo: {{ p99: 250ms }}
window: 1s
host: {{ interval: 1s }}
telemetry: {{ listen: '127.0.0.1:0', linger: 20s }}
",
        mqtt = systems.mqtt,
        kafka = systems.kafka
    );
    let file = scratch.path().join("landfall.yaml");
    fs::write(&file, config).unwrap();
    let (report, slots) = (scratch.path().join("report"), scratch.path().join("slots"));
    Running::start(&[
        "run",
        "-c",
        file.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
        "--slots",
        slots.to_str().unwrap(),
    ])
}

/// Holds each figure on the page against the status of the same moment; how many there are.
fn compare(browser: &mut Browser) -> usize {
    let both = browser.evaluate(FIGURES_AND_STATUS);
    let shown = both["shown"].as_array().unwrap_or_else(|| panic!("never of one moment: {both}"));
    for figure in shown {
        let (at, value) = (figure[0].as_str().unwrap(), figure[1].as_str().unwrap());
        let truth = match at.split_once(" of ") {
            Some((part, of)) => sum(&both["status"], part) / sum(&both["status"], of),
            None => sum(&both["status"], at),
        };
        let value: f64 = value.parse().unwrap();
        assert!((value - truth).abs() <= truth.abs() * 1e-12, "{at}: {value}, and not {truth}");
        // An edition is told by the time of day that it was made at.
        if at != "/live/edition" {
            reads(at, figure[2].as_str().unwrap(), truth);
        }
    }
    let bare = browser.evaluate(BARE);
    assert_eq!(bare, serde_json::json!([]), "figures that are in no data element");
    shown.len()
}

/// The sum of what the status has at these places.
fn sum(status: &Value, places: &str) -> f64 {
    let figure = |at: &str| {
        let figure = status.pointer(at).unwrap_or_else(|| panic!("{at} is not in the status"));
        figure.as_f64().unwrap_or_else(|| panic!("{at} is {figure}"))
    };
    places.split_whitespace().map(figure).sum()
}

/// A count must be told exactly, anything else to three digits.
fn reads(at: &str, text: &str, truth: f64) {
    let (digits, unit) = text.split_once(['\u{a0}', ' ']).unwrap_or((text, ""));
    let told: f64 = digits.replace(',', "").parse().unwrap_or_else(|_| panic!("{at}: {text}"));
    let scale = match unit {
        "" | "s" | "B" => 1.0,
        "%" => 0.01,
        "ns" => 1e-9,
        "µs" => 1e-6,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3_600.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => panic!("{at}: {text} has no unit of ours"),
    };
    let off = match unit {
        "" => 0.0,
        "ns" | "B" => 0.501 * scale,
        _ => (truth.abs() * 0.005_01).max(0.005_01 * scale),
    };
    assert!((told * scale - truth).abs() <= off, "{at}: {text} is shown, and it is {truth}");
}

/// Goes through the page with the keyboard alone.
fn walk(browser: &mut Browser) {
    browser.evaluate("document.body.focus()");
    let all = browser.evaluate(&format!("({CONTROLS}).length")).as_u64().unwrap();
    assert!(all > 8, "{all} controls");
    let mut reached = BTreeSet::new();
    for _ in 0..2 * all {
        browser.press("Tab");
        let focused = browser.evaluate(&format!(
            "(() => {{
                const style = getComputedStyle(document.activeElement);
                const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
                return [({CONTROLS}).indexOf(document.activeElement), seen];
            }})()"
        ));
        if let Some(index) = focused[0].as_u64() {
            assert_eq!(focused[1], true, "control {index} does not show that it has the focus");
            reached.insert(index);
        }
    }
    let missed: Vec<_> = (0..all).filter(|index| !reached.contains(index)).collect();
    assert!(missed.len() <= 1, "not reached: {missed:?} of {all}");
    // A key opens what is closed, and it stays open while the figures change.
    browser.evaluate("document.querySelector('figure summary').focus()");
    browser.press("Enter");
    browser.await_that("document.querySelector('figure details').open");
    next_edition(browser);
    assert_eq!(browser.evaluate("document.querySelector('figure details').open"), true);
    assert_eq!(browser.evaluate("document.activeElement.tagName"), "SUMMARY", "the focus stays");
}

const EDITION: &str = "Number(document.querySelector('[data-at=\"/live/edition\"]').value)";

/// Waits until the page shows newer figures.
fn next_edition(browser: &mut Browser) {
    let shown = browser.evaluate(EDITION);
    browser.await_that(&format!("{EDITION} > {shown}"));
}

/// What any reader may expect of the document.
fn is_sound(browser: &mut Browser) {
    for (what, expression) in [
        ("one heading above all", "document.querySelectorAll('h1').length === 1"),
        (
            "landmarks",
            "['header', 'nav', 'main', 'footer'].every((it) => document.querySelector(it))",
        ),
        (
            "captions",
            "[...document.querySelectorAll('table')].every((it) => it.caption?.textContent.trim())",
        ),
        (
            "headings of rows and columns",
            "[...document.querySelectorAll('th')].every((it) => it.scope === 'row' || it.scope === 'col')",
        ),
        (
            "names of charts",
            "[...document.querySelectorAll('svg[role=img]')].every((it) => it.getAttribute('aria-label'))",
        ),
        (
            "ids that are there once",
            "(() => { const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);
                return new Set(ids).size === ids.length; })()",
        ),
        (
            "what a label refers to",
            "[...document.querySelectorAll('[aria-labelledby]')]
                .every((it) => document.getElementById(it.getAttribute('aria-labelledby')))",
        ),
        ("a polite verdict", "document.getElementById('verdict').ariaLive === 'polite'"),
        ("charts", "document.querySelectorAll('svg.chart').length >= 2"),
    ] {
        assert_eq!(browser.evaluate(expression), true, "{what}");
    }
}

fn fits(browser: &mut Browser, width: u32) {
    let widest = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(widest <= u64::from(width), "{widest} wide on a screen of {width}");
}

#[test]
fn a_person_in_front_of_it() {
    let (scratch, broken) = (TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
    let systems = Systems::start(vec![Topic::new("page", 3)]);
    break_some(&systems, &broken);
    let run = start(&systems, &scratch);
    let mut browser = Browser::start();
    run.wait_until_ready();
    let base = format!("http://{}/", run.http);
    browser.look((1280, 1000), "light");
    browser.open(&base);
    browser.await_that("document.getElementById('link').dataset.state === 'live'");
    browser.await_that("document.querySelectorAll('svg.chart').length >= 2");

    // The same figures as everywhere, and newer ones without loading the page again.
    browser.evaluate("window.mark = 'the same page'");
    assert!(compare(&mut browser) > 60);
    assert_eq!(browser.evaluate(LOST), "/paths/0/lanes/0/outcomes/acked_lost");
    let slots = "Number(document.querySelector('[data-at=\"/paths/0/lanes/0/slots\"]').value)";
    let before = browser.evaluate(slots);
    next_edition(&mut browser);
    browser.await_that(&format!("{slots} > {before}"));
    assert_eq!(browser.evaluate("window.mark"), "the same page");
    is_sound(&mut browser);
    walk(&mut browser);
    browser.await_that("document.querySelector('.verdict.good, .verdict.unsure') !== null");
    browser.picture("light");
    let paper =
        |browser: &mut Browser| browser.evaluate("getComputedStyle(document.body).backgroundColor");
    let light = paper(&mut browser);
    browser.look((1280, 1000), "dark");
    assert_ne!(paper(&mut browser), light);
    browser.picture("dark");

    // Losses show, with the trace ids of the messages.
    broken.store(true, Ordering::Relaxed);
    browser.await_that("document.querySelector('.verdict.bad') !== null");
    browser.await_that("document.querySelectorAll('details[open] code').length >= 5");
    assert!(compare(&mut browser) > 60);
    assert_eq!(browser.evaluate(LOST), "/paths/0/lanes/0/outcomes/acked_lost");
    let lost = "Number(document.querySelector('#acked-lost').textContent.replaceAll(',', ''))";
    assert!(browser.evaluate(lost).as_u64().unwrap() > 0);
    browser.look((1280, 1000), "light");
    browser.picture("fault");
    for width in [360, 768] {
        browser.look((width, 780), "light");
        browser
            .evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })");
        fits(&mut browser, width);
    }
    browser.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = false; })");
    browser.look((360, 780), "dark");
    fits(&mut browser, 360);
    browser.picture("phone");
    broken.store(false, Ordering::Relaxed);

    // Without a script it still has the figures, and loads itself again.
    browser.look((1280, 1000), "light");
    browser.call("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": true }));
    browser.open(&base);
    let text = browser.evaluate("document.querySelector('main').innerText");
    let text = text.as_str().unwrap();
    for figure in ["acknowledged messages lost", "mqtt_kafka, QoS 1", "publish ack, QoS 1", "ms"] {
        assert!(text.contains(figure), "{figure} is not in: {text}");
    }
    let refresh = "document.querySelector('noscript meta[http-equiv=refresh]') !== null";
    assert_eq!(browser.evaluate(refresh), true);
    browser.picture("without-script");
    browser.call("Emulation.setScriptExecutionDisabled", &serde_json::json!({ "value": false }));

    assert_eq!(browser.complaints(), [""; 0]);
    let requests = browser.requests();
    assert!(
        requests.iter().all(|url| url.starts_with(&base) || url.starts_with("data:")),
        "{requests:?}"
    );
    drop(browser);
    is_named_everywhere(run, &scratch);
}

/// The trace ids of losses are those of the audit, in `/debug/worst` and in both reports.
fn is_named_everywhere(run: Running, scratch: &TempDir) {
    let worst: Value = serde_json::from_str(&run.get("/debug/worst").body).unwrap();
    let ids = |worst: &Value| -> BTreeSet<String> {
        let messages = worst["acked_lost"].as_array().unwrap().iter();
        messages.map(|it| it["trace_id"].as_str().unwrap().to_owned()).collect()
    };
    let live = ids(&worst["paths"][0]);
    assert!(live.len() >= 5, "{worst}");
    let slow = &worst["paths"][0]["slowest"][0];
    assert!(slow["latency_seconds"].as_f64().unwrap() >= 0.8, "{slow}");
    assert_eq!((&slow["topic"], slow["offset"].is_u64()), (&"page".into(), true), "{slow}");
    run.signal("TERM");
    run.wait_until("/api/v1/status", "over", |answer| answer.body.contains("\"phase\":\"over\""));
    // Whatever still runs is stopped then, which a second signal would cut short.
    let written = scratch.path().join("report/junit.xml");
    run.wait_until("/livez", "the reports", |_| written.exists());
    run.signal("TERM");
    let ended = run.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let slots = fs::read_to_string(scratch.path().join("slots")).unwrap();
    let lost: BTreeSet<&str> = slots
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|columns| columns[6] == "acked_lost")
        .map(|columns| columns[5])
        .collect();
    let report = fs::read_to_string(scratch.path().join("report/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let reported = ids(&report["paths"][0]["worst"]);
    for id in live.iter().chain(&reported) {
        assert!(lost.contains(id.as_str()), "{id} was not lost: {lost:?}");
    }
    let text = fs::read_to_string(scratch.path().join("report/report.md")).unwrap();
    assert!(reported.iter().any(|id| text.contains(id)), "{text}");
}

const HOSTILE: &str =
    "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'>\"'>&amp;";

/// A status in which every name is somebody's who means ill.
fn hostile() -> Status {
    let mut roster = Roster::default();
    let path = Path {
        name: HOSTILE.into(),
        lanes: vec![Lane::MqttKafka],
        qos: vec![Qos::AtLeastOnce],
        carriers: vec![Carrier::Payload],
        deadline: Duration::from_secs(1),
    };
    let id = roster.add(path, [Qos::AtLeastOnce]);
    let stats = Stats::new(Arc::new(roster));
    let evil = || HOSTILE.to_owned();
    let message = WorstMessage {
        trace_id: evil(),
        lane: evil(),
        outcome: evil(),
        detail: Some(evil()),
        due: Some(evil()),
        topic: Some(evil()),
        partition: Some(0),
        offset: Some(1),
        ..WorstMessage::default()
    };
    let worst = WorstMessages { acked_lost: vec![message], ..WorstMessages::default() };
    let unmeasured = Unmeasured::from([(id, evil())]);
    let moment = WallTime::from_millis(0);
    let process = Process { label: evil(), ..Process::default() };
    let load = Load { format: evil(), tick_seconds: 0.001, ..Load::default() };
    let report = Report::build(Inputs {
        stats: &stats,
        landfall: Product::default(),
        environment: Environment { probe: evil(), ..Environment::default() },
        window: Window::new(moment, moment, Duration::ZERO),
        loads: vec![load],
        calibrations: Vec::new(),
        windows: Vec::new(),
        worst: vec![worst],
        bounds: Bounds { clock_nanos: 1, pairing_nanos: 1 },
        host: [(evil(), landfall::report::HostUsage::default())].into(),
        processes: vec![process],
        load: None,
        verdict: Verdict::judge(&stats, &[], &unmeasured),
        is_whole: false,
    });
    let component = ComponentNow { up: true, reason: evil(), needed: true };
    let live = Live {
        made: evil(),
        edition: 1,
        phase: evil(),
        components: [(evil(), component)].into(),
        host: [(evil(), landfall::report::ScopeNow::default())].into(),
        processes: vec![ProcessNow { label: evil(), ..ProcessNow::default() }],
        paths: vec![PathNow::of(&stats, id, |_| evil())],
        ..Live::default()
    };
    Status { report, live }
}

/// Serves a status while `client` looks at it.
fn serve(status: &Status, client: impl FnOnce(SocketAddr)) {
    let clock = Clock::system();
    let (press, readers) = press(clock);
    press.publish(Edition {
        made: clock.now() + Duration::from_mins(10),
        status: status.json().unwrap().into(),
        worst: status.worst_json().unwrap().into(),
        page: status.page().into(),
    });
    let build = Build { version: "0".into(), commit: String::new() };
    let pages = Pages {
        telemetry: Telemetry::new(&Roster::default(), &build, None),
        health: Health::new(clock.now(), &[]),
        readers,
        clock,
    };
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), pages).unwrap();
    let address = server.address();
    let (tasks, thread) = (Tasks::new(), Tasks::new());
    let group = tasks.clone();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = move || {
        runtime().block_on(async {
            server.serve(group.clone()).await.unwrap();
            group.finished().await;
        });
    };
    thread.thread("server", serving).unwrap();
    client(address);
    tasks.stop();
    runtime().block_on(thread.finished());
}

#[test]
fn names_that_mean_ill_do_nothing() {
    serve(&hostile(), |address| {
        let mut browser = Browser::start();
        browser.open(&format!("http://{address}/"));
        browser.await_that("document.getElementById('link').dataset.state === 'live'");
        // Neither as the page came nor as an event brought it in.
        let elements = "document.querySelectorAll('main script, main img').length";
        assert_eq!(browser.evaluate(elements), 0);
        assert_eq!(browser.evaluate("window.owned === undefined"), true);
        let told =
            "document.querySelector('main').textContent.split('window.owned = 1').length - 1";
        assert!(browser.evaluate(told).as_u64().unwrap() >= 10, "they are told as they are");
        // Were one of them not escaped, the policy would have spoken.
        assert_eq!(browser.complaints(), [""; 0]);
        browser.look((360, 780), "light");
        fits(&mut browser, 360);
    });
}

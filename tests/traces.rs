//! Messages as traces: which are picked, how their spans hang together, and that they carry the very
//! trace id of the message.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it finds something wrong, in its helper functions, too"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall::clock::{Instant, Pairing, WallTime};
use landfall::correlate::{
    Append, Carrier, Correlator, Event, Lane, Limits, Observation, Path, PathId, PublisherId, Qos,
    RecordPlace, Roster, Sink, Stage,
};
use landfall::stamp::{Carriers, Integrity, Run, SpanId, Stamper};
use landfall::telemetry::{Build, Choice, Source, SpanQueue, Telemetry, Tracer, span_queue};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

const PATH: PathId = PathId(0);
/// Publishers 0 to 2 have the QoS of their index.
const AT_LEAST_ONCE: PublisherId = PublisherId(1);
const SECOND: u64 = 1_000_000_000;

fn roster() -> Arc<Roster> {
    let mut roster = Roster::default();
    let path = Path {
        name: "plant".into(),
        lanes: Lane::ALL.to_vec(),
        qos: Qos::ALL.to_vec(),
        carriers: Carrier::ALL.to_vec(),
        deadline: Duration::from_secs(10),
    };
    roster.add(path, Qos::ALL);
    Arc::new(roster)
}

fn stamper() -> Stamper {
    Stamper::new(b"plant-7", Run { epoch: 7, instance: 1 })
}

fn source(client: u32) -> Source {
    Source {
        topic: format!("landfall/p/{client}"),
        template: "landfall/p/{client}".into(),
        client_id: format!("landfall-p-{client}"),
        host: "broker".into(),
        port: 1883,
        version: "5",
        size: 256,
    }
}

/// A correlator and a tracer behind it, on a clock of seconds.
struct World {
    correlator: Correlator,
    tracer: Tracer,
    queue: SpanQueue,
    telemetry: Telemetry,
    pairing: Pairing,
}

impl World {
    fn new(sample: f64) -> Self {
        let roster = roster();
        let telemetry =
            Telemetry::new(&roster, &Build { version: "0".into(), commit: String::new() }, None);
        telemetry.name_partition(PATH, 2, "mqtt-messages", 5);
        let (sink, queue) = span_queue(&telemetry);
        let choice = Choice { sample, slow_nanos: 1_000_000_000 };
        let sources = (0..3).map(source).collect();
        let tracer = Tracer::new((Arc::clone(&roster), sources), stamper(), choice, sink);
        let wall = WallTime::from_nanos(1_700_000_000_000_000_000);
        let pairing = Pairing { instant: Instant::from_nanos(SECOND), wall, bound_nanos: 0 };
        // The tracer's own memory is what is tested.
        let limits = Limits { closed_max: 0, ..Limits::default() };
        let correlator = Correlator::new(roster, limits);
        Self { correlator, tracer, queue, telemetry, pairing }
    }

    fn see(&mut self, observations: &[Observation]) {
        let mut events = Vec::new();
        for observation in observations {
            self.correlator.observe(observation, &mut events);
        }
        self.tracer.apply(&events, &self.pairing);
    }

    /// The time is `at` seconds, and everything that was in the sinks then has been read.
    fn judge(&mut self, at: u64) {
        let at = instant(at * 1_000);
        for lane in Lane::ALL {
            self.see(&[Observation::CaughtUp { path: PATH, lane, at }]);
        }
        let mut events = Vec::new();
        self.pairing = Pairing { instant: at, wall: self.pairing.wall_of(at), ..self.pairing };
        self.correlator.advance(at, &mut events);
        self.tracer.apply(&events, &self.pairing);
    }

    /// What has come of spans, by name.
    fn spans(&mut self) -> BTreeMap<String, SpanData> {
        let mut spans = BTreeMap::new();
        while let Some(span) = self.queue.try_next() {
            let name = span.name.to_string();
            let kind = name.split(' ').next().unwrap().to_owned();
            let lane = attributes(&span).get("landfall.lane").cloned().unwrap_or_default();
            assert!(spans.insert(format!("{kind} {lane}"), span).is_none(), "{name} twice");
        }
        spans
    }

    fn wall(&self, millis: u64) -> SystemTime {
        let nanos = self.pairing.wall_of(instant(millis)).nanos();
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap())
    }

    fn dropped(&self) -> String {
        let text = self.telemetry.render();
        let series = "landfall_dropped_total{component=\"otlp\",cause=\"queue_full\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap().to_owned()
    }
}

/// So many milliseconds on the clock.
fn instant(millis: u64) -> Instant {
    // A distance is kept to within 256 ns: what is a multiple of that is kept exactly.
    Instant::from_nanos(millis * 1_000_000 / 256 * 256)
}

fn offered(publisher: PublisherId, sequence: u64, millis: u64) -> [Observation; 2] {
    [
        Observation::Offered { publisher, sequence, intended: instant(millis) },
        Observation::Sent { publisher, sequence, at: instant(millis + 1), held: false },
    ]
}

fn acknowledged(publisher: PublisherId, sequence: u64, millis: u64, reason: u8) -> Observation {
    let (stage, at) = (Stage::Puback, instant(millis));
    Observation::Acknowledged { publisher, sequence, stage, reason, at }
}

fn from_kafka(publisher: PublisherId, sequence: u64, (append, at): (u64, u64)) -> Observation {
    let place = RecordPlace { slot: 2, offset: i64::try_from(at).unwrap() };
    let append = Append::LogAppendTime(instant(append));
    received(publisher, sequence, Sink::Kafka { place, append }, at)
}

fn received(publisher: PublisherId, sequence: u64, sink: Sink, at: u64) -> Observation {
    Observation::Received {
        path: PATH,
        stamped_path: PATH,
        publisher: publisher.0,
        sequence,
        sink,
        at: instant(at),
        integrity: Integrity::Intact,
        carriers: Carriers { property: true, payload: true },
        span: SpanId::new(0xb0_0b),
    }
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    let pair = |it: &opentelemetry::KeyValue| (it.key.to_string(), it.value.to_string());
    span.attributes.iter().map(pair).collect()
}

#[test]
fn a_message_is_one_trace_whose_spans_hang_together() {
    let mut world = World::new(1.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_009))]);
    let mut spans = world.spans();
    assert_eq!(spans.len(), 2, "its acknowledgement is awaited: {:?}", spans.keys());
    world.see(&[acknowledged(AT_LEAST_ONCE, 0, 1_012, 0)]);
    spans.extend(world.spans());
    let names: Vec<_> = spans.values().map(|span| &*span.name).collect();
    let expected =
        ["crossing plant mqtt_kafka", "poll mqtt-messages", "publish landfall/p/{client}"];
    assert_eq!(names, expected);
    let [crossing, poll, publish] =
        ["crossing mqtt_kafka", "poll mqtt_kafka", "publish "].map(|name| spans[name].clone());

    // The trace id and the parent id that the message carries.
    let id = stamper().trace_id(stamper().identity(0, 1, 0));
    let carried = String::from_utf8(id.traceparent().to_vec()).unwrap();
    let root = &publish.span_context;
    assert_eq!(format!("00-{}-{}-01", root.trace_id(), root.span_id()), carried);
    for span in [&crossing, &poll] {
        assert_eq!(span.span_context.trace_id(), root.trace_id());
    }
    assert_eq!(publish.parent_span_id.to_string(), "0000000000000000");
    assert_eq!(crossing.parent_span_id, root.span_id());
    assert_eq!(poll.parent_span_id, crossing.span_context.span_id());
    let kinds = [&publish, &crossing, &poll].map(|span| span.span_kind.clone());
    assert_eq!(kinds, [SpanKind::Producer, SpanKind::Internal, SpanKind::Client]);
    let is_remote: Vec<_> = poll.links.iter().map(|link| link.span_context.is_remote()).collect();
    assert_eq!(is_remote, [false, true]);
    // What the message left under, and what somebody on the way had made of it.
    let links = poll.links.iter().map(|link| link.span_context.span_id().to_string());
    assert_eq!(links.collect::<Vec<_>>(), [root.span_id().to_string(), "000000000000b00b".into()]);

    let times = |span: &SpanData| (span.start_time, span.end_time);
    assert_eq!(times(&publish), (world.wall(1_000), world.wall(1_012)));
    assert_eq!(times(&crossing), (world.wall(1_001), world.wall(1_009)));
    assert_eq!(times(&poll), (world.wall(1_005), world.wall(1_009)));

    let (publish, poll) = (attributes(&publish), attributes(&poll));
    for (key, value) in [
        ("messaging.system.name", "mqtt"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "landfall/p/1"),
        ("messaging.client.id", "landfall-p-1"),
        ("messaging.message.body.size", "256"),
        ("server.address", "broker"),
        ("server.port", "1883"),
        ("network.protocol.version", "5"),
        ("landfall.path", "plant"),
        ("landfall.qos", "1"),
        ("landfall.sequence", "0"),
        ("landfall.traced_because", "sampled"),
    ] {
        assert_eq!(publish[key], value, "{key}");
    }
    for (key, value) in [
        ("messaging.system.name", "kafka"),
        ("messaging.operation.type", "receive"),
        ("messaging.destination.name", "mqtt-messages"),
        ("messaging.destination.partition.id", "5"),
        ("kafka.offset", "1009"),
        ("landfall.lane", "mqtt_kafka"),
        ("landfall.outcome", "delivered"),
    ] {
        assert_eq!(poll[key], value, "{key}");
    }
}

#[test]
fn both_lanes_share_one_publish_span() {
    let mut world = World::new(1.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[
        acknowledged(AT_LEAST_ONCE, 0, 1_002, 0),
        received(AT_LEAST_ONCE, 0, Sink::Mqtt { resent: false }, 1_003),
        from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_009)),
    ]);
    let spans = world.spans();
    let expected = [
        "crossing mqtt_kafka",
        "crossing mqtt_mqtt",
        "poll mqtt_kafka",
        "publish ",
        "receive mqtt_mqtt",
    ];
    assert_eq!(spans.keys().collect::<Vec<_>>(), expected);
    let ids: std::collections::BTreeSet<_> =
        spans.values().map(|span| span.span_context.span_id().to_string()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
}

#[test]
fn without_a_share_only_what_is_slow_late_lost_refused_or_double_is_traced() {
    let mut world = World::new(0.0);
    let why = |world: &mut World| {
        let spans = world.spans();
        let why = |span: &SpanData| attributes(span)["landfall.traced_because"].clone();
        let mut why: Vec<_> = spans.values().map(why).collect();
        why.dedup();
        (spans, why)
    };
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[
        acknowledged(AT_LEAST_ONCE, 0, 1_002, 0),
        from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_900)),
    ]);
    assert_eq!(why(&mut world).1, [""; 0], "900 ms are not slow");

    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_950))]);
    let (spans, reasons) = why(&mut world);
    assert_eq!((spans.len(), reasons), (3, vec!["duplicate".to_owned()]));
    assert_eq!(attributes(&spans["poll mqtt_kafka"])["landfall.duplicate"], "pipeline");

    world.see(&offered(AT_LEAST_ONCE, 1, 2_000));
    world.see(&[
        acknowledged(AT_LEAST_ONCE, 1, 2_002, 0),
        from_kafka(AT_LEAST_ONCE, 1, (2_005, 3_000)),
    ]);
    let (spans, reasons) = why(&mut world);
    assert_eq!((spans.len(), reasons), (3, vec!["slow".to_owned()]));
}

#[test]
fn what_is_lost_ends_in_an_error_at_the_verdict() {
    let mut world = World::new(0.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[acknowledged(AT_LEAST_ONCE, 0, 1_002, 0)]);
    world.judge(30);
    let spans = world.spans();
    assert_eq!(
        spans.keys().collect::<Vec<_>>(),
        ["crossing mqtt_kafka", "crossing mqtt_mqtt", "publish "]
    );
    let crossing = &spans["crossing mqtt_kafka"];
    assert_eq!(crossing.status, Status::error("acked_lost"));
    assert_eq!(crossing.end_time, world.wall(30_000));
    assert_eq!(attributes(crossing)["landfall.traced_because"], "lost");
    assert_eq!(spans["publish "].end_time, world.wall(1_002));

    assert_eq!(attributes(crossing)["error.type"], "acked_lost");
    let lost = crossing.span_context.span_id();

    // It comes after all.
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (31_000, 31_000))]);
    let spans = world.spans();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["crossing mqtt_kafka", "poll mqtt_kafka"]);
    assert_eq!(attributes(&spans["poll mqtt_kafka"])["landfall.outcome"], "late");
    let crossing = &spans["crossing mqtt_kafka"];
    assert_eq!(crossing.start_time, world.wall(1_001), "it is remembered how it set out");
    assert_ne!(crossing.span_context.span_id(), lost, "two spans, two ids");
}

#[test]
fn a_refusal_says_with_which_reason() {
    let mut world = World::new(0.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[acknowledged(AT_LEAST_ONCE, 0, 1_002, 0x87)]);
    let spans = world.spans();
    let publish = &spans["publish "];
    assert_eq!(publish.status, Status::error("refused with reason code 0x87"));
    assert_eq!(attributes(publish)["landfall.mqtt.reason_code"], "135");
    assert_eq!(spans["crossing mqtt_kafka"].status, Status::error("rejected"));
}

#[test]
fn a_publish_span_ends_at_the_socket_where_no_acknowledgement_comes() {
    let mut world = World::new(1.0);
    world.see(&offered(PublisherId(0), 0, 1_000));
    world.see(&[from_kafka(PublisherId(0), 0, (1_005, 1_009))]);
    assert_eq!(world.spans()["publish "].end_time, world.wall(1_001), "QoS 0 has none");

    world.see(&offered(AT_LEAST_ONCE, 0, 2_000));
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (2_005, 2_009))]);
    assert!(!world.spans().contains_key("publish "));
    world.tracer.finish(&world.pairing.clone());
    assert_eq!(world.spans()["publish "].end_time, world.wall(2_001), "the run is over");
}

#[test]
fn a_share_is_a_share() {
    let mut world = World::new(0.1);
    let mut traced = 0;
    for sequence in 0..20_000 {
        let due = 1_000 + sequence;
        world.see(&offered(PublisherId(0), sequence, due));
        world.see(&[from_kafka(PublisherId(0), sequence, (due + 2, due + 3))]);
        traced += u32::from(world.spans().contains_key("publish "));
    }
    // Six standard deviations of the binomial distribution.
    assert!((2_000 - 255..2_000 + 255).contains(&traced), "{traced}");
}

#[test]
fn what_nobody_fetches_is_dropped_and_counted() {
    let mut world = World::new(1.0);
    let messages = 2_000;
    for sequence in 0..messages {
        let due = 1_000 + sequence;
        world.see(&offered(PublisherId(0), sequence, due));
        world.see(&[from_kafka(PublisherId(0), sequence, (due + 2, due + 3))]);
    }
    let mut kept = 0;
    while world.queue.try_next().is_some() {
        kept += 1;
    }
    let dropped: u64 = world.dropped().parse().unwrap();
    assert!((2_000..=2_048).contains(&kept), "{kept}");
    assert_eq!(kept + dropped, 3 * messages, "every span is fetched or counted");
}

#[test]
fn a_copy_that_comes_when_its_slot_is_long_closed_is_a_whole_trace() {
    let mut world = World::new(0.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[
        acknowledged(AT_LEAST_ONCE, 0, 1_002, 0),
        received(AT_LEAST_ONCE, 0, Sink::Mqtt { resent: false }, 1_003),
        from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_009)),
    ]);
    world.judge(2);
    assert!(world.spans().is_empty(), "a plain delivery is not traced");
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (3_000, 3_009))]);
    let spans = world.spans();
    let names: Vec<_> = spans.keys().collect();
    assert_eq!(names, ["crossing mqtt_kafka", "poll mqtt_kafka", "publish "]);
    assert_eq!(spans["publish "].end_time, world.wall(1_002));
    assert_eq!(spans["crossing mqtt_kafka"].start_time, world.wall(1_001));

    // So many messages later nobody knows any more how the first one had set out.
    for sequence in 1..60_000 {
        let due = 4_000 + sequence;
        world.see(&offered(PublisherId(0), sequence - 1, due));
        world.see(&[from_kafka(PublisherId(0), sequence - 1, (due + 1, due + 2))]);
    }
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (90_000, 90_001))]);
    let spans = world.spans();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["poll mqtt_kafka"]);
    let id = stamper().trace_id(stamper().identity(0, 1, 0));
    let parent = spans["poll mqtt_kafka"].parent_span_id.to_bytes();
    assert_eq!(parent, id.parent_id(), "below what the message carries");
}

#[test]
fn what_nobody_can_say_is_no_error_of_the_message() {
    let mut world = World::new(1.0);
    world.see(&offered(PublisherId(0), 0, 1_000));
    let mut events = Vec::new();
    world.correlator.finish(&mut events);
    world.tracer.apply(&events, &world.pairing.clone());
    let crossing = &world.spans()["crossing mqtt_kafka"];
    assert_eq!(attributes(crossing)["landfall.outcome"], "unresolved");
    assert_eq!(crossing.status, Status::Unset);
}

#[test]
fn an_acknowledgement_that_never_comes_is_not_waited_for_for_ever() {
    let mut world = World::new(1.0);
    world.see(&offered(AT_LEAST_ONCE, 0, 1_000));
    world.see(&[from_kafka(AT_LEAST_ONCE, 0, (1_005, 1_009))]);
    world.spans();
    world.judge(20);
    assert!(!world.spans().contains_key("publish "), "twice the deadline is not over");
    world.judge(22);
    assert_eq!(world.spans()["publish "].end_time, world.wall(1_001));
}

/// The events of a story that has nothing to be traced make nothing.
#[test]
fn a_slot_that_was_never_sent_is_no_trace() {
    let mut world = World::new(1.0);
    let (publisher, sequence) = (AT_LEAST_ONCE, 0);
    let cause = landfall::correlate::NotSent::Disconnected;
    let intended = instant(1_000);
    world.see(&[
        Observation::Offered { publisher, sequence, intended },
        Observation::NotSent { publisher, sequence, cause },
    ]);
    world.tracer.apply(&[Event::Foreign { path: PATH, count: 1 }], &world.pairing.clone());
    assert!(world.spans().is_empty());
}

//! What a reader missed is found by the second look before it is called lost.
#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::consume::{self, Properties, Seen};
use landfall::correlate::{
    Carrier, Correlator, Event, Lane, Limits, Observation, Outcome, Path, PathId, PublisherId, Qos,
    Roster, Router, Stage,
};
use landfall::embedded::kafka::Topic;
use landfall::shutdown::Tasks;
use landfall::stamp::{PROPERTY, Run, Stamper};
use landfall::stats::Stats;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[path = "support/embedded.rs"]
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
mod embedded;

const PATH: PathId = PathId(0);
const TOPIC: &str = "looked";
/// Long enough for the slowest machine; whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(2);

fn roster() -> Arc<Roster> {
    let mut roster = Roster::default();
    let path = Path {
        name: TOPIC.into(),
        lanes: vec![Lane::MqttKafka],
        qos: vec![Qos::AtLeastOnce],
        carriers: vec![Carrier::Property],
        deadline: DEADLINE,
    };
    roster.add(path, [Qos::AtLeastOnce]);
    Arc::new(roster)
}

/// Puts messages of a publisher into Kafka, among others that are nobody's.
fn produce(address: &str, stamper: &Stamper, sequences: impl Iterator<Item = u64>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    for sequence in sequences {
        let traceparent = stamper.trace_id(stamper.identity(0, 0, sequence)).traceparent();
        let header = Header { key: PROPERTY, value: Some(&traceparent[..]) };
        let ours = BaseRecord::<(), [u8]>::to(TOPIC).payload(&b"ours"[..]);
        producer.send(ours.headers(OwnedHeaders::new().insert(header))).unwrap();
        producer.send(BaseRecord::<(), [u8]>::to(TOPIC).payload(&b"nobody's"[..])).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Twenty messages that were sent and acknowledged.
fn twenty_sent(roster: &Arc<Roster>, intended: Instant) -> Correlator {
    let mut correlator = Correlator::new(Arc::clone(roster), Limits::default()).confirming();
    let (publisher, stage) = (PublisherId(0), Stage::Puback);
    for sequence in 0..20 {
        for observation in [
            Observation::Offered { publisher, sequence, intended },
            Observation::Sent { publisher, sequence, at: intended, held: false },
            Observation::Acknowledged { publisher, sequence, stage, reason: 0, at: intended },
        ] {
            correlator.observe(&observation, &mut Vec::new());
        }
    }
    correlator
}

/// Starts a watch, and who looks again: what the one says, and where the other is asked.
fn start(
    config: &consume::Config,
    (clock, stamper, router): (Clock, Stamper, Router),
    tasks: &Tasks,
) -> (Receiver<consume::Word>, SyncSender<Instant>) {
    let (words, heard) = sync_channel(1_000);
    let (ask, asked) = sync_channel(16);
    let (seen, (notices, _)) = (Seen::default(), tokio::sync::mpsc::channel(1_000));
    let watching = (config.clone(), seen.clone(), notices.clone(), tasks.clone());
    tasks
        .thread("watch", move || {
            let (config, seen, notices, tasks) = watching;
            consume::watch(&config, clock, (vec![words], seen), notices, &tasks);
        })
        .unwrap();
    let (config, looking) = (config.clone(), tasks.clone());
    tasks
        .thread("second-look", move || {
            let eyes = (clock, &stamper, &router);
            consume::look_again(&config, eyes, (&asked, &seen), &notices, &looking);
        })
        .unwrap();
    (heard, ask)
}

#[test]
fn records_that_the_reader_missed_are_found_and_the_others_are_lost() {
    let systems = embedded::Systems::start(vec![Topic::new(TOPIC, 3)]);
    let address = systems.kafka.to_string();
    let (clock, roster, tasks) = (Clock::system(), roster(), Tasks::new());
    let stamper = Stamper::new(b"second look", Run { epoch: 7, instance: 1 });
    let router = Router::new(Arc::clone(&roster), 1, 1_000);
    let config = consume::Config {
        path: PATH,
        lane: Lane::MqttKafka,
        brokers: address.clone(),
        topics: vec![TOPIC.into()],
        readers: 1,
        properties: Properties::default(),
        group: "second-look".into(),
        lookout: None,
        resumed: None,
    };
    produce(&address, &stamper, (0..20).filter(|sequence| sequence % 4 != 0));
    // As if they had been sent a moment ago, however long Kafka took.
    let (mut correlator, mut events) = (twenty_sent(&roster, clock.now()), Vec::new());

    // A watch that knows what there is, and no reader at all.
    let (heard, ask) = start(&config, (clock, stamper, router.clone()), &tasks);

    // Says what a reader would that had missed everything: it has read all that there is.
    let mut batch = Vec::new();
    let end = clock.now() + PATIENCE;
    while correlator.open_outcomes() > 0 {
        assert!(clock.now() < end, "{} are open", correlator.open_outcomes());
        for word in heard.try_iter() {
            if let consume::Word::Watermarks { asked: at, .. } = word {
                let (path, lane) = (PATH, Lane::MqttKafka);
                correlator.observe(&Observation::CaughtUp { path, lane, at }, &mut events);
            }
        }
        router.shards()[0].receive.swap(&mut batch);
        for observation in &batch {
            correlator.observe(observation, &mut events);
        }
        correlator.advance(clock.now(), &mut events);
        if let Some(since) = correlator.missing_since(PATH, Lane::MqttKafka) {
            let _ = ask.try_send(since);
        }
        clock.sleep_until(clock.now() + Duration::from_millis(100));
    }
    tasks.stop();

    let mut stats = Stats::new(roster);
    stats.apply(&events);
    let lane = stats.lane(PATH, Qos::AtLeastOnce, Lane::MqttKafka);
    assert_eq!(lane.outcome(Outcome::Delivered), 15, "appended in time, whoever missed them");
    assert_eq!(lane.outcome(Outcome::AckedLost), 5);
    assert_eq!((stats.path(PATH).missed, stats.path(PATH).unconfirmed), (15, 0));
    assert_eq!(lane.end_to_end().count(), 0, "when they came out is not known");
    let announced = events.iter().filter_map(|event| match event {
        Event::Resolved { outcome: Outcome::AckedLost, sequence, .. } => Some(*sequence),
        _ => None,
    });
    assert!(announced.eq([0, 4, 8, 12, 16]));
}

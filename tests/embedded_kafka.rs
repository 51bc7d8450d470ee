//! The embedded Kafka against the clients that people use: librdkafka, kcat, kafka-python.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use landfall::clock::Clock;
use landfall::embedded::kafka::{
    Config, Hooks, Kafka, ResponseError, TimestampType, Topic, TopicDefaults, Verdict,
};
use landfall::shutdown::Tasks;
use proptest::prelude::*;
use rdkafka::Timestamp;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

const TOPIC: &str = "t";
/// Long enough for the slowest machine; whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// An embedded Kafka on a thread of its own.
struct Running {
    address: SocketAddr,
    hooks: Hooks,
    tasks: Tasks,
    ended: mpsc::Receiver<()>,
}

impl Running {
    fn new(config: Config) -> Self {
        let tasks = Tasks::new();
        let (bound, address) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let serving = tasks.clone();
        tasks
            .thread("embedded-kafka", move || {
                runtime().block_on(async {
                    let kafka = Kafka::bind(config, Clock::system()).await.unwrap();
                    bound.send((kafka.address(), kafka.hooks())).unwrap();
                    let connections = serving.child();
                    kafka.serve(connections.clone()).await;
                    connections.finished().await;
                });
                drop(end);
            })
            .unwrap();
        let (address, hooks) = address.recv_timeout(PATIENCE).unwrap();
        Self { address, hooks, tasks, ended }
    }

    fn with(partitions: i32) -> Self {
        Self::new(Config { topics: vec![Topic::new(TOPIC, partitions)], ..Config::default() })
    }

    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        config.set("socket.nagle.disable", "true");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.client(&[("linger.ms", "0")]);
        config.extend(settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        config.create().unwrap()
    }

    /// A consumer of all of one partition.
    fn consumer(&self, partition: i32, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.client(&[
            ("group.id", "unused"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "false"),
        ]);
        config.extend(settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(TOPIC, partition, Offset::Offset(0)).unwrap();
        consumer.assign(&all).unwrap();
        consumer
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[]).create().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.stop();
        // Ends when the sender is dropped; a broker that does not stop fails the test.
        let ended = self.ended.recv_timeout(PATIENCE);
        if !std::thread::panicking() {
            assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "the Kafka did not stop");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn send(producer: &FutureProducer, partition: i32, value: &str) -> Timestamp {
    try_send(producer, partition, value).unwrap().1
}

fn try_send(
    producer: &FutureProducer,
    partition: i32,
    value: &str,
) -> Result<(i64, Timestamp), KafkaError> {
    let record = FutureRecord::<str, str>::to(TOPIC).partition(partition).payload(value);
    let delivery = runtime().block_on(producer.send(record, PATIENCE));
    delivery.map(|delivery| (delivery.offset, delivery.timestamp)).map_err(|(error, _)| error)
}

/// The next so many records.
fn take(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let mut taken = Vec::new();
    let clock = Clock::system();
    let deadline = clock.now() + PATIENCE;
    while taken.len() < count {
        assert!(clock.now() < deadline, "{} of {count} records came", taken.len());
        if let Some(record) = consumer.poll(Duration::from_millis(500)) {
            taken.push(BorrowedMessage::detach(&record.unwrap()));
        }
    }
    taken
}

fn values(records: &[OwnedMessage]) -> Vec<String> {
    let text = |record: &OwnedMessage| String::from_utf8_lossy(record.payload().unwrap()).into();
    records.iter().map(text).collect()
}

fn wall_millis() -> i64 {
    Clock::system().wall().nanos().div_euclid(1_000_000)
}

#[test]
fn records_come_back_whole_and_with_the_append_time() {
    let kafka = Running::with(2);
    let before = wall_millis();
    let producer = kafka.producer(&[]);
    let header = Header { key: "traceparent", value: Some("00-ab-cd-01") };
    let record = FutureRecord::to(TOPIC)
        .partition(1)
        .key("key")
        .payload("value")
        .timestamp(1_000)
        .headers(OwnedHeaders::new().insert(header));
    let delivery = runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    let after = wall_millis();
    assert_eq!((delivery.partition, delivery.offset), (1, 0));

    let records = take(&kafka.consumer(1, &[("check.crcs", "true")]), 1);
    let record = &records[0];
    assert_eq!((record.key(), record.payload()), (Some(&b"key"[..]), Some(&b"value"[..])));
    let header = record.headers().unwrap().get(0);
    assert_eq!((header.key, header.value), ("traceparent", Some(&b"00-ab-cd-01"[..])));
    let Timestamp::LogAppendTime(millis) = record.timestamp() else {
        panic!("not LogAppendTime: {:?}", record.timestamp());
    };
    assert!((before..=after).contains(&millis), "{before} <= {millis} <= {after}");
}

#[test]
fn create_time_is_kept_where_the_topic_says_so() {
    let mut topic = Topic::new(TOPIC, 1);
    topic.defaults.timestamps = TimestampType::CreateTime;
    let kafka = Running::new(Config { topics: vec![topic], ..Config::default() });
    let record = FutureRecord::<str, str>::to(TOPIC).payload("value").timestamp(1_000);
    runtime().block_on(kafka.producer(&[]).send(record, PATIENCE)).unwrap();
    let records = take(&kafka.consumer(0, &[]), 1);
    assert_eq!(records[0].timestamp(), Timestamp::CreateTime(1_000));
}

#[test]
fn every_codec_passes_through() {
    let kafka = Running::with(1);
    let mut sent = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = kafka.producer(&[("compression.type", codec), ("linger.ms", "50")]);
        let mut all = Vec::new();
        for number in 0..50 {
            let value = format!("{codec} {number} {}", "x".repeat(500));
            let record = FutureRecord::<str, str>::to(TOPIC).payload(&value);
            all.push(producer.send_result(record).unwrap());
            sent.push(value);
        }
        for delivery in all {
            runtime().block_on(delivery).unwrap().unwrap();
        }
    }
    let records = take(&kafka.consumer(0, &[("check.crcs", "true")]), sent.len());
    assert_eq!(values(&records), sent);
    assert!((0..).zip(&records).all(|(offset, record)| record.offset() == offset));
}

#[test]
fn a_waiting_fetch_is_woken_by_the_append() {
    let kafka = Running::with(1);
    // A consumer that is not woken gets nothing before `PATIENCE` is over.
    let consumer = kafka.consumer(
        0,
        &[
            ("fetch.wait.max.ms", "300000"),
            ("socket.timeout.ms", "300000"),
            ("fetch.min.bytes", "1"),
        ],
    );
    let producer = kafka.producer(&[]);
    for round in 0..20 {
        assert!(consumer.poll(Duration::from_millis(5)).is_none());
        send(&producer, 0, &round.to_string());
        assert_eq!(values(&take(&consumer, 1)), [round.to_string()]);
    }
}

/// Sends one record whose acknowledgement is lost with the connection, so that it is sent again.
fn copies_after_a_lost_answer(idempotent: &str) -> usize {
    let kafka = Running::with(1);
    let released = kafka.hooks.released(16);
    let (hooks, judged) = (kafka.hooks.clone(), AtomicU32::new(0));
    kafka.hooks.judge_batches(move |_| {
        if judged.fetch_add(1, Ordering::Relaxed) == 0 {
            hooks.stall();
        }
        Verdict::KEEP
    });
    let producer =
        kafka.producer(&[("enable.idempotence", idempotent), ("retry.backoff.ms", "10")]);
    let record = FutureRecord::<str, str>::to(TOPIC).payload("once");
    let delivery = producer.send_result(record).unwrap();
    assert_eq!(released.recv_timeout(PATIENCE).unwrap().base_offset, 0);
    kafka.hooks.close_connections();
    kafka.hooks.resume();
    let delivery = runtime().block_on(delivery).unwrap().unwrap();
    send(&producer, 0, "end");
    let consumer = kafka.consumer(0, &[]);
    let mut copies = 0;
    while values(&take(&consumer, 1)) == ["once"] {
        copies += 1;
    }
    assert_eq!(delivery.offset, copies - 1);
    usize::try_from(copies).unwrap()
}

#[test]
fn what_an_idempotent_producer_sends_again_is_there_once() {
    assert_eq!(copies_after_a_lost_answer("true"), 1);
    assert_eq!(copies_after_a_lost_answer("false"), 2, "nothing was sent again: no test at all");
}

#[test]
fn an_idempotent_producer_lives_through_lost_connections() {
    let kafka = Running::with(1);
    let producer = kafka.producer(&[("enable.idempotence", "true"), ("retry.backoff.ms", "10")]);
    let mut sent = Vec::new();
    let mut deliveries = Vec::new();
    for number in 0..2_000 {
        let value = number.to_string();
        let record = FutureRecord::<str, str>::to(TOPIC).payload(&value);
        deliveries.push(producer.send_result(record).unwrap());
        sent.push(value);
        if number % 500 == 250 {
            kafka.hooks.close_connections();
        }
    }
    for delivery in deliveries {
        runtime().block_on(delivery).unwrap().unwrap();
    }
    let records = take(&kafka.consumer(0, &[]), sent.len());
    assert_eq!(values(&records), sent);
}

#[test]
fn faults_are_what_the_hooks_say() {
    let kafka = Running::with(1);
    kafka.hooks.judge_batches(|batch| {
        let has = |word: &str| batch.records.windows(word.len()).any(|at| at == word.as_bytes());
        match () {
            () if has("drop") => Verdict::DROP,
            () if has("double") => Verdict::DOUBLE,
            () if has("refuse") => Verdict::Refuse(ResponseError::PolicyViolation),
            () => Verdict::KEEP,
        }
    });
    for idempotent in ["false", "true"] {
        let producer = kafka.producer(&[("enable.idempotence", idempotent)]);
        for value in ["a", "drop", "double", "drop", "b"] {
            send(&producer, 0, value);
        }
    }
    let refused = try_send(&kafka.producer(&[]), 0, "refuse");
    assert_eq!(refused, Err(KafkaError::MessageProduction(RDKafkaErrorCode::PolicyViolation)));
    kafka.hooks.keep_batches();
    send(&kafka.producer(&[]), 0, "drop");
    let records = take(&kafka.consumer(0, &[]), 9);
    let expected = ["a", "double", "double", "b", "a", "double", "double", "b", "drop"];
    assert_eq!(values(&records), expected);
}

#[test]
fn a_batch_is_read_twice_by_one_fetch_where_the_hooks_say_so() {
    let kafka = Running::with(1);
    kafka.hooks.judge_batches(|batch| match batch.offset {
        1 => Verdict::ReadTwice,
        _ => Verdict::KEEP,
    });
    let producer = kafka.producer(&[]);
    for value in ["a", "b", "c"] {
        send(&producer, 0, value);
    }
    let read = |count| {
        let records = take(&kafka.consumer(0, &[]), count);
        records.iter().map(OwnedMessage::offset).collect::<Vec<_>>()
    };
    assert_eq!(read(4), [0, 1, 1, 2]);
    assert_eq!(read(3), [0, 1, 2]);
}

#[test]
fn a_stuck_consumer_sees_the_end_and_gets_nothing_until_it_is_let() {
    let kafka = Running::with(1);
    kafka.hooks.hold_fetches(TOPIC);
    send(&kafka.producer(&[]), 0, "a");
    let waiting = [("fetch.wait.max.ms", "60000"), ("socket.timeout.ms", "300000")];
    let consumer = kafka.consumer(0, &waiting);
    assert!(consumer.poll(Duration::from_millis(300)).is_none());
    assert_eq!(consumer.fetch_watermarks(TOPIC, 0, PATIENCE).unwrap(), (0, 1));
    // Its Fetch waits for longer than this test does, unless it is woken.
    kafka.hooks.let_fetch(TOPIC);
    assert_eq!(values(&take(&consumer, 1)), ["a"]);
}

#[test]
fn the_clock_of_log_append_time_can_be_wrong() {
    let kafka = Running::with(1);
    kafka.hooks.set_clock_offset(-3_600_000_000_000);
    let before = wall_millis();
    send(&kafka.producer(&[]), 0, "a");
    let after = wall_millis();
    let Timestamp::LogAppendTime(millis) = take(&kafka.consumer(0, &[]), 1)[0].timestamp() else {
        panic!("not LogAppendTime");
    };
    assert!((before..=after).contains(&(millis + 3_600_000)), "{before} <= {millis} <= {after}");
}

#[test]
fn held_records_come_later_in_order_and_with_their_append_time() {
    let kafka = Running::with(1);
    let released = kafka.hooks.released(16);
    let hold = Duration::from_millis(300);
    let clock = Clock::system();
    let judged = AtomicU64::new(0);
    kafka.hooks.judge_batches(move |_| match judged.fetch_add(1, Ordering::Relaxed) {
        0 => Verdict::hold(hold),
        _ => Verdict::KEEP,
    });
    let (producer, consumer) = (kafka.producer(&[]), kafka.consumer(0, &[]));
    let before = clock.now();
    for value in ["held", "behind it"] {
        send(&producer, 0, value);
    }
    let acknowledged = wall_millis();
    let (first, second) =
        (released.recv_timeout(PATIENCE).unwrap(), released.recv_timeout(PATIENCE).unwrap());
    assert!(first.at >= before + hold && second.at >= first.at);
    assert_eq!((&*first.topic, first.partition, first.base_offset, first.count), (TOPIC, 0, 0, 1));
    assert_eq!(second.base_offset, 1);
    let records = take(&consumer, 2);
    assert!(clock.now() >= second.at);
    assert_eq!(values(&records), ["held", "behind it"]);
    for record in records {
        assert!(record.timestamp().to_millis().unwrap() <= acknowledged);
    }
}

#[test]
fn releases_that_nobody_takes_are_counted() {
    let kafka = Running::with(1);
    let released = kafka.hooks.released(2);
    let producer = kafka.producer(&[]);
    for _ in 0..5 {
        send(&producer, 0, "x");
    }
    assert_eq!(released.try_iter().count(), 2);
    assert_eq!(kafka.hooks.released_dropped(), 3);
}

#[test]
fn a_stalled_broker_goes_on_where_it_was() {
    let kafka = Running::with(1);
    let producer = kafka.producer(&[]);
    send(&producer, 0, "before");
    kafka.hooks.stall();
    let record = FutureRecord::<str, str>::to(TOPIC).partition(0).payload("during");
    let mut delivery = producer.send_result(record).unwrap();
    let early = runtime()
        .block_on(async { tokio::time::timeout(Duration::from_millis(300), &mut delivery).await });
    assert!(early.is_err(), "answered while it was stalled");
    kafka.hooks.resume();
    runtime().block_on(delivery).unwrap().unwrap();
    assert_eq!(values(&take(&kafka.consumer(0, &[]), 2)), ["before", "during"]);
}

#[test]
fn old_records_go_when_memory_is_full() {
    let kafka = Running::new(Config {
        topics: vec![Topic::new(TOPIC, 2)],
        bytes_max: 60_000,
        partition_bytes_max: 40_000,
        ..Config::default()
    });
    let producer = kafka.producer(&[]);
    let value = "x".repeat(900);
    for number in 0..200 {
        send(&producer, number % 2, &value);
    }
    let consumer = kafka.consumer(0, &[]);
    let mut bytes = 0;
    for partition in 0..2 {
        let (low, high) = consumer.fetch_watermarks(TOPIC, partition, PATIENCE).unwrap();
        assert_eq!(high, 100);
        bytes += (high - low) * 900;
    }
    assert!((30_000..60_000).contains(&bytes), "{bytes} bytes of values kept");
    let error = loop {
        match consumer.poll(PATIENCE).expect("neither a record nor an error") {
            Ok(record) => panic!("offset {} below the start", record.offset()),
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("OffsetOutOfRange") || error.contains("AutoOffsetReset"), "{error}");
}

#[test]
fn offsets_are_found_by_time() {
    let kafka = Running::with(1);
    let producer = kafka.producer(&[]);
    let times: Vec<i64> = (0..5)
        .map(|_| {
            let time = send(&producer, 0, "x").to_millis().unwrap();
            while wall_millis() <= time {
                std::hint::spin_loop();
            }
            time
        })
        .collect();
    let consumer = kafka.consumer(0, &[]);
    let at = |time: i64| {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(TOPIC, 0, Offset::Offset(time)).unwrap();
        let found = consumer.offsets_for_times(wanted, PATIENCE).unwrap();
        found.elements()[0].offset()
    };
    for (offset, time) in (0..).zip(&times) {
        assert_eq!(at(*time), Offset::Offset(offset));
    }
    assert_eq!(at(times[0] - 1), Offset::Offset(0));
    assert_eq!(at(times[4] + 1), Offset::End);
}

/// A group member that has polled until `wanted` holds of its assignment.
fn settle(members: &[&BaseConsumer], wanted: impl Fn(&[BTreeSet<i32>]) -> bool) {
    let clock = Clock::system();
    let deadline = clock.now() + PATIENCE;
    loop {
        let shares: Vec<BTreeSet<i32>> = members
            .iter()
            .map(|member| {
                if let Some(record) = member.poll(Duration::from_millis(50)) {
                    record.unwrap();
                }
                let assignment = member.assignment().unwrap();
                assignment.elements().iter().map(TopicPartitionListElem::partition).collect()
            })
            .collect();
        if wanted(&shares) {
            return;
        }
        assert!(clock.now() < deadline, "the group did not settle: {shares:?}");
    }
}

#[test]
fn group_members_share_partitions_and_go_on_from_what_was_committed() {
    for strategy in ["range", "cooperative-sticky"] {
        let kafka = Running::with(4);
        let producer = kafka.producer(&[]);
        let member = || {
            let member: BaseConsumer = kafka
                .client(&[
                    ("group.id", "g"),
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    ("auto.offset.reset", "earliest"),
                    ("partition.assignment.strategy", strategy),
                    ("heartbeat.interval.ms", "100"),
                    ("session.timeout.ms", "6000"),
                ])
                .create()
                .unwrap();
            member.subscribe(&[TOPIC]).unwrap();
            member
        };
        let (one, two) = (member(), member());
        settle(&[&one, &two], |shares| {
            shares.iter().all(|share| share.len() == 2) && shares[0].is_disjoint(&shares[1])
        });
        for partition in 0..4 {
            send(&producer, partition, &format!("first {partition}"));
        }
        let mut seen = values(&take(&one, 2));
        seen.extend(values(&take(&two, 2)));
        seen.sort();
        assert_eq!(seen, ["first 0", "first 1", "first 2", "first 3"]);

        let mut offsets = TopicPartitionList::new();
        for partition in 0..4 {
            offsets.add_partition_offset(TOPIC, partition, Offset::Offset(1)).unwrap();
        }
        one.commit(&offsets, CommitMode::Sync).unwrap();
        drop(two);
        settle(&[&one], |shares| shares[0].len() == 4);
        drop(one);

        let next = member();
        settle(&[&next], |shares| shares[0].len() == 4);
        for partition in 0..4 {
            send(&producer, partition, &format!("second {partition}"));
        }
        let mut seen = values(&take(&next, 4));
        seen.sort();
        assert_eq!(seen, ["second 0", "second 1", "second 2", "second 3"]);
    }
}

#[test]
fn topics_are_created_described_grown_and_deleted() {
    let kafka = Running::new(Config::default());
    let (admin, options) = (kafka.admin(), AdminOptions::new());
    let topic = NewTopic::new("new", 2, TopicReplication::Fixed(1))
        .set("retention.ms", "60000")
        .set("message.timestamp.type", "CreateTime");
    let wrong = NewTopic::new("wrong", 2, TopicReplication::Fixed(1)).set("no.such.thing", "1");
    let created = runtime().block_on(admin.create_topics([&topic, &wrong], &options)).unwrap();
    assert_eq!(created[0], Ok("new".to_owned()));
    assert_eq!(created[1], Err(("wrong".to_owned(), RDKafkaErrorCode::InvalidConfig)));
    let grown = NewPartitions::new("new", 5);
    let grown = runtime().block_on(admin.create_partitions([&grown], &options)).unwrap();
    assert!(grown[0].is_ok());

    let specifier = ResourceSpecifier::Topic("new");
    let told = runtime().block_on(admin.describe_configs([&specifier], &options)).unwrap();
    let told = told[0].as_ref().unwrap();
    let told: BTreeMap<_, _> =
        told.entries.iter().map(|entry| (entry.name.as_str(), entry.value.as_deref())).collect();
    assert_eq!(told["retention.ms"], Some("60000"));
    assert_eq!(told["cleanup.policy"], Some("delete"));
    assert_eq!(told["message.timestamp.type"], Some("CreateTime"));

    let client: BaseConsumer = kafka.client(&[("group.id", "g")]).create().unwrap();
    let metadata = client.fetch_metadata(None, PATIENCE).unwrap();
    let names: Vec<_> =
        metadata.topics().iter().map(|t| (t.name().to_owned(), t.partitions().len())).collect();
    assert_eq!(names, [("new".to_owned(), 5)]);
    runtime().block_on(admin.delete_topics(&["new"], &options)).unwrap()[0].clone().unwrap();
    let metadata = client.fetch_metadata(Some("new"), PATIENCE).unwrap();
    let error = metadata.topics()[0].error().map(RDKafkaErrorCode::from);
    assert_eq!(error, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
}

#[test]
fn unknown_topics_are_created_only_where_that_is_wanted() {
    let defaults = TopicDefaults { partitions: 3, ..TopicDefaults::default() };
    let kafka = Running::new(Config { auto_create: Some(defaults), ..Config::default() });
    send(&kafka.producer(&[("allow.auto.create.topics", "true")]), 2, "x");
    assert_eq!(values(&take(&kafka.consumer(2, &[]), 1)), ["x"]);

    let kafka = Running::new(Config::default());
    let producer = kafka.producer(&[("topic.metadata.propagation.max.ms", "0")]);
    let refused = try_send(&producer, 0, "x");
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn only_loopback_and_valid_topics_are_accepted() {
    let bind = |config| runtime().block_on(Kafka::bind(config, Clock::system()));
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = bind(Config { listen, ..Config::default() }).unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    let topics = vec![Topic::new("a b", 1)];
    let error = bind(Config { topics, ..Config::default() }).unwrap_err();
    assert!(error.to_string().contains("\"a b\""), "{error}");
}

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(body);
    let mut frame = i32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(request);
    frame
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the other side ends the connection without an answer.
fn is_hung_up_on(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut stream = connect(address);
    let mut answer = Vec::new();
    match stream.write_all(bytes).and_then(|()| stream.read_to_end(&mut answer)) {
        Ok(length) => length == 0,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

#[test]
fn requests_of_absurd_size_close_the_connection() {
    let kafka = Running::with(1);
    let huge = i32::MAX.to_be_bytes();
    let requests = [
        [&huge[..], &[0, 0]].concat(),
        [&(-1_i32).to_be_bytes()[..], &[0; 4]].concat(),
        [&huge[..], &[0, 0, 0, 3, 1, 1]].concat(),
        // Arrays that claim two thousand million elements: Metadata 1 and 9, Fetch 4.
        frame(3, 1, &huge),
        frame(3, 9, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        frame(1, 4, &[&[0; 17][..], &huge].concat()),
    ];
    for request in requests {
        assert!(is_hung_up_on(kafka.address, &request), "{request:?}");
    }
    send(&kafka.producer(&[]), 0, "still there");
}

#[test]
fn a_client_that_is_too_new_learns_the_versions() {
    let kafka = Running::with(1);
    let mut stream = connect(kafka.address);
    stream.write_all(&frame(18, 99, &[0])).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..6], [0, 0, 0, 7, 0, 35], "correlation id, UNSUPPORTED_VERSION");
    let listed = answer[10..].chunks(6).any(|api| api == [0, 18, 0, 0, 0, 3]);
    assert!(listed, "ApiVersions 0 to 3 in {answer:?}");
}

#[test]
fn garbage_never_harms_the_broker() {
    let kafka = Running::with(1);
    let address = kafka.address;
    let body = proptest::collection::vec(
        prop_oneof![Just(0_u8), Just(1), Just(0xff), Just(0x7f), any::<u8>()],
        0..120,
    );
    let requests = proptest::collection::vec((0..40_i16, 0..13_i16, body), 1..4);
    proptest!(ProptestConfig::with_cases(2_000), |(requests in requests)| {
        for (key, version, body) in requests {
            let mut stream = TcpStream::connect(address).unwrap();
            // Nobody waits for an answer: some requests wait for others.
            let _ = stream.write_all(&frame(key, version, &body));
        }
    });
    send(&kafka.producer(&[]), 0, "still there");
    assert_eq!(values(&take(&kafka.consumer(0, &[]), 1)), ["still there"]);
}

/// Runs a program with something on its standard input, and gives what it prints.
fn run(command: &mut Command, input: &str, how_to_install: &str) -> String {
    let started =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| {
        panic!("{} does not run ({error}): {how_to_install}", command.get_program().display())
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kcat_produces_consumes_and_lists() {
    let kafka = Running::with(2);
    let kcat = |arguments: &str, input: &str| {
        let mut command = Command::new("kcat");
        command.args(["-b", &kafka.address.to_string()]).args(arguments.split(' '));
        run(&mut command, input, "install it with `apt-get install kcat`")
    };
    let before = wall_millis();
    kcat("-P -t t -p 1 -K : -z gzip", "a:1\nb:2\nc:3\n");
    kcat("-P -t t -p 1 -K : -X enable.idempotence=true", "d:4\n");
    let records = kcat("-C -t t -p 1 -o beginning -e -q -f %o|%k|%s|%T\\n", "");
    let mut lines = Vec::new();
    for line in records.lines() {
        let (record, time) = line.rsplit_once('|').unwrap();
        assert!(time.parse::<i64>().unwrap() >= before, "{line}");
        lines.push(record);
    }
    assert_eq!(lines, ["0|a|1", "1|b|2", "2|c|3", "3|d|4"]);
    let listed = kcat("-L", "");
    assert!(listed.contains("topic \"t\" with 2 partitions"), "{listed}");
    let end = kcat("-Q -t t:1:-1", "");
    assert!(end.contains("offset 4"), "{end}");
    let grouped = kcat("-G kcat -e -q -o beginning -f %s\\n t", "");
    assert_eq!(grouped.lines().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
}

#[test]
fn kafka_python_produces_and_consumes_alone_and_in_a_group() {
    let kafka = Running::with(4);
    let systems = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systems");
    let script = format!("{systems}/kafka-python.sh");
    let python = run(&mut Command::new(&script), "", "it needs bash, python3 and apt-get");
    let mut check = Command::new(python.trim());
    check.arg(format!("{systems}/kafka-python-check.py"));
    check.args([kafka.address.to_string().as_str(), TOPIC]);
    let printed = run(&mut check, "", "see tests/systems/kafka-python.sh");
    assert_eq!(printed.trim(), "kafka-python: 80 records");
}

/// Prints how long records take from `send` to the consumer, at two rates.
#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn latency() {
    for (rate, count) in [(200_u64, 1_000_u64), (10_000, 50_000)] {
        let kafka = Running::with(1);
        let consumer = kafka.consumer(0, &[("fetch.wait.max.ms", "500"), ("fetch.min.bytes", "1")]);
        let producer = kafka.producer(&[("queue.buffering.max.messages", "1000000")]);
        send(&producer, 0, "18446744073709551615");
        take(&consumer, 1);
        let clock = Clock::system();
        let tasks = Tasks::new();
        let start = clock.now() + Duration::from_millis(200);
        tasks
            .thread("send", move || {
                for slot in 0..count {
                    clock.sleep_until(start + Duration::from_nanos(slot * 1_000_000_000 / rate));
                    let value = clock.now().nanos().to_string();
                    let record = FutureRecord::<str, str>::to(TOPIC).partition(0).payload(&value);
                    drop(producer.send_result(record).unwrap());
                }
                rdkafka::producer::Producer::flush(&producer, PATIENCE).unwrap();
            })
            .unwrap();
        let mut latencies = Vec::new();
        while latencies.len() < usize::try_from(count).unwrap() {
            let record = consumer.poll(PATIENCE).unwrap().unwrap();
            let sent = std::str::from_utf8(record.payload().unwrap()).unwrap();
            latencies.push(clock.now().nanos() - sent.parse::<u64>().unwrap());
        }
        latencies.sort_unstable();
        let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1_000] / 1_000;
        println!("{rate}/s: p50 {} us, p99 {} us, p99.9 {} us", at(500), at(990), at(999));
    }
}

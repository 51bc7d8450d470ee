//! What it costs to consume: records of 128 bytes with real stamps, read from a topic that was filled
//! before, by the real reader, and booked as delivered. `benches/consumption.sh` runs it against a real
//! Apache Kafka and says more; without one the embedded Kafka gives the records out.
//!
//! The same poll loop with nothing behind it shows what librdkafka and its Rust client take for
//! themselves. Where the reader asks for headers, so does a second such loop: librdkafka parses them only
//! for who asks, and as long where there are none. What the reader's thread takes beyond it, and what the
//! books take, is ours.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a program that prints a table; what is not as it must be has to end it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use landfall::consume::{self, Partition, Properties, Word};
use landfall::correlate::{
    Carrier, Correlator, Lane, Limits, Observation, Outcome, Path, PathId, PublisherId, Qos,
    Roster, Router,
};
use landfall::embedded::kafka::{self, Kafka, Topic};
use landfall::shutdown::Tasks;
use landfall::stamp::{Format, PROPERTY, Run, Stamper};
use landfall::stats::Stats;
use landfall::telemetry::{Build, Telemetry};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATH: PathId = PathId(0);
const LANE: Lane = Lane::MqttKafka;
const SIZE: usize = 128;
const PARTITIONS: u32 = 4;
const PUBLISHERS: u32 = 100;
/// How long after each other messages were due, up to the moment when reading begins.
const APART: Duration = Duration::from_micros(10);
/// As in a run: how often the books are brought up to date, and how much may wait for that.
const TICK: Duration = Duration::from_millis(100);
const INBOX: usize = 262_144;
/// Whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(5);
const MEMORY: usize = 2 << 30;

/// What is behind the poll loop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Behind {
    Nothing,
    Headers,
    Books,
    Telemetry,
}

impl Behind {
    const ALL: [Self; 4] = [Self::Nothing, Self::Headers, Self::Books, Self::Telemetry];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "the poll loop alone",
            Self::Headers => "the poll loop, asked for headers",
            Self::Books => "reader, correlator, stats",
            Self::Telemetry => "the same, with /metrics",
        }
    }
}

/// Nanoseconds of processor time a record, by who took it, and records a second of time.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    library: f64,
    reader: f64,
    books: f64,
}

impl Figures {
    fn all(self) -> f64 {
        self.library + self.reader + self.books
    }
}

/// A filled topic.
struct Filled {
    brokers: String,
    topic: &'static str,
    records: u64,
    stamper: Stamper,
    /// Whether the stamp is in a header of each record, too.
    has_headers: bool,
    /// Whether the messages of the path bear it there, so that it is looked for.
    looks_for_headers: bool,
}

fn main() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
    };
    let (records, rounds) = (number("RECORDS", 1_000_000), number("ROUNDS", 3));
    let systems = Tasks::new();
    let (brokers, which) = match std::env::var("LANDFALL_BENCH_KAFKA") {
        Ok(brokers) => (brokers, "Apache Kafka"),
        Err(_) => (embedded(&systems), "the embedded Kafka"),
    };
    println!(
        "{records} records of {SIZE} bytes in {PARTITIONS} partitions of {which}, {rounds} rounds.\n"
    );
    println!(
        "| stamp in | behind the poll loop | records/s | CPU ns a record: librdkafka's threads | the reader's | the books' | all | records a CPU second | ours |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (topic, has_headers, looks_for_headers) in
        [("bench-value", false, false), ("bench-value", false, true), ("bench-header", true, true)]
    {
        let stamper = Stamper::new(b"bench", Run { epoch: 7, instance: 1 });
        let brokers = brokers.clone();
        let filled = Filled { brokers, topic, records, stamper, has_headers, looks_for_headers };
        // The second reads what the first has filled.
        if has_headers == looks_for_headers {
            filled.create();
            filled.fill();
        }
        let mut measured: BTreeMap<Behind, Vec<Figures>> = BTreeMap::new();
        for _ in 0..rounds {
            for behind in Behind::ALL {
                let figures = match behind {
                    Behind::Headers if !filled.looks_for_headers => continue,
                    Behind::Nothing => filled.poll_alone(false),
                    Behind::Headers => filled.poll_alone(true),
                    behind => filled.consume(behind),
                };
                measured.entry(behind).or_default().push(figures);
            }
        }
        print_rows(&filled, &measured);
    }
    systems.stop();
}

/// Medians, and of what is ours the least and the most, too.
fn print_rows(filled: &Filled, measured: &BTreeMap<Behind, Vec<Figures>>) {
    let stamp = match (filled.has_headers, filled.looks_for_headers) {
        (false, false) => "value",
        (false, true) => "value, looked for in headers",
        (true, _) => "header and value",
    };
    let alone = if filled.looks_for_headers { Behind::Headers } else { Behind::Nothing };
    let alone = &measured[&alone];
    for (behind, rounds) in measured {
        let of = |what: fn(&Figures) -> f64| median(rounds.iter().map(what).collect());
        // Against the poll loop of the same round.
        let ours = rounds.iter().zip(alone);
        let mut ours: Vec<f64> =
            ours.map(|(it, alone)| it.reader - alone.reader + it.books).collect();
        ours.sort_by(f64::total_cmp);
        let told = match behind {
            Behind::Nothing | Behind::Headers => "-".to_owned(),
            _ => format!(
                "{:.0} ({:.0} to {:.0})",
                median(ours.clone()),
                ours.first().unwrap(),
                ours.last().unwrap()
            ),
        };
        println!(
            "| {stamp} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {told} |",
            behind.name(),
            of(|it| it.rate),
            of(|it| it.library),
            of(|it| it.reader),
            of(|it| it.books),
            of(|it| it.all()),
            1e9 / of(|it| it.all()),
        );
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Starts the embedded Kafka on a thread of its own: its address.
fn embedded(tasks: &Tasks) -> String {
    let (tell, told) = channel();
    let group = tasks.clone();
    let serve = async move {
        let config = kafka::Config {
            topics: ["bench-value", "bench-header"]
                .map(|name| Topic::new(name, i32::try_from(PARTITIONS).unwrap()))
                .into(),
            bytes_max: MEMORY,
            partition_bytes_max: MEMORY,
            ..Default::default()
        };
        let kafka = Kafka::bind(config, Clock::system()).await.unwrap();
        tell.send(kafka.address().to_string()).unwrap();
        kafka.serve(group.clone()).await;
    };
    tasks
        .thread("kafka", move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve);
        })
        .unwrap();
    told.recv().unwrap()
}

impl Filled {
    /// Publisher and sequence of the n-th message.
    fn slot(n: u64) -> (u32, u64) {
        (u32::try_from(n % u64::from(PUBLISHERS)).unwrap(), n / u64::from(PUBLISHERS))
    }

    fn create(&self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let partitions = i32::try_from(PARTITIONS).unwrap();
        let topic = NewTopic::new(self.topic, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
        match &made[0] {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => (),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Produces the records; a publisher's all go to one partition.
    fn fill(&self) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("queue.buffering.max.messages", "100000")
            .set("linger.ms", "20")
            .create()
            .unwrap();
        let mut payload = Vec::new();
        for n in 0..self.records {
            let (publisher, sequence) = Self::slot(n);
            let identity = self.stamper.identity(0, publisher, sequence);
            let id = self.stamper.write(&mut payload, Format::Binary, SIZE, identity);
            let traceparent = id.traceparent();
            let partition = i32::try_from(publisher % PARTITIONS).unwrap();
            loop {
                let mut record = BaseRecord::<(), [u8]>::to(self.topic)
                    .payload(&payload[..])
                    .partition(partition);
                if self.has_headers {
                    let header = Header { key: PROPERTY, value: Some(&traceparent[..]) };
                    record = record.headers(OwnedHeaders::new().insert(header));
                }
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => panic!("{error}"),
                }
            }
        }
        producer.flush(PATIENCE).unwrap();
    }

    fn partitions(&self, offset: impl Fn(u32) -> i64) -> Vec<Partition> {
        let of = |partition| Partition {
            topic: self.topic.to_owned(),
            partition: i32::try_from(partition).unwrap(),
            offset: offset(partition),
        };
        (0..PARTITIONS).map(of).collect()
    }

    /// How many records a partition holds of this filling, which is the only one.
    fn held(&self, partition: u32) -> i64 {
        let of = (0..self.records.min(u64::from(PUBLISHERS)))
            .filter(|publisher| publisher % u64::from(PARTITIONS) == u64::from(partition));
        let records =
            of.map(|publisher| (self.records - publisher).div_ceil(u64::from(PUBLISHERS)));
        i64::try_from(records.sum::<u64>()).unwrap()
    }

    /// Reads all of it with nothing behind, set up as the reader is; asks for headers, too, or does not.
    fn poll_alone(&self, asks_for_headers: bool) -> Figures {
        let tasks = Tasks::new();
        let (tell, told) = channel();
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.brokers).set("group.id", "bench");
        settings.set("queued.max.messages.kbytes", "16384").set("fetch.wait.max.ms", "500");
        for (name, value) in consume::OWNED {
            settings.set(name, value);
        }
        let mut list = TopicPartitionList::new();
        for of in self.partitions(|_| 0) {
            list.add_partition_offset(&of.topic, of.partition, Offset::Offset(0)).unwrap();
        }
        let (records, stop) = (self.records, tasks.clone());
        let before = processor_times();
        let clock = Clock::system();
        tasks
            .thread("consume", move || {
                let consumer: BaseConsumer = settings.create().unwrap();
                consumer.assign(&list).unwrap();
                let (mut read, mut bytes, mut headers, mut first) = (0, 0, 0, None);
                while read < records {
                    let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
                    first.get_or_insert_with(|| clock.now());
                    let record = record.unwrap();
                    bytes += record.payload().map_or(0, <[u8]>::len);
                    if asks_for_headers {
                        headers += record.headers().map_or(0, Headers::count) as u64;
                    }
                    read += 1;
                }
                tell.send((first.unwrap(), clock.now(), bytes, headers)).unwrap();
                // Its time is read while it is there.
                while !stop.stopping() {
                    clock.sleep_until(clock.now() + Duration::from_millis(10));
                }
            })
            .unwrap();
        let (first, last, bytes, headers) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(bytes as u64, records * SIZE as u64);
        assert_eq!(headers, if asks_for_headers && self.has_headers { records } else { 0 });
        let figures = self.figures((&before, &processor_times()), last.saturating_since(first));
        end(&tasks);
        figures
    }

    /// Reads all of it with the real reader, and books it.
    fn consume(&self, behind: Behind) -> Figures {
        let (clock, tasks) = (Clock::system(), Tasks::new());
        let roster = Arc::new(self.roster());
        let router = Router::new(Arc::clone(&roster), 1, INBOX);
        let config = consume::Config {
            path: PATH,
            lane: LANE,
            brokers: self.brokers.clone(),
            topics: vec![self.topic.to_owned()],
            readers: 1,
            properties: Properties::default(),
            group: "bench".to_owned(),
            lookout: None,
            resumed: None,
        };
        let asked = clock.now();
        let books = Books::new(roster, self.records, asked, behind);
        let (words, heard) = sync_channel(4);
        let (notices, _nobody) = tokio::sync::mpsc::channel(1_000);
        words.send(Word::Assign(self.partitions(|_| 0))).unwrap();
        let highs = self.partitions(|partition| self.held(partition));
        words.send(Word::Watermarks { asked, now: asked, highs }).unwrap();
        let (tell, told) = channel();
        let before = processor_times();
        let (group, of_books, stamper) = (tasks.clone(), router.clone(), self.stamper.clone());
        tasks.thread("books", move || books.keep(&of_books, &group, &tell)).unwrap();
        let (member, group) = (consume::members(&config).remove(0), tasks.clone());
        tasks
            .thread("consume", move || {
                let eyes = (clock, &stamper, &router);
                consume::read(&config, eyes, (&heard, member), &notices, &group);
            })
            .unwrap();
        let took = self.await_end(&told);
        let figures = self.figures((&before, &processor_times()), took);
        end(&tasks);
        figures
    }

    /// Waits until all was booked; how long reading took.
    fn await_end(&self, told: &Receiver<Booked>) -> Duration {
        let booked = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(booked.delivered, self.records, "of all records");
        assert_eq!(booked.others, 0, "and nothing else");
        booked.last.saturating_since(booked.first)
    }

    fn roster(&self) -> Roster {
        let mut roster = Roster::default();
        let carriers = if self.looks_for_headers { &Carrier::ALL[..] } else { &[Carrier::Payload] };
        let path = Path {
            name: "bench".into(),
            lanes: vec![LANE],
            qos: vec![Qos::AtLeastOnce],
            carriers: carriers.to_vec(),
            deadline: PATIENCE,
        };
        roster.add(path, std::iter::repeat_n(Qos::AtLeastOnce, PUBLISHERS as usize));
        roster
    }

    fn figures(&self, (before, after): (&Times, &Times), took: Duration) -> Figures {
        let spent = |is_it: &dyn Fn(&str) -> bool| {
            let of = after.iter().filter(|((_, name), _)| is_it(name));
            let nanos = of.map(|(of, nanos)| nanos - before.get(of).copied().unwrap_or(0));
            nanos.sum::<u64>() as f64 / self.records as f64
        };
        Figures {
            rate: self.records as f64 / took.as_secs_f64(),
            library: spent(&|name| name.starts_with("rdk:")),
            reader: spent(&|name| name == "consume"),
            books: spent(&|name| name == "books"),
        }
    }
}

/// What became of all records, and when the first and the last were read.
struct Booked {
    first: Instant,
    last: Instant,
    delivered: u64,
    others: u64,
}

/// The books of a run, as far as they are of interest.
struct Books {
    correlator: Correlator,
    stats: Stats,
    telemetry: Option<Telemetry>,
    asked: Instant,
}

impl Books {
    /// With so many messages that were sent and have not come out.
    fn new(roster: Arc<Roster>, records: u64, at: Instant, behind: Behind) -> Self {
        let build = Build { version: "0".into(), commit: "0".into() };
        let telemetry = (behind == Behind::Telemetry).then(|| {
            let telemetry = Telemetry::new(&roster, &build, None);
            for slot in 0..PARTITIONS {
                telemetry.name_partition(PATH, slot, "bench", i32::try_from(slot).unwrap());
            }
            telemetry
        });
        let mut correlator = Correlator::new(Arc::clone(&roster), Limits::default());
        let (mut stats, mut events) = (Stats::new(roster), Vec::new());
        for n in 0..records {
            let (publisher, sequence) = Filled::slot(n);
            let publisher = PublisherId(publisher);
            let intended = at - APART * u32::try_from(records - n).unwrap();
            for observation in [
                Observation::Offered { publisher, sequence, intended },
                Observation::Sent { publisher, sequence, at: intended, held: false },
            ] {
                correlator.observe(&observation, &mut events);
            }
            stats.apply(&events);
            events.clear();
        }
        Self { correlator, stats, telemetry, asked: at }
    }

    fn keep(mut self, router: &Router, tasks: &Tasks, tell: &Sender<Booked>) {
        let (clock, inbox) = (Clock::system(), &router.shards()[0].receive);
        let (mut received, mut events) = (Vec::new(), Vec::new());
        let mut seen: Option<(Instant, Instant)> = None;
        while !tasks.stopping() {
            let now = clock.now();
            inbox.swap(&mut received);
            for observation in &received {
                self.correlator.observe(observation, &mut events);
            }
            self.stats.apply(&events);
            if let Some(telemetry) = &self.telemetry {
                telemetry.apply(&events);
            }
            events.clear();
            let times = |observation: &Observation| match observation {
                Observation::Received { at, .. } => Some(*at),
                _ => None,
            };
            if let Some(first) = received.iter().find_map(times) {
                let last = received.iter().rev().find_map(times).unwrap_or(first);
                seen = Some((seen.map_or(first, |(first, _)| first), last));
            }
            if self.correlator.caught_up(PATH, LANE) >= self.asked {
                let lane = self.stats.lane(PATH, Qos::AtLeastOnce, LANE);
                let delivered = lane.outcome(Outcome::Delivered);
                let others = lane.slots() - delivered + lane.copies() + lane.reordered;
                let (first, last) = seen.unwrap();
                // Fails only when it was told before.
                let _ = tell.send(Booked { first, last, delivered, others });
            }
            clock.sleep_until(now + TICK);
        }
    }
}

/// Nanoseconds on a processor of each thread, by its id and name.
type Times = BTreeMap<(u32, String), u64>;

fn processor_times() -> Times {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let time = |task: std::io::Result<std::fs::DirEntry>| {
        let directory = task.ok()?.path();
        let id = directory.file_name()?.to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(directory.join("comm")).ok()?.trim().to_owned();
        // Time on a processor, time waiting for one, and how often (proc(5)).
        let spent = std::fs::read_to_string(directory.join("schedstat")).ok()?;
        Some(((id, name), spent.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(time).collect()
}

/// Ends the threads of a round.
fn end(tasks: &Tasks) {
    tasks.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(tasks.finished());
}

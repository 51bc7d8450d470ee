//! What an arrival costs, whole and in parts, with a million messages in flight.
//!
//! `arrival` is all that a record of ours gives rise to between the Kafka client and the totals:
//! its stamp is decoded from property and payload and the whole payload is checked, an observation is
//! made of it with the place and times that the client gives, its slot is looked up, re-reads, order
//! and duplicates are judged, and what follows is counted and recorded in all four histograms (end
//! to end, service, append, fetch). `part` are its steps, and all of them with one histogram and no
//! counts; `message` is everything that the correlator sees of a message, from its slot to its arrival,
//! counted and closed, with no stamp to decode. `ledger` compares the look-up with the plain alternative, a `HashMap` of what is in flight.

#[path = "plant/roster.rs"]
mod plant;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use landfall::clock::{Clock, Instant};
use landfall::correlate::{
    Append, Correlator, Event, Lane, Limits, Observation, PathId, PublisherId, Qos, RecordPlace,
    Roster, Sink, Stage,
};
use landfall::stamp::{Format, Found, Reading, Run, Stamper};
use landfall::stats::{Latencies, Stats};
use landfall::telemetry::{Build, Telemetry};
use plant::roster;

/// Messages that were sent and have not come out.
const IN_FLIGHT: u64 = 1_000_000;
/// Arrivals that are looked at together, as on a busy correlator's tick.
const BATCH: usize = 1_000;
const PARTITIONS: u32 = 4;
const PATH: PathId = PathId(0);

/// How arrivals are timed: what was prepared goes in.
type Timed<'a> = &'a mut dyn FnMut(&mut World, &[Message], &[Observation]);

/// A record as the Kafka client hands it over.
struct Message {
    property: [u8; 55],
    payload: Vec<u8>,
    sink: Sink,
    at: Instant,
}

impl Message {
    /// What the consumer makes of it.
    fn observation(&self, found: Found) -> Observation {
        Observation::Received {
            path: PATH,
            stamped_path: PathId(found.identity.path),
            publisher: found.identity.publisher,
            sequence: found.identity.sequence,
            sink: self.sink,
            at: self.at,
            integrity: found.integrity,
            carriers: found.carriers,
            span: found.span,
        }
    }
}

/// A correlator with a million messages in flight, and what comes out next.
struct World {
    stamper: Stamper,
    format: Format,
    publishers: u32,
    roster: Arc<Roster>,
    correlator: Correlator,
    stats: Stats,
    inbox: Vec<Observation>,
    events: Vec<Event>,
    offered: u64,
    arrived: u64,
}

impl World {
    fn new(publishers: u32, format: Format) -> Self {
        let roster = Arc::new(roster(&[Lane::MqttKafka], publishers as usize));
        let mut world = Self {
            stamper: Stamper::new(b"plant-7", Run { epoch: 7, instance: 1 }),
            format,
            publishers,
            correlator: Correlator::new(Arc::clone(&roster), Limits::default()),
            stats: Stats::new(Arc::clone(&roster)),
            roster,
            inbox: Vec::new(),
            events: Vec::new(),
            offered: 0,
            arrived: 0,
        };
        world.refill();
        world
    }

    /// Publisher and sequence of the n-th message of all, and when it was due.
    fn slot(&self, number: u64) -> (PublisherId, u64, Instant) {
        let publisher = u32::try_from(number % u64::from(self.publishers)).unwrap_or(0);
        let intended = Instant::from_nanos(1_000_000_000 + number * 10_000);
        (PublisherId(publisher), number / u64::from(self.publishers), intended)
    }

    /// What is seen of the n-th message of all before it comes out.
    fn sending(&self, number: u64) -> [Observation; 3] {
        let (publisher, sequence, intended) = self.slot(number);
        let at = intended + Duration::from_micros(80);
        let (stage, reason) = (Stage::Puback, 0);
        [
            Observation::Offered { publisher, sequence, intended },
            Observation::Sent { publisher, sequence, at, held: false },
            Observation::Acknowledged { publisher, sequence, stage, reason, at },
        ]
    }

    /// Closes what came out and sends until there is a million in flight again.
    fn refill(&mut self) {
        self.correlator.advance(Instant::ZERO, &mut self.events);
        while self.offered < self.arrived + IN_FLIGHT {
            for observation in self.sending(self.offered) {
                self.correlator.observe(&observation, &mut self.events);
            }
            self.offered += 1;
            // What a million messages are is kept; what was said of them is not.
            self.events.clear();
        }
    }

    /// The next messages to come out, and what the consumer makes of them.
    fn next_batch(&self, count: usize) -> (Vec<Message>, Vec<Observation>) {
        let numbers = self.arrived..self.arrived + count as u64;
        let observed = |message: Message| {
            let observation = message.observation(decode(&self.stamper, &message));
            (message, observation)
        };
        numbers.map(|number| observed(self.message(number))).unzip()
    }

    fn message(&self, number: u64) -> Message {
        let (publisher, sequence, intended) = self.slot(number);
        let identity = self.stamper.identity(PATH.0, publisher.0, sequence);
        let mut payload = Vec::new();
        let id = self.stamper.write(&mut payload, self.format, 256, identity);
        let append = Append::LogAppendTime(intended + Duration::from_micros(900));
        let place = RecordPlace {
            slot: publisher.0 % PARTITIONS,
            offset: i64::try_from(number).unwrap_or(i64::MAX),
        };
        Message {
            property: id.traceparent(),
            payload,
            sink: Sink::Kafka { place, append },
            // Between 1 and 42 ms, all different.
            at: intended + Duration::from_nanos(1_000_000 + (number * 7_919) % 41_000_000),
        }
    }
}

/// Sends as many messages as come out, and books and closes all that is seen of them; how long that
/// takes.
fn whole_messages(world: &mut World, messages: u64) -> Duration {
    let clock = Clock::system();
    let (mut left, mut total) = (messages, Duration::ZERO);
    while left > 0 {
        let count = left.min(BATCH as u64);
        let (_, received) = world.next_batch(usize::try_from(count).unwrap_or(BATCH));
        let sending = (world.offered..world.offered + count).map(|number| world.sending(number));
        let observations: Vec<_> = sending
            .zip(received)
            .flat_map(|(sending, received)| sending.into_iter().chain([received]))
            .collect();
        world.events.clear();
        let start = clock.now();
        for observation in black_box(&observations) {
            world.correlator.observe(observation, &mut world.events);
        }
        world.correlator.advance(Instant::ZERO, &mut world.events);
        world.stats.apply(&world.events);
        total += clock.now().saturating_since(start);
        world.offered += count;
        world.arrived += count;
        left -= count;
    }
    total
}

fn decode(stamper: &Stamper, message: &Message) -> Found {
    match stamper.read(Some(&message.property), &message.payload) {
        Reading::Ours(found) => found,
        other => unreachable!("{other:?} of our own message"),
    }
}

/// Runs `timed` over so many arrivals and adds up its time; the million is made up in between.
fn measure(world: &mut World, arrivals: u64, timed: Timed<'_>) -> Duration {
    let clock = Clock::system();
    let (mut left, mut total) = (arrivals, Duration::ZERO);
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        let (messages, observations) = world.next_batch(count);
        world.events.clear();
        let start = clock.now();
        timed(world, black_box(&messages), black_box(&observations));
        total += clock.now().saturating_since(start);
        // Whatever was left out of the measurement is caught up on.
        world.events.clear();
        for observation in &observations {
            world.correlator.observe(observation, &mut world.events);
        }
        world.arrived += count as u64;
        world.refill();
        left -= count as u64;
    }
    total
}

fn whole(world: &mut World, messages: &[Message]) {
    judged(world, messages);
    world.stats.apply(&world.events);
}

/// The same with the end-to-end latency alone recorded, and nothing counted.
fn with_one_histogram(world: &mut World, messages: &[Message], latencies: &mut Latencies) {
    judged(world, messages);
    for event in &world.events {
        if let Event::Resolved { arrival: Some(arrival), .. } = event {
            latencies.record(arrival.end_to_end);
        }
    }
}

/// Takes in messages, first all of them and then what follows, as the program does.
fn judged(world: &mut World, messages: &[Message]) {
    let observed = messages.iter().map(|it| it.observation(decode(&world.stamper, it)));
    world.inbox.extend(observed);
    for observation in &world.inbox {
        world.correlator.observe(observation, &mut world.events);
    }
    world.inbox.clear();
}

fn arrivals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arrival");
    for (publishers, format) in
        [(4, Format::Json), (1_000, Format::Json), (4, Format::Binary), (1_000, Format::Binary)]
    {
        let mut world = World::new(publishers, format);
        let name = format!("{} publishers, {}", publishers, format.name());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                measure(&mut world, count, &mut |world, messages, _| whole(world, messages))
            });
        });
        let lane = world.stats.lane(PATH, Qos::AtLeastOnce, Lane::MqttKafka);
        assert_eq!(lane.slots(), lane.outcome(landfall::correlate::Outcome::Delivered));
        assert_eq!((lane.reordered, lane.copies()), (0, 0), "every arrival was a plain one");
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part");
    for format in [Format::Json, Format::Binary] {
        let mut world = World::new(4, format);
        group.bench_function(format!("decode, {}", format.name()), |bencher| {
            bencher.iter_custom(|count| {
                measure(&mut world, count, &mut |world, messages, _| {
                    for message in messages {
                        black_box(decode(&world.stamper, message));
                    }
                })
            });
        });
        let mut latencies = Latencies::default();
        group.bench_function(
            format!("decode, observe, one histogram, {}", format.name()),
            |bencher| {
                bencher.iter_custom(|count| {
                    measure(&mut world, count, &mut |world, messages, _| {
                        with_one_histogram(world, messages, &mut latencies);
                    })
                });
            },
        );
    }
    for publishers in [4, 1_000] {
        let mut world = World::new(publishers, Format::Binary);
        group.bench_function(format!("observe, {publishers} publishers"), |bencher| {
            bencher.iter_custom(|count| {
                measure(&mut world, count, &mut |world, _, observations| {
                    for observation in observations {
                        world.correlator.observe(observation, &mut world.events);
                    }
                })
            });
        });
    }
    let mut world = World::new(4, Format::Binary);
    let (_, observations) = world.next_batch(BATCH);
    let mut events = Vec::new();
    for observation in &observations {
        world.correlator.observe(observation, &mut events);
    }
    let per_arrival = events.len().div_ceil(BATCH);
    let clock = Clock::system();
    let batches = |count: u64, apply: &mut dyn FnMut(&[Event])| {
        let start = clock.now();
        for _ in 0..count.div_ceil(BATCH as u64) {
            apply(black_box(&events));
        }
        clock.now().saturating_since(start).mul_f64(rounding(count))
    };
    group.bench_function(format!("stats, {per_arrival} events"), |bencher| {
        let mut stats = Stats::new(Arc::clone(&world.roster));
        bencher.iter_custom(|count| batches(count, &mut |events| stats.apply(events)));
    });
    group.bench_function(format!("telemetry, {per_arrival} events"), |bencher| {
        let build = Build { version: "0".into(), commit: "0".into() };
        let telemetry = Telemetry::new(&world.roster, &build, None);
        telemetry.name_partition(PATH, 0, "mqtt-messages", 0);
        bencher.iter_custom(|count| batches(count, &mut |events| telemetry.apply(events)));
    });
    group.finish();
}

/// All that is seen of a message, from its slot to its arrival.
fn together(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    for publishers in [4, 1_000] {
        let mut world = World::new(publishers, Format::Binary);
        group.bench_function(format!("4 observations, {publishers} publishers"), |bencher| {
            bencher.iter_custom(|count| whole_messages(&mut world, count));
        });
        let publish = world.stats.publish(PATH, Qos::AtLeastOnce);
        let lane = world.stats.lane(PATH, Qos::AtLeastOnce, Lane::MqttKafka);
        assert_eq!(publish.acknowledged, lane.slots(), "each was acknowledged and came out");
    }
    group.finish();
}

/// What part of the whole batches that were measured was asked for.
#[expect(clippy::cast_precision_loss, reason = "counts of iterations")]
fn rounding(count: u64) -> f64 {
    count as f64 / (count.div_ceil(BATCH as u64) * BATCH as u64) as f64
}

/// The plain alternative to a ring a publisher: everything in flight in one map.
fn hash_map(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    for publishers in [4, 1_000] {
        let mut world = World::new(publishers, Format::Binary);
        let mut map: HashMap<(u32, u64), (Instant, Instant)> = (0..IN_FLIGHT)
            .map(|number| world.slot(number))
            .map(|(publisher, sequence, at)| ((publisher.0, sequence), (at, at)))
            .collect();
        group.bench_function(format!("HashMap, {publishers} publishers"), |bencher| {
            bencher.iter_custom(|count| {
                measure(&mut world, count, &mut |_, _, observations| {
                    for observation in observations {
                        let &Observation::Received { publisher, sequence, at, .. } = observation
                        else {
                            continue;
                        };
                        // Taken out, and the next one put in, so that there is a million again.
                        let found = map.remove(&(publisher, sequence));
                        let next = sequence + IN_FLIGHT / u64::from(publishers);
                        map.insert((publisher, next), (at, at));
                        black_box(found);
                    }
                })
            });
        });
    }
    group.finish();
}

/// Prints what a message in flight takes.
#[expect(clippy::cast_precision_loss, clippy::print_stdout, reason = "a figure for people")]
fn memory(_: &mut Criterion) {
    // Kept, so that the next one can't take what this one gives back.
    let mut worlds = Vec::new();
    for publishers in [4, 1_000] {
        let before = resident_bytes();
        let world = World::new(publishers, Format::Binary);
        let after = resident_bytes();
        let each = after.saturating_sub(before) as f64 / IN_FLIGHT as f64;
        println!("memory: {each:.1} bytes a message in flight, {publishers} publishers");
        worlds.push(world);
    }
}

/// Resident memory of this process (field 2 of `/proc/self/statm`, in pages of 4 KiB).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = memory, arrivals, parts, together, hash_map
}
criterion_main!(benches);

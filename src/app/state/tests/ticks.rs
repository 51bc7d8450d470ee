//! Room `app`: what may happen in the ticks of a run, for the tests of its state.

use super::*;

/// What happens in one tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Tick {
    pub(super) offers: Vec<(u32, Instant)>,
    pub(super) published: Vec<Observation>,
    pub(super) received: Vec<Observation>,
    pub(super) judged: Option<Instant>,
    pub(super) names: Vec<PartitionName>,
    pub(super) leaders: Vec<Leaders>,
}

fn moments() -> impl Strategy<Value = Instant> {
    (0_u64..200_000).prop_map(|millis| Instant::from_nanos(millis * 1_000_000))
}

fn published() -> impl Strategy<Value = Observation> {
    let publisher = || (0_u32..3).prop_map(PublisherId);
    let stage = prop_oneof![Just(Stage::Puback), Just(Stage::Pubrec), Just(Stage::Pubcomp)];
    let reason = prop_oneof![8 => Just(0_u8), 1 => Just(0x80)];
    prop_oneof![
        4 => (publisher(), 0_u64..12, moments())
            .prop_map(|(publisher, sequence, at)| Observation::Sent { publisher, sequence, at, held: false }),
        4 => (publisher(), 0_u64..12, stage, reason, moments()).prop_map(
            |(publisher, sequence, stage, reason, at)| Observation::Acknowledged {
                publisher, sequence, stage, reason, at,
            }
        ),
        1 => (publisher(), 0_u64..12).prop_map(|(publisher, sequence)| Observation::NotSent {
            publisher, sequence, cause: NotSent::QueueFull,
        }),
    ]
}

fn received() -> impl Strategy<Value = Observation> {
    let append = prop_oneof![
        moments().prop_map(Append::LogAppendTime),
        moments().prop_map(Append::CreateTime),
        Just(Append::None),
    ];
    let sink = prop_oneof![
        (0_u32..3, 0_i64..40, append).prop_map(|(slot, offset, append)| Sink::Kafka {
            place: RecordPlace { slot, offset },
            append,
        }),
        any::<bool>().prop_map(|resent| Sink::Mqtt { resent }),
    ];
    let lane = || prop_oneof![Just(Lane::MqttKafka), Just(Lane::MqttMqtt)];
    prop_oneof![
        8 => (0_u32..3, 0_u64..14, sink, moments())
            .prop_map(|(publisher, sequence, sink, at)| arrival(publisher, sequence, sink, at)),
        1 => (lane(), moments()).prop_map(|(lane, at)| Observation::CaughtUp { path: PATH, lane, at }),
        1 => (lane(), moments(), moments())
            .prop_map(|(lane, from, until)| Observation::Away { path: PATH, lane, from, until }),
        1 => lane().prop_map(|lane| Observation::Abreast { path: PATH, lane }),
        1 => (0_u32..9).prop_map(|count| Observation::Foreign { path: PATH, count }),
    ]
}

fn arrival(publisher: u32, sequence: u64, sink: Sink, at: Instant) -> Observation {
    Observation::Received {
        path: PATH,
        stamped_path: PATH,
        publisher,
        sequence,
        sink,
        at,
        integrity: Integrity::Intact,
        carriers: Carriers { property: true, payload: true },
        span: None,
    }
}

/// Partitions that are named, and who leads them.
fn told() -> impl Strategy<Value = (Vec<PartitionName>, Vec<Leaders>)> {
    let lane = Lane::MqttKafka;
    let name = (0_u32..3).prop_map(move |slot| PartitionName {
        path: PATH,
        lane,
        slot,
        topic: "t".into(),
        partition: i32::try_from(slot).unwrap(),
        from: 0,
    });
    let led = (0_i32..3, 0_u8..2).prop_map(|(partition, peer)| Led {
        topic: "t".into(),
        partition,
        peer: format!("kafka-{peer}:9092"),
    });
    let leaders =
        prop::collection::vec(led, 1..4).prop_map(move |led| Leaders { of: (PATH, lane), led });
    (prop::collection::vec(name, 0..3), prop::collection::vec(leaders, 0..2))
}

pub(super) fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    let offers = prop::collection::vec((0_u32..3, moments()), 0..4);
    let published = prop::collection::vec(published(), 0..8);
    let received = prop::collection::vec(received(), 0..8);
    let judged = prop::option::of(moments());
    let tick = (offers, published, received, judged, told()).prop_map(
        |(offers, published, received, judged, (names, leaders))| Tick {
            offers,
            published,
            received,
            judged,
            names,
            leaders,
        },
    );
    prop::collection::vec(tick, 1..25)
}

/// Numbers the slots that come due.
pub(super) fn numbered(ticks: Vec<Tick>) -> Vec<Tick> {
    let mut next = [0; 3];
    let number = |mut tick: Tick| {
        let offered = std::mem::take(&mut tick.offers).into_iter().map(|(publisher, intended)| {
            let sequence = next[publisher as usize];
            next[publisher as usize] += 1;
            Observation::Offered { publisher: PublisherId(publisher), sequence, intended }
        });
        tick.published = offered.chain(tick.published).collect();
        tick
    };
    ticks.into_iter().map(number).collect()
}

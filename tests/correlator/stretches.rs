//! What is timed beside the crossing itself: the handshake's steps, what the record's timestamp says,
//! how long a message was acknowledged and not in Kafka yet, and how far copies are apart.

use landfall::clock::Instant;
use landfall::correlate::{
    Append, Arrival, Copied, DuplicateCause, Elapsed, Event, Lane, Leg, Qos, RecordPlace, Sink,
    Stage,
};

use super::{PATH, Story, received, seconds};

/// A record at an offset, stamped in milliseconds.
fn record(offset: i64, append: Append) -> Sink {
    Sink::Kafka { place: RecordPlace { slot: 0, offset }, append }
}

fn appended(offset: i64, at: Instant) -> Sink {
    record(offset, Append::LogAppendTime(at))
}

impl Story {
    fn received(&mut self, publisher: u32, sequence: u64, sink: Sink, at: u64) {
        self.tell(received(publisher, sequence, sink, seconds(at)));
    }

    fn arrival(&self) -> Option<Arrival> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Resolved { arrival, .. } => *arrival,
            _ => None,
        })
    }

    fn gaps(&self) -> Vec<i64> {
        let gaps = self.events.iter().filter_map(|event| match event {
            Event::DurabilityGap { gap, .. } => Some(gap.nanos()),
            Event::Resolved { arrival: Some(arrival), .. } => arrival.durability_gap.nanos(),
            _ => None,
        });
        gaps.collect()
    }

    fn copies(&self) -> Vec<(DuplicateCause, Option<Copied>)> {
        let copies = self.events.iter().filter_map(|event| match event {
            Event::Duplicate { cause, copy, .. } => Some((*cause, *copy)),
            _ => None,
        });
        copies.collect()
    }

    fn timed(&self, leg: Leg) -> Vec<i64> {
        let legs = self.events.iter().filter_map(|event| match event {
            Event::Timed { leg: of, nanos, .. } if *of == leg => Some(*nanos),
            _ => None,
        });
        legs.collect()
    }
}

/// A whole number of seconds in nanoseconds, to within the 256 that moments are kept to.
fn about(nanos: i64, expected: i64) {
    assert!((nanos - expected * 1_000_000_000).abs() <= 512, "{nanos} for {expected} s");
}

#[test]
fn the_durability_gap_is_from_the_acknowledgement_to_the_append() {
    let mut story = Story::new();
    for sequence in 0..3 {
        story.offered(1, sequence, 1);
        story.sent(1, sequence, 1);
    }
    story.answered(1, 0, (Stage::Puback, 0), 2);
    story.received(1, 0, appended(0, seconds(4)), 5);
    assert_eq!(story.gaps().len(), 1, "known when it comes out");
    about(story.gaps()[0], 2);

    story.received(1, 1, appended(1, seconds(3)), 5);
    assert_eq!(story.gaps().len(), 1, "not acknowledged yet, as far as is known");
    story.answered(1, 1, (Stage::Puback, 0), 2);
    assert_eq!(story.gaps().len(), 2, "known when the acknowledgement is heard of");
    about(story.gaps()[1], 1);

    story.answered(1, 2, (Stage::Puback, 0), 5);
    story.received(1, 2, appended(2, seconds(3)), 5);
    assert_eq!(story.gaps()[2], 0, "nothing could be lost");
}

#[test]
fn a_message_that_was_given_up_had_the_longest_gap() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.answered(1, 0, (Stage::Puback, 0), 2);
    story.judged(7);
    story.received(1, 0, appended(0, seconds(40)), 41);
    about(story.gaps()[0], 38);
    let of_its_leader =
        |event: &Event| matches!(event, Event::DurabilityGap { gap, .. } if gap.slot == Some(0));
    assert!(story.events.iter().any(of_its_leader), "who books it can correct it");
    let late = story.events.iter().find_map(|event| match event {
        Event::LateRecovery { end_to_end, .. } => *end_to_end,
        _ => None,
    });
    about(late.unwrap(), 40);
}

#[test]
fn without_acknowledgement_or_append_time_there_is_no_gap() {
    let mut story = Story::new();
    for publisher in [0, 1] {
        story.offered(publisher, 0, 1);
        story.sent(publisher, 0, 1);
    }
    story.received(0, 0, appended(0, seconds(3)), 4);
    story.answered(1, 0, (Stage::Puback, 0), 2);
    story.received(1, 0, record(1, Append::CreateTime(seconds(3))), 4);
    assert!(story.gaps().is_empty());
    let arrival = story.arrival().unwrap();
    let legs = [arrival.create, arrival.append, arrival.fetch];
    let [create, append, fetch] = legs.map(Elapsed::nanos);
    about(create.unwrap(), 2);
    assert_eq!((append, fetch), (None, None), "a bridge's clock says nothing of Kafka");
}

#[test]
fn a_subscriber_that_gets_a_message_after_kafka_tells_no_second_gap() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.answered(1, 0, (Stage::Puback, 0), 2);
    story.received(1, 0, appended(0, seconds(4)), 5);
    story.received(1, 0, Sink::Mqtt { resent: false }, 6);
    let resolved = story.events.iter().filter(|event| matches!(event, Event::Resolved { .. }));
    assert_eq!((resolved.count(), story.gaps().len()), (2, 1));
}

#[test]
fn both_steps_of_a_handshake_are_timed() {
    let mut story = Story::new();
    story.offered(2, 0, 1);
    story.sent(2, 0, 1);
    story.answered(2, 0, (Stage::Pubrec, 0), 3);
    story.answered(2, 0, (Stage::Pubrec, 0), 4);
    story.answered(2, 0, (Stage::Pubcomp, 0), 6);
    story.answered(2, 0, (Stage::Pubcomp, 0), 7);
    let (received, complete) = (story.timed(Leg::PublishRec), story.timed(Leg::PublishAck));
    assert_eq!((received.len(), complete.len()), (1, 1), "once, whatever is repeated");
    about(received[0], 2);
    about(complete[0], 5);
}

#[test]
fn copies_are_counted_and_their_spread_is_known_after_the_slot_was_closed() {
    let mut story = Story::new();
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.received(1, 0, appended(0, seconds(2)), 2);
    story.received(1, 0, appended(1, seconds(3)), 3);
    story.answered(1, 0, (Stage::Puback, 0), 3);
    story.judged(4);
    assert_eq!(story.correlator.open_outcomes(), 1, "the other lane's");
    story.received(1, 0, Sink::Mqtt { resent: false }, 4);
    story.judged(5);
    assert_eq!(story.correlator.open_outcomes(), 0);
    story.received(1, 0, appended(2, seconds(9)), 9);
    story.received(1, 0, Sink::Mqtt { resent: true }, 10);
    let copies = story.copies();
    let expected = [
        (DuplicateCause::Pipeline, 2, 1),
        (DuplicateCause::Pipeline, 3, 7),
        (DuplicateCause::Resent, 2, 6),
    ];
    assert_eq!(copies.len(), expected.len());
    for ((cause, copy), (why, count, spread)) in copies.into_iter().zip(expected) {
        let copy = copy.unwrap();
        assert_eq!((cause, copy.count), (why, count));
        about(copy.spread, spread);
    }
    story.books(Qos::AtLeastOnce);
    let lane = |lane| story.stats.lane(PATH, Qos::AtLeastOnce, lane);
    let kafka = lane(Lane::MqttKafka);
    assert_eq!((kafka.doubled, kafka.copies_max, kafka.copies()), (1, 3, 2));
    assert_eq!(kafka.spread.count(), 2);
}

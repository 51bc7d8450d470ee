//! A loss in Kafka is announced only behind a second look.

use landfall::correlate::{Append, Event, Lane, Observation, Outcome, Qos, Stage};

use super::{PATH, Story, correlator, seconds};
use landfall::correlate::Limits;

/// A message sent at 1 s and acknowledged at 2 s is missing: everything before 7 s was read.
fn doubtful() -> Story {
    let (correlator, stats) = correlator(Limits::default());
    let mut story = Story { correlator: correlator.confirming(), stats, events: Vec::new() };
    story.offered(1, 0, 1);
    story.sent(1, 0, 1);
    story.answered(1, 0, (Stage::Puback, 0), 2);
    story.judged(7);
    story
}

impl Story {
    fn looked_again(&mut self, from: u64, at: u64) {
        let (from, at) = (seconds(from), seconds(at));
        self.tell(Observation::LookedAgain { path: PATH, lane: Lane::MqttKafka, from, at });
    }

    fn found(&mut self, append: Append) {
        let (publisher, sequence) = (1, 0);
        let stamped_path = PATH;
        self.tell(Observation::Found {
            path: PATH,
            lane: Lane::MqttKafka,
            stamped_path,
            publisher,
            sequence,
            append,
            at: seconds(7),
        });
    }

    fn missing_since(&self) -> Option<landfall::clock::Instant> {
        self.correlator.missing_since(PATH, Lane::MqttKafka)
    }

    /// What became of the message, and how often a loss was announced without a second look.
    fn end(&mut self) -> (Option<Outcome>, u64) {
        let outcomes = self.books(Qos::AtLeastOnce).outcomes;
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcomes[outcome.index()] == 1);
        (outcome, self.stats.path(PATH).unconfirmed)
    }
}

#[test]
fn a_loss_is_announced_when_a_second_look_found_nothing() {
    let mut story = doubtful();
    assert_eq!(story.missing_since(), Some(seconds(1)));
    assert_eq!(story.end(), (None, 0));
    story.looked_again(2, 7);
    story.judged(8);
    assert_eq!(story.end(), (None, 0), "that look began behind the message");
    story.looked_again(1, 5);
    story.judged(9);
    assert_eq!(story.end(), (None, 0), "that look ended before the deadline");
    story.looked_again(1, 7);
    story.judged(10);
    assert_eq!(story.end(), (Some(Outcome::AckedLost), 0));
    assert_eq!(story.missing_since(), None);
}

#[test]
fn what_is_found_was_missed_by_the_probe_and_has_no_latency() {
    let cases = [
        (Append::LogAppendTime(seconds(3)), Outcome::Delivered),
        (Append::LogAppendTime(seconds(9)), Outcome::Late),
        (Append::CreateTime(seconds(3)), Outcome::Unresolved),
        (Append::None, Outcome::Unresolved),
    ];
    for (append, outcome) in cases {
        let mut story = doubtful();
        story.judged(11);
        story.found(append);
        story.found(append);
        story.looked_again(1, 7);
        story.judged(12);
        let timed = |event: &Event| matches!(event, Event::Resolved { arrival: Some(_), .. });
        assert!(!story.events.iter().any(timed));
        assert_eq!(story.end(), (Some(outcome), 0));
        assert_eq!(story.stats.path(PATH).missed, 1);
    }
}

#[test]
fn what_is_found_ahead_of_the_reader_is_neither_missed_nor_lost() {
    let mut story = doubtful();
    let append = Append::LogAppendTime(seconds(7));
    story.found(append);
    story.looked_again(1, 7);
    story.correlator.advance(seconds(8), &mut story.events);
    assert_eq!(story.end(), (None, 0), "it is there, and the reader may not have been");
    assert_eq!(story.missing_since(), None, "nobody has to look once more");
    story.tell(super::received(1, 0, super::kafka(0), seconds(8)));
    let timed = |event: &Event| matches!(event, Event::Resolved { arrival: Some(_), .. });
    assert!(story.events.iter().any(timed));
    assert_eq!(story.end(), (Some(Outcome::Late), 0));
    assert_eq!(story.stats.path(PATH).missed, 0);
    assert_eq!(story.books(Qos::AtLeastOnce).duplicates, [0, 0, 0]);
}

#[test]
fn what_was_seen_in_kafka_is_not_called_lost_at_a_stop_either() {
    let mut story = doubtful();
    story.found(Append::LogAppendTime(seconds(7)));
    let mut events = Vec::new();
    story.correlator.finish(&mut events);
    story.events.append(&mut events);
    assert_eq!(story.end(), (Some(Outcome::Unresolved), 0));
}

#[test]
fn what_came_out_meanwhile_is_not_lost_and_not_found() {
    let mut story = doubtful();
    story.tell(super::received(1, 0, super::kafka(0), seconds(8)));
    story.found(Append::None);
    story.looked_again(1, 7);
    story.judged(10);
    assert_eq!(story.end(), (Some(Outcome::Late), 0));
    assert_eq!(story.stats.path(PATH).missed, 0);
}

#[test]
fn a_second_look_that_never_comes_is_waited_for_two_minutes() {
    let mut story = doubtful();
    story.judged(6 + 120);
    assert_eq!(story.end(), (None, 0));
    story.judged(6 + 121);
    assert_eq!(story.end(), (Some(Outcome::AckedLost), 1));
}

#[test]
fn a_stop_does_not_wait_for_a_second_look() {
    let mut story = doubtful();
    let mut events = Vec::new();
    story.correlator.finish(&mut events);
    story.events.append(&mut events);
    assert_eq!(story.end(), (Some(Outcome::AckedLost), 1), "it was acknowledged and is not there");
}

//! Room `app`: what of leases and of the leaders' clocks outlives a pause, a process, or neither.

use super::*;
use crate::correlate::Leg;

#[test]
fn behind_a_pause_publishers_go_on_on_leases_that_are_kept() {
    let (roster, scratch, leases) = (roster(), tempfile::tempdir().unwrap(), leases());
    let directory = Directory::open(scratch.path()).unwrap();
    let process = Process::new(&roster);
    let mut recorder = recorder_of(Arc::clone(&leases), &directory, &process, &roster);
    let two = vec![PublisherId(0), PublisherId(1)];
    let tick = |ready: Vec<PublisherId>, recorder: &mut Recorder| {
        let news = News { ready, ..News::default() };
        recorder.record((&[], &[]), None, news, &process.correlator).unwrap();
    };
    tick(two.clone(), &mut recorder);
    assert_eq!(leases.ends(), [16, 100, 0]);
    recorder.suspend().unwrap();
    assert!(directory.load(|_| false).unwrap().is_none(), "nothing that would mislead");
    // Nobody grants it, and nobody waits.
    leases.await_grant(PublisherId(1), 100, || {});
    recorder.note(News { ready: vec![PublisherId(2)], ..News::default() });

    let ready = recorder.resume(process.holdings()).unwrap();
    assert_eq!(ready, [0, 1, 2].map(PublisherId), "each that has begun, or is about to");
    tick(ready, &mut recorder);
    assert_eq!(leases.ends(), [16, 200, 16]);
    let ours = owner("boot", b"key", &roster);
    let state = take_up(&load(&directory), &ours, &roster, Clock::system()).unwrap();
    assert_eq!(state.first, [16, 200, 16], "behind all that was given out");
}

#[test]
fn what_is_known_of_a_leaders_clock_outlives_the_process_and_not_the_machine() {
    let (roster, scratch) = (roster(), tempfile::tempdir().unwrap());
    let directory = Directory::open(scratch.path()).unwrap();
    let mut process = Process::new(&roster);
    let mut recorder = recorder(&directory, &process, &roster);
    let publisher = PublisherId(1);
    let led = Led { topic: "t".into(), partition: 0, peer: "kafka:9092".into() };
    let tick = Tick {
        names: vec![name(0, 0)],
        leaders: vec![Leaders { of: (PATH, Lane::MqttKafka), led: vec![led] }],
        published: vec![
            Observation::Offered { publisher, sequence: 0, intended: at(1) },
            Observation::Sent { publisher, sequence: 0, at: at(1), held: false },
        ],
        // Its leader's clock is an hour ahead.
        received: vec![Observation::Received {
            path: PATH,
            stamped_path: PATH,
            publisher: 1,
            sequence: 0,
            sink: Sink::Kafka {
                place: RecordPlace { slot: 0, offset: 0 },
                append: Append::LogAppendTime(at(3_602)),
            },
            at: at(3),
            integrity: Integrity::Intact,
            carriers: Carriers { property: true, payload: true },
            span: None,
        }],
        ..Tick::default()
    };
    process.record(&tick, &mut recorder).unwrap();
    process.live(&tick);
    let known = |clocks: &Clocks| clocks.known(Some(PATH), at(4));
    assert_eq!(known(&process.clocks).len(), 1);
    let stored = load(&directory);
    for (boot, is_known) in [("boot", true), ("another", false)] {
        let owner = owner(boot, b"key", &roster);
        let state = take_up(&stored, &owner, &roster, Clock::system()).unwrap();
        let expected = if is_known { known(&process.clocks) } else { Vec::new() };
        assert_eq!(known(&state.clocks), expected, "{boot}");
        let append = |stats: &Stats| {
            let leg = &stats.publish(PATH, Qos::AtLeastOnce).legs[Leg::Append.index()];
            (leg.count(), leg.quantile_nanos(1.0))
        };
        assert_eq!(append(&state.stats), append(&process.stats), "{boot}: its leg is corrected");
        assert!(append(&state.stats).1.unwrap() < 3_000_000_000, "{boot}");
    }
}

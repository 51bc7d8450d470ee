//! A header whose name is no text, which any producer can send, neither ends the thread that reads nor hides
//! the stamp behind it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "functions of tests are tests")]

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use landfall::clock::Clock;
use landfall::consume::{self, Partition, Properties, Word};
use landfall::correlate::{Carrier, Lane, Observation, Path, PathId, Qos, Roster, Router};
use landfall::embedded::kafka::Topic;
use landfall::shutdown::Tasks;
use landfall::stamp::{Carriers, Format, PROPERTY, Run, Stamper};

#[path = "support/embedded.rs"]
#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
mod embedded;

const PATH: PathId = PathId(0);
const LANE: Lane = Lane::MqttKafka;
const TOPIC: &str = "named";
/// Whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Produces a stamped record with these headers by a client that takes any bytes for a name.
fn produce(address: &str, value: &[u8], headers: &[Vec<u8>]) {
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", address, "-t", TOPIC, "-p", "0"]).stdin(Stdio::piped());
    for header in headers {
        kcat.arg("-H").arg(OsStr::from_bytes(header));
    }
    let mut kcat = kcat.spawn().expect("kcat: install it with `apt-get install kcat`");
    kcat.stdin.take().unwrap().write_all(value).unwrap();
    assert!(kcat.wait().unwrap().success());
}

#[test]
fn a_header_whose_name_is_no_text_is_passed_over() {
    let systems = embedded::Systems::start(vec![Topic::new(TOPIC, 1)]);
    let address = systems.kafka.to_string();
    let (clock, tasks) = (Clock::system(), Tasks::new());
    let stamper = Stamper::new(b"headers", Run { epoch: 7, instance: 1 });
    let mut roster = Roster::default();
    let path = Path {
        name: TOPIC.into(),
        lanes: vec![LANE],
        qos: vec![Qos::AtLeastOnce],
        carriers: Carrier::ALL.to_vec(),
        deadline: PATIENCE,
    };
    roster.add(path, [Qos::AtLeastOnce]);
    for sequence in 0..2 {
        let (identity, mut value) = (stamper.identity(0, 0, sequence), Vec::new());
        let id = stamper.write(&mut value, Format::Json, 256, identity);
        let ours = [PROPERTY.as_bytes(), b"=", &id.traceparent()].concat();
        produce(&address, &value, &[b"\xff\xfe=1".to_vec(), ours]);
    }

    let router = Router::new(Arc::new(roster), 1, 1_000);
    let config = consume::Config {
        path: PATH,
        lane: LANE,
        brokers: address,
        topics: vec![TOPIC.into()],
        readers: 1,
        properties: Properties::default(),
        group: "headers".into(),
        lookout: None,
        resumed: None,
    };
    let (words, heard) = sync_channel(1);
    let of = Partition { topic: TOPIC.into(), partition: 0, offset: 0 };
    words.send(Word::Assign(vec![of])).unwrap();
    let (member, reading) = (consume::members(&config).remove(0), tasks.clone());
    let (notices, _) = tokio::sync::mpsc::channel(1_000);
    let eyes = router.clone();
    tasks
        .thread("consume", move || {
            consume::read(&config, (clock, &stamper, &eyes), (&heard, member), &notices, &reading);
        })
        .unwrap();

    let (mut batch, mut came) = (Vec::new(), Vec::new());
    let end = clock.now() + PATIENCE;
    while came.len() < 2 {
        assert!(clock.now() < end, "{came:?}");
        router.shards()[0].receive.swap(&mut batch);
        came.extend(batch.iter().filter_map(|observation| match observation {
            Observation::Received { sequence, carriers, .. } => Some((*sequence, *carriers)),
            _ => None,
        }));
        clock.sleep_until(clock.now() + Duration::from_millis(20));
    }
    tasks.stop();
    let both = Carriers { property: true, payload: true };
    assert_eq!(came, [(0, both), (1, both)]);
}

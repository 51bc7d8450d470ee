//! The real systems of the integration tests: that they start, carry a message, and come back.

#[path = "support/systems.rs"]
mod systems;

use std::io::Write as _;
use std::process::{Command, Stdio};

use systems::{Kafka, Mosquitto, kcat_consume};

/// Whether the process still runs; one that has ended but was not yet collected does not.
fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn mosquitto_carries_a_message_and_ends_when_dropped() {
    let mut broker = Mosquitto::start(&[]);
    let address = broker.address.clone();
    let first = broker.pid;
    broker.kill();
    assert!(!runs(first));
    broker.restart();
    assert_eq!(broker.address, address);
    assert!(runs(broker.pid) && broker.pid != first);

    let port = broker.port().to_owned();
    let client = |program: &str| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", "a/b", "-q", "1"]);
        command
    };
    // Retained, so that nothing hangs on who is first.
    let published = client("mosquitto_pub").args(["-r", "-m", "landfall"]).status().unwrap();
    assert!(published.success());
    let received = client("mosquitto_sub").args(["-C", "1", "-W", "30"]).output().unwrap();
    assert_eq!(received.stdout, b"landfall\n", "{received:?}");

    let last = broker.pid;
    drop(broker);
    assert!(!runs(last));
}

#[test]
fn kafka_keeps_binary_records_over_a_kill_and_ends_when_dropped() {
    let mut broker = Kafka::start(&[]);
    broker.topic("landing", 2, &[("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(kcat_consume(&broker.address, "landing"), []);

    let value = b"line\nwith, = \0 and \xff".as_slice();
    let mut producer = Command::new("kcat")
        .args(["-P", "-b", &broker.address, "-t", "landing", "-p", "1", "-k", "key\n"])
        .args(["-H", "traceparent=00-01-02", "-H", "other=1", "-D", "\\x01"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    producer.stdin.take().unwrap().write_all(value).unwrap();
    assert!(producer.wait().unwrap().success());

    let records = kcat_consume(&broker.address, "landing");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.partition, record.offset), (1, 0));
    assert!(record.timestamp_millis > 1_700_000_000_000, "{record:?}");
    assert_eq!(record.key.as_deref(), Some(b"key\n".as_slice()));
    assert_eq!(record.value.as_deref(), Some(value));
    assert_eq!(
        record.headers,
        [("traceparent".to_owned(), b"00-01-02".to_vec()), ("other".to_owned(), b"1".to_vec())]
    );

    let (address, first) = (broker.address.clone(), broker.pid);
    broker.kill();
    assert!(!runs(first));
    broker.restart();
    assert_eq!(broker.address, address);
    assert_eq!(kcat_consume(&broker.address, "landing"), records);

    let last = broker.pid;
    drop(broker);
    assert!(!runs(last));
}

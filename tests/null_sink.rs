//! The null sink with clients that are not ours: everything is answered, and counted once.
#![expect(clippy::panic, reason = "the functions that the tests share fail them too")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use landfall::embedded::null::NullSink;
use landfall::shutdown::Tasks;

const MESSAGES: u16 = 500;
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// Waits until the sink has taken so many messages.
async fn taken(sink: &NullSink, messages: u64) {
    within("messages", async {
        while sink.taken().messages < messages {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A client of one version with 500 messages of every QoS, some of them larger than what is read at once,
/// and all that clients say beside it.
macro_rules! client {
    ($name:ident, $($module:tt)+) => {
        async fn $name(sink: &NullSink, id: &str) {
            use $($module)+::mqttbytes::QoS;
            use $($module)+::{AsyncClient, Event, Incoming, MqttOptions};
            let address = sink.address();
            let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
            options.set_keep_alive(Duration::from_secs(5));
            let (client, mut events) = AsyncClient::new(options, 10_000);
            client.subscribe("a/#", QoS::ExactlyOnce).await.unwrap();
            for number in 0..MESSAGES {
                let payload = vec![b'.'; if number % 100 == 7 { 9_000 } else { 16 }];
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    client.publish("a/b", qos, false, payload.clone()).await.unwrap();
                }
            }
            client.unsubscribe("a/#").await.unwrap();
            let (mut acknowledged, mut completed, mut granted) = (0, 0, 0);
            within("answers", async {
                while (acknowledged, completed, granted) != (MESSAGES, MESSAGES, 2) {
                    match events.poll().await.unwrap() {
                        Event::Incoming(Incoming::PubAck(_)) => acknowledged += 1,
                        Event::Incoming(Incoming::PubComp(_)) => completed += 1,
                        Event::Incoming(Incoming::SubAck(_) | Incoming::UnsubAck(_)) => granted += 1,
                        _ => (),
                    }
                }
                // Nothing else is said until it is time for a sign of life.
                while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PingResp { .. })) {}
                client.disconnect().await.unwrap();
                while events.poll().await.is_ok() {}
            })
            .await;
        }
    };
}

mod v4 {
    pub(crate) use rumqttc::mqttbytes;
    pub(crate) use rumqttc::{AsyncClient, Event, Incoming, MqttOptions};
}

mod v5 {
    pub(crate) use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions, mqttbytes};
}

client!(version_4, v4);
client!(version_5, v5);

#[tokio::test]
async fn every_message_of_both_versions_is_answered_and_counted_once() {
    let tasks = Tasks::new();
    let sink = NullSink::start(2, &tasks).unwrap();
    tokio::join!(version_4(&sink, "four"), version_5(&sink, "five"));
    let all = 2 * 3 * u64::from(MESSAGES);
    taken(&sink, all).await;
    let taken = sink.taken();
    assert_eq!((taken.messages, taken.connections, taken.refused), (all, 2, 0));
    assert!(taken.bytes > 2 * 3 * 5 * 9_000, "{taken:?}");
    assert!(sink.cpu() > Duration::ZERO);
    tasks.stop();
    within("the threads end", tasks.finished()).await;
}

#[tokio::test]
async fn who_does_not_read_its_answers_is_not_read_from() {
    let tasks = Tasks::new();
    let sink = NullSink::start(1, &tasks).unwrap();
    let mut stream = TcpStream::connect(sink.address()).unwrap();
    stream.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'c']).unwrap();
    stream.set_nonblocking(true).unwrap();
    // Pings until nothing more is taken: the answers to those that were read find no room.
    let (pings, mut asked) = ([0xC0, 0].repeat(32_768), 0);
    loop {
        match stream.write(&pings[asked % 2..]) {
            Ok(written) => asked += written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                match stream.write(&pings[asked % 2..]) {
                    Ok(written) => asked += written,
                    Err(_) => break,
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    let held_back = asked as u64 - sink.taken().bytes.saturating_sub(15);
    assert!(held_back > 0, "everything was read although no answer was");
    // Every whole ping is answered once somebody reads.
    stream.set_nonblocking(false).unwrap();
    let (mut answers, mut read) = (vec![0; 65_536], 0);
    while read < 4 + asked / 2 * 2 {
        read += stream.read(&mut answers).unwrap();
    }
    stream.shutdown(Shutdown::Both).unwrap();
    tasks.stop();
    within("the thread ends", tasks.finished()).await;
    assert_eq!((read, sink.taken().refused), (4 + asked / 2 * 2, 0));
}

#[tokio::test]
async fn what_is_no_mqtt_is_shown_out() {
    let tasks = Tasks::new();
    let sink = NullSink::start(1, &tasks).unwrap();
    let mut stream = TcpStream::connect(sink.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let ended = stream.read(&mut [0; 10]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let after = sink.taken();
    assert_eq!((after.messages, after.connections, after.refused), (0, 1, 1));
    tasks.stop();
    within("the thread ends", tasks.finished()).await;
}

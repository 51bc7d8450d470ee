//! The embedded MQTT broker with real clients, and the reference bridge between it and Kafka.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions that the tests share fail them too"
)]

mod embedded_broker {
    pub(crate) mod clients;
    pub(crate) mod kafka;
    pub(crate) mod proxy;
}

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use embedded_broker::clients::{Carried, Client, publish_v4, subscribe_v4};
use embedded_broker::kafka::{Kafka, Record};
use embedded_broker::proxy;
use landfall::clock::Clock;
use landfall::embedded::bridge::{self, Acknowledge, Bridge, Counters, Mqtt};
use landfall::embedded::mqtt::{Broker, Config};
use landfall::shutdown::Tasks;
use rumqttc::v5::mqttbytes::QoS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

async fn broker(tasks: &Tasks) -> SocketAddr {
    Broker::start(&Config::default(), tasks).await.unwrap().address()
}

fn message(publisher: usize, number: usize) -> String {
    format!("{publisher}/{number}")
}

/// What three publishers of so many messages have sent, each message once.
fn sent_by_three(count: usize) -> BTreeMap<String, usize> {
    (0..3).flat_map(|publisher| (0..count).map(move |n| (message(publisher, n), 1))).collect()
}

fn tally<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, usize> {
    payloads.fold(BTreeMap::new(), |mut counts, payload| {
        *counts.entry(String::from_utf8(payload.to_vec()).unwrap()).or_default() += 1;
        counts
    })
}

async fn publish_by_three(address: SocketAddr, topic: &str, qos: QoS, count: usize, tasks: &Tasks) {
    let mut publishers = Vec::new();
    for publisher in 0..3 {
        publishers.push(Client::connect(address, &format!("p{publisher}-{qos:?}"), tasks).await);
    }
    for number in 0..count {
        for (publisher, client) in publishers.iter().enumerate() {
            let payload = message(publisher, number);
            client
                .publish(topic, qos, payload.as_bytes(), &[("b", "2"), ("a", "1"), ("b", "")])
                .await;
        }
    }
    for mut client in publishers {
        within("acknowledgements", client.acknowledged(qos, count)).await;
    }
}

#[tokio::test]
async fn version_5_messages_of_every_qos_arrive_once_with_their_properties() {
    let tasks = Tasks::new();
    let address = broker(&tasks).await;
    for qos in EVERY_QOS {
        let topic = format!("plant/{qos:?}");
        let mut subscriber = Client::connect(address, &format!("s-{qos:?}"), &tasks).await;
        subscriber.subscribe(&topic, qos).await;
        publish_by_three(address, &topic, qos, 500, &tasks).await;
        let arrived: Vec<Carried> = within("messages", subscriber.receive(1_500)).await;
        assert_eq!(tally(arrived.iter().map(|m| &m.payload[..])), sent_by_three(500), "{qos:?}");
        for message in arrived {
            assert_eq!(message.qos, qos);
            let kept: Vec<_> =
                message.properties[..3].iter().map(|(k, v)| (&k[..], &v[..])).collect();
            assert_eq!(kept, [("b", "2"), ("a", "1"), ("b", "")]);
        }
    }
    tasks.stop();
    within("the end", tasks.finished()).await;
}

#[tokio::test]
async fn version_3_1_1_shares_the_port_and_reaches_version_5() {
    let tasks = Tasks::new();
    let address = broker(&tasks).await;
    for (qos, old) in EVERY_QOS.into_iter().zip([
        rumqttc::QoS::AtMostOnce,
        rumqttc::QoS::AtLeastOnce,
        rumqttc::QoS::ExactlyOnce,
    ]) {
        let topic = format!("old/{qos:?}");
        let mut five = Client::connect(address, &format!("five-{qos:?}"), &tasks).await;
        five.subscribe(&topic, qos).await;
        let mut four = subscribe_v4(address, &format!("four-{qos:?}"), &topic, old, &tasks).await;
        let payloads: Vec<String> = (0..500).map(|n| message(0, n)).collect();
        publish_v4(address, &format!("pub-{qos:?}"), &topic, old, payloads.clone(), &tasks).await;
        let expected: BTreeMap<_, _> = payloads.into_iter().map(|payload| (payload, 1)).collect();
        let arrived = within("version 5", five.receive(500)).await;
        assert_eq!(tally(arrived.iter().map(|m| &m.payload[..])), expected);
        let mut arrived = Vec::new();
        while arrived.len() < 500 {
            arrived.push(within("version 3.1.1", four.recv()).await.unwrap());
        }
        assert_eq!(tally(arrived.iter().map(|payload| &payload[..])), expected);
    }
    tasks.stop();
    within("the end", tasks.finished()).await;
}

#[tokio::test]
async fn a_stopped_broker_is_gone_and_a_second_one_takes_its_port() {
    let tasks = Tasks::new();
    let group = tasks.child();
    let address = broker(&group).await;
    let client = Client::connect(address, "c", &tasks).await;
    let taken = Broker::start(&Config { listen: address, ..Config::default() }, &group).await;
    let refusal = taken.unwrap_err().to_string();
    assert!(refusal.contains(&address.to_string()), "{refusal}");
    group.stop();
    within("the broker's end", group.finished()).await;
    within("the connection's end", client.closed()).await;
    assert!(TcpStream::connect(address).await.is_err());
    let again = Broker::start(&Config { listen: address, ..Config::default() }, &tasks).await;
    assert_eq!(again.unwrap().address(), address);
    tasks.stop();
}

fn crossing(mqtt: SocketAddr, kafka: &Kafka) -> bridge::Config {
    bridge::Config {
        mqtt: Mqtt {
            host: mqtt.ip().to_string(),
            port: mqtt.port(),
            credentials: None,
            client_id: "bridge".to_owned(),
            filter: "plant/#".to_owned(),
            qos_max: QoS::ExactlyOnce,
        },
        kafka_brokers: kafka.brokers(),
        kafka_topic: Kafka::TOPIC.to_owned(),
        kafka_properties: Vec::new(),
        acknowledge: Acknowledge::AfterKafka,
        max_in_flight: 1_000,
    }
}

/// Runs a bridge until `tasks` stop; returns when it has subscribed.
async fn run(config: bridge::Config, tasks: &Tasks) -> Counters {
    let bridge = Bridge::new(config, Clock::system()).unwrap();
    let (counters, mut subscribed) = (bridge.counters(), bridge.subscribed());
    let group = tasks.clone();
    tasks.spawn(async move { bridge.run(&group).await.unwrap() });
    within("the subscription", subscribed.wait_for(|yes| *yes)).await.unwrap();
    counters
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_bridge_carries_key_value_and_headers_of_every_qos() {
    let tasks = Tasks::new();
    let kafka = Kafka::start();
    let mqtt = broker(&tasks).await;
    let counters = run(crossing(mqtt, &kafka), &tasks).await;
    for qos in EVERY_QOS {
        publish_by_three(mqtt, &format!("plant/{qos:?}"), qos, 200, &tasks).await;
    }
    let records: Vec<Record> = within("records", kafka.read(1_800, &tasks)).await;
    for qos in EVERY_QOS {
        let topic = format!("plant/{qos:?}");
        let of_qos = records.iter().filter(|record| record.key == topic.as_bytes());
        assert_eq!(tally(of_qos.map(|record| &record.value[..])), sent_by_three(200), "{qos:?}");
    }
    for record in &records {
        let headers: Vec<_> = record.headers.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        assert_eq!(headers[..3], [("b", &b"2"[..]), ("a", b"1"), ("b", b"")]);
        assert_eq!(headers.last(), Some(&("content-type", &b"text/plain"[..])));
    }
    until("the last report", || counters.produced() == 1_800).await;
    assert_eq!((counters.received(), counters.failed(), counters.reconnects()), (1_800, 0, 0));
    tasks.stop();
    within("the end", tasks.finished()).await;
}

#[tokio::test]
async fn cut_connections_lose_nothing_and_double_nothing_of_qos_2() {
    let tasks = Tasks::new();
    let kafka = Kafka::start();
    let mqtt = broker(&tasks).await;
    let proxy = proxy::start(mqtt, &tasks).await;
    let crossed = tasks.child();
    let counters = run(crossing(proxy, &kafka), &crossed).await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publish_by_three(mqtt, &format!("plant/{qos:?}"), qos, 100, &tasks).await;
    }
    let expected = sent_by_three(100);
    let arrived = |records: &[Record], qos: QoS| {
        let topic = format!("plant/{qos:?}");
        tally(records.iter().filter(|r| r.key == topic.as_bytes()).map(|r| &r.value[..]))
    };
    let mut records = Vec::new();
    while !EVERY_QOS[1..].iter().all(|qos| arrived(&records, *qos).len() == expected.len()) {
        records = within("all records", kafka.read(records.len() + 1, &tasks)).await;
    }
    crossed.stop();
    within("the bridge's end", crossed.finished()).await;
    records = kafka.read(usize::try_from(counters.produced()).unwrap(), &tasks).await;
    assert!(arrived(&records, QoS::AtLeastOnce).keys().eq(expected.keys()));
    assert_eq!(arrived(&records, QoS::ExactlyOnce), expected);
    assert!(counters.reconnects() >= 3, "only {} reconnects", counters.reconnects());
    tasks.stop();
    within("the end", tasks.finished()).await;
}

#[tokio::test]
async fn a_message_that_kafka_refuses_does_not_stop_the_stream() {
    let tasks = Tasks::new();
    let kafka = Kafka::start();
    let mqtt = broker(&tasks).await;
    let counters = run(
        bridge::Config {
            kafka_properties: vec![("message.max.bytes".to_owned(), "2000".to_owned())],
            max_in_flight: 1,
            ..crossing(mqtt, &kafka)
        },
        &tasks,
    )
    .await;
    let mut client = Client::connect(mqtt, "p", &tasks).await;
    client.publish("plant/large", QoS::AtLeastOnce, &[0; 5_000], &[]).await;
    client.publish("plant/small", QoS::AtLeastOnce, b"fits", &[]).await;
    within("acknowledgements", client.acknowledged(QoS::AtLeastOnce, 2)).await;
    let records = within("the record", kafka.read(1, &tasks)).await;
    assert_eq!(records[0].value, b"fits");
    assert_eq!(counters.failed(), 1);
    tasks.stop();
}

/// Reads one MQTT packet of less than 130 bytes: its first byte, and what follows the length.
async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let kind = stream.read_u8().await.unwrap();
    let mut body = vec![0; stream.read_u8().await.unwrap().into()];
    stream.read_exact(&mut body).await.unwrap();
    (kind, body)
}

/// A broker resends the PUBREL of an exchange that an earlier connection or process left half done.
#[tokio::test]
async fn a_release_of_an_unknown_message_is_answered() {
    const CONNACK_SESSION_PRESENT: [u8; 5] = [0x20, 3, 1, 0, 0];
    const PUBREL_7: [u8; 4] = [0x62, 2, 0, 7];
    const PUBCOMP: u8 = 0x70;
    let tasks = Tasks::new();
    let kafka = Kafka::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = Bridge::new(crossing(listener.local_addr().unwrap(), &kafka), Clock::system());
    let group = tasks.clone();
    tasks.spawn(async move { bridge.unwrap().run(&group).await.unwrap() });
    within("both answers", async {
        for connection in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            packet(&mut stream).await;
            stream.write_all(&CONNACK_SESSION_PRESENT).await.unwrap();
            stream.write_all(&PUBREL_7).await.unwrap();
            let mut answer = packet(&mut stream).await;
            while answer.0 != PUBCOMP {
                answer = packet(&mut stream).await;
            }
            assert_eq!(answer.1[..2], [0, 7], "on connection {connection}");
        }
    })
    .await;
    tasks.stop();
    within("the end", tasks.finished()).await;
}

/// What the next bridge on the same session is sent of a message that Kafka never had.
async fn resent_after(acknowledge: Acknowledge) -> u64 {
    let tasks = Tasks::new();
    let kafka = Kafka::start();
    let mqtt = broker(&tasks).await;
    let first = tasks.child();
    kafka.down();
    let config = bridge::Config { acknowledge, ..crossing(mqtt, &kafka) };
    let counters = run(config.clone(), &first).await;
    let client = Client::connect(mqtt, "p", &tasks).await;
    client.publish("plant/x", QoS::AtLeastOnce, b"precious", &[]).await;
    until("receipt", || counters.received() == 1).await;
    first.stop();
    within("the first bridge's end", first.finished()).await;
    kafka.up();
    let counters = run(config, &tasks).await;
    client.publish("plant/x", QoS::AtLeastOnce, b"marker", &[]).await;
    let records = within("the marker", async {
        let mut records = kafka.read(1, &tasks).await;
        while records.iter().all(|record| record.value != b"marker") {
            records = kafka.read(records.len() + 1, &tasks).await;
        }
        records
    })
    .await;
    let precious = records.iter().filter(|record| record.value == b"precious").count() as u64;
    assert_eq!(counters.received(), precious + 1);
    tasks.stop();
    precious
}

#[tokio::test]
async fn what_kafka_never_had_is_sent_again_unless_the_acknowledgement_lied() {
    assert_eq!(resent_after(Acknowledge::AfterKafka).await, 1);
    assert_eq!(resent_after(Acknowledge::BeforeKafka).await, 0);
}

#[test]
fn a_bridge_without_room_is_refused() {
    let kafka = Kafka::start();
    let config = bridge::Config {
        max_in_flight: 0,
        ..crossing(SocketAddr::from(([127, 0, 0, 1], 1)), &kafka)
    };
    assert!(
        Bridge::new(config, Clock::system()).unwrap_err().to_string().contains("max_in_flight")
    );
}

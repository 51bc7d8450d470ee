//! MQTT clients that note what they are told.

use std::net::SocketAddr;
use std::time::Duration;

use landfall::shutdown::Tasks;
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::mpsc;

/// A message as a subscriber got it.
pub(crate) struct Carried {
    pub(crate) qos: QoS,
    pub(crate) payload: Vec<u8>,
    pub(crate) properties: Vec<(String, String)>,
}

enum Told {
    Connected,
    Subscribed,
    Message(Carried),
    Acknowledged,
    Closed,
}

/// An MQTT 5 client.
pub(crate) struct Client {
    client: AsyncClient,
    told: mpsc::UnboundedReceiver<Told>,
}

fn nodelay() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, id: &str, tasks: &Tasks) -> Self {
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_network_options(nodelay()).set_outgoing_inflight_upper_limit(50);
        options.set_keep_alive(Duration::from_mins(1));
        let (client, mut events) = AsyncClient::new(options, 100);
        let (tell, told) = mpsc::unbounded_channel();
        tasks.spawn(async move {
            loop {
                let news = match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => Told::Connected,
                    Ok(Event::Incoming(Packet::SubAck(_))) => Told::Subscribed,
                    Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => {
                        Told::Acknowledged
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => Told::Message(Carried {
                        qos: publish.qos,
                        payload: publish.payload.to_vec(),
                        properties: publish.properties.map_or_else(Vec::new, |p| p.user_properties),
                    }),
                    Ok(_) => continue,
                    Err(_) => {
                        let _ = tell.send(Told::Closed);
                        return;
                    }
                };
                if tell.send(news).is_err() {
                    return;
                }
            }
        });
        let mut client = Self { client, told };
        assert!(matches!(client.told.recv().await, Some(Told::Connected)));
        client
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.unwrap();
        assert!(matches!(self.told.recv().await, Some(Told::Subscribed)));
    }

    pub(crate) async fn publish(
        &self,
        topic: &str,
        qos: QoS,
        payload: &[u8],
        user: &[(&str, &str)],
    ) {
        let user_properties =
            user.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let properties = PublishProperties {
            user_properties,
            content_type: Some("text/plain".to_owned()),
            ..PublishProperties::default()
        };
        let payload = payload.to_vec();
        self.client.publish_with_properties(topic, qos, false, payload, properties).await.unwrap();
    }

    /// Waits for so many acknowledgements, which QoS 0 does not have.
    pub(crate) async fn acknowledged(&mut self, qos: QoS, count: usize) {
        let expected = if qos == QoS::AtMostOnce { 0 } else { count };
        for _ in 0..expected {
            assert!(matches!(self.told.recv().await, Some(Told::Acknowledged)));
        }
    }

    pub(crate) async fn receive(&mut self, count: usize) -> Vec<Carried> {
        let mut carried = Vec::new();
        while carried.len() < count {
            match self.told.recv().await {
                Some(Told::Message(message)) => carried.push(message),
                _ => panic!("told something else after {} messages", carried.len()),
            }
        }
        carried
    }

    pub(crate) async fn closed(mut self) {
        while !matches!(self.told.recv().await, Some(Told::Closed) | None) {}
    }
}

fn v4(address: SocketAddr, id: &str) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
    let mut options = rumqttc::MqttOptions::new(id, address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_mins(1));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 100);
    events.set_network_options(nodelay());
    (client, events)
}

/// Subscribes with MQTT 3.1.1; the payloads come out of the channel.
pub(crate) async fn subscribe_v4(
    address: SocketAddr,
    id: &str,
    topic: &str,
    qos: rumqttc::QoS,
    tasks: &Tasks,
) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let (client, mut events) = v4(address, id);
    client.subscribe(topic, qos).await.unwrap();
    while !matches!(
        events.poll().await.unwrap(),
        rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_))
    ) {}
    let (tell, told) = mpsc::unbounded_channel();
    tasks.spawn(async move {
        // The event loop ends with its last client.
        let _client = client;
        while let Ok(event) = events.poll().await {
            if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) = event
                && tell.send(publish.payload.to_vec()).is_err()
            {
                return;
            }
        }
    });
    told
}

/// Publishes with MQTT 3.1.1, and goes on in the background.
pub(crate) async fn publish_v4(
    address: SocketAddr,
    id: &str,
    topic: &str,
    qos: rumqttc::QoS,
    payloads: Vec<String>,
    tasks: &Tasks,
) {
    let (client, mut events) = v4(address, id);
    tasks.spawn(async move { while events.poll().await.is_ok() {} });
    for payload in payloads {
        client.publish(topic, qos, false, payload).await.unwrap();
    }
    let stopping = tasks.clone();
    tasks.spawn(async move {
        stopping.stopped().await;
        drop(client);
    });
}

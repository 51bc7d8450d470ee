//! Room `wire`: MQTT 3.1.1 through `rumqttc`.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions,
    Packet, Publish, QoS, Request, SubscribeReasonCode,
};
use secrecy::ExposeSecret;

use super::{Endpoint, Failure, Happening, Leftover, Message, Outgoing, QueueFull, Session};
use crate::correlate::{Qos, Stage};

pub(super) fn connect(endpoint: &Endpoint, session: &Session) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(&session.client_id, &endpoint.host, endpoint.port);
    let packet_bytes_max = usize::try_from(session.packet_bytes_max).unwrap_or(usize::MAX);
    options
        .set_keep_alive(session.keep_alive)
        .set_clean_session(false)
        .set_max_packet_size(packet_bytes_max, packet_bytes_max)
        .set_inflight(session.inflight)
        .set_pending_throttle(Duration::ZERO);
    if let Some((user, password)) = &endpoint.credentials {
        options.set_credentials(user, password.expose_secret());
    }
    let (client, mut events) = AsyncClient::new(options, session.queue);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<(), QueueFull> {
    let qos = level(message.qos);
    // The library takes a vector here; a payload that nobody shares is not copied for it.
    let payload: Vec<u8> = message.payload.into();
    client.try_publish(message.topic, qos, false, payload).map_err(|_| QueueFull)
}

pub(super) fn subscribe(client: &AsyncClient, filter: &str, qos: Qos) -> Result<(), QueueFull> {
    client.try_subscribe(filter, level(qos)).map_err(|_| QueueFull)
}

pub(super) async fn poll(events: &mut EventLoop) -> Result<Happening, Failure> {
    match events.poll().await {
        Ok(event) => Ok(happening(event)),
        Err(error) => Err(failure(&error)),
    }
}

pub(super) fn leftover(events: &mut EventLoop) -> Leftover {
    let untold = std::mem::take(&mut events.state.events).into_iter().map(happening);
    // The library forgets this one at a reconnect, and would wait for its turn for ever.
    if let Some(mut parked) = events.state.collision.take() {
        parked.pkid = 0;
        events.pending.push_front(Request::Publish(parked));
    }
    let unsent = |request: &&Request| matches!(request, Request::Publish(Publish { pkid: 0, .. }));
    Leftover::of(untold, events.pending.iter().filter(unsent).count())
}

fn happening(event: Event) -> Happening {
    let answered = |packet_id, stage| Happening::Answered { packet_id, stage, reason: 0 };
    match event {
        Event::Outgoing(rumqttc::Outgoing::Publish(packet_id)) => Happening::Sent(packet_id),
        Event::Outgoing(rumqttc::Outgoing::PingReq) => Happening::Ping,
        Event::Outgoing(_) => Happening::Other,
        Event::Incoming(packet) => match packet {
            Packet::ConnAck(ack) => Happening::Connected {
                session_present: ack.session_present,
                packet_bytes_max: None,
            },
            Packet::PubAck(ack) => answered(ack.pkid, Stage::Puback),
            Packet::PubRec(ack) => answered(ack.pkid, Stage::Pubrec),
            Packet::PubComp(ack) => answered(ack.pkid, Stage::Pubcomp),
            Packet::Publish(publish) => Happening::Message(Message {
                payload: publish.payload,
                property: None,
                resent: publish.dup,
            }),
            Packet::SubAck(ack) => Happening::Subscribed(
                ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
            ),
            Packet::PingResp => Happening::Pong,
            _ => Happening::Other,
        },
    }
}

const fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn failure(error: &ConnectionError) -> Failure {
    Failure(match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refused CONNECT: {}", refusal(*code))
        }
        ConnectionError::NetworkTimeout => "no answer to CONNECT in time".to_owned(),
        other => other.to_string(),
    })
}

fn refusal(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::NotAuthorized => {
            "not authorised; check mqtt.username and mqtt.password_file".to_owned()
        }
        ConnectReturnCode::BadUserNamePassword => {
            "bad user name or password; check mqtt.username and mqtt.password_file".to_owned()
        }
        other => format!("{other:?}"),
    }
}

//! Room `wire`: MQTT 5 through `rumqttc::v5`.

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Packet, PubAckReason, PubCompReason, PubRecReason, Publish,
    PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Request};
use secrecy::ExposeSecret;

use super::{
    Endpoint, Failure, Happening, Leftover, Message, Outgoing, QueueFull, SESSION_EXPIRY, Session,
};
use crate::correlate::{Qos, Stage};
use crate::stamp::PROPERTY;

pub(super) fn connect(endpoint: &Endpoint, session: &Session) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(&session.client_id, &endpoint.host, endpoint.port);
    let expiry = u32::try_from(SESSION_EXPIRY.as_secs()).unwrap_or(u32::MAX);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_keep_alive(session.keep_alive)
        .set_clean_start(false)
        .set_session_expiry_interval(Some(expiry))
        .set_max_packet_size(Some(session.packet_bytes_max))
        .set_outgoing_inflight_upper_limit(session.inflight)
        .set_pending_throttle(Duration::ZERO)
        .set_network_options(network);
    if let Some((user, password)) = &endpoint.credentials {
        options.set_credentials(user, password.expose_secret());
    }
    AsyncClient::new(options, session.queue)
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<(), QueueFull> {
    let qos = level(message.qos);
    let sent = match message.property {
        Some(value) => {
            let properties = PublishProperties {
                user_properties: vec![(PROPERTY.to_owned(), value)],
                ..PublishProperties::default()
            };
            let payload = message.payload;
            client.try_publish_with_properties(message.topic, qos, false, payload, properties)
        }
        None => client.try_publish(message.topic, qos, false, message.payload),
    };
    sent.map_err(|_| QueueFull)
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
    let answered = |packet_id, stage, reason| Happening::Answered { packet_id, stage, reason };
    match event {
        Event::Outgoing(rumqttc::Outgoing::Publish(packet_id)) => Happening::Sent(packet_id),
        Event::Outgoing(rumqttc::Outgoing::PingReq) => Happening::Ping,
        Event::Outgoing(_) => Happening::Other,
        Event::Incoming(packet) => match packet {
            Packet::ConnAck(ack) => Happening::Connected {
                session_present: ack.session_present,
                packet_bytes_max: ack.properties.and_then(|properties| properties.max_packet_size),
            },
            Packet::PubAck(ack) => answered(ack.pkid, Stage::Puback, puback_code(ack.reason)),
            Packet::PubRec(ack) => answered(ack.pkid, Stage::Pubrec, pubrec_code(ack.reason)),
            Packet::PubComp(ack) => answered(ack.pkid, Stage::Pubcomp, pubcomp_code(ack.reason)),
            Packet::Publish(publish) => Happening::Message(message(publish)),
            Packet::SubAck(ack) => Happening::Subscribed(
                ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
            ),
            Packet::PingResp(_) => Happening::Pong,
            _ => Happening::Other,
        },
    }
}

fn message(publish: Publish) -> Message {
    let properties = publish.properties.unwrap_or_default();
    let stamp = properties.user_properties.into_iter().find(|(name, _)| name == PROPERTY);
    Message {
        payload: publish.payload,
        property: stamp.map(|(_, value)| value),
        resent: publish.dup,
    }
}

const fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// MQTT 5, table 3-4.
const fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

/// MQTT 5, table 3-5.
const fn pubrec_code(reason: PubRecReason) -> u8 {
    match reason {
        PubRecReason::Success => 0x00,
        PubRecReason::NoMatchingSubscribers => 0x10,
        PubRecReason::UnspecifiedError => 0x80,
        PubRecReason::ImplementationSpecificError => 0x83,
        PubRecReason::NotAuthorized => 0x87,
        PubRecReason::TopicNameInvalid => 0x90,
        PubRecReason::PacketIdentifierInUse => 0x91,
        PubRecReason::QuotaExceeded => 0x97,
        PubRecReason::PayloadFormatInvalid => 0x99,
    }
}

/// MQTT 5, table 3-7. The broker had taken the message at PUBREC, so that an unknown packet id here
/// refuses nothing.
const fn pubcomp_code(reason: PubCompReason) -> u8 {
    match reason {
        PubCompReason::Success | PubCompReason::PacketIdentifierNotFound => 0x00,
    }
}

fn failure(error: &ConnectionError) -> Failure {
    Failure(match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refused CONNECT: {}", refusal(*code))
        }
        ConnectionError::Timeout(_) => "no answer to CONNECT in time".to_owned(),
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
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => {
            "it does not speak this version; try mqtt.version: 3.1.1".to_owned()
        }
        other => format!("{other:?}"),
    }
}

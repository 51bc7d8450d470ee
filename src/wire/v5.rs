//! Room `wire`: the rare packets of MQTT 5, through `rumqttc`'s codec.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, DisconnectReasonCode, Filter, Login, Packet, Publish,
    Subscribe,
};
use secrecy::ExposeSecret;

use super::frame::{self, Frame};
use super::protocol::{Accepted, Incoming, malformed};
use super::{Endpoint, Failure, Message, SESSION_EXPIRY, Session, refusal};
use crate::correlate::Qos;
use crate::stamp::PROPERTY;

/// A DISCONNECT with a session expiry interval of zero (MQTT 5, 3.14), whole.
pub(super) const DISCONNECT_AND_FORGET: [u8; 9] = [0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0];

pub(super) fn connect(endpoint: &Endpoint, session: &Session, clean: bool) -> BytesMut {
    let expiry = u32::try_from(SESSION_EXPIRY.as_secs()).unwrap_or(u32::MAX);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(if clean { 0 } else { expiry });
    properties.max_packet_size = Some(session.packet_bytes_max);
    let packet = Connect {
        keep_alive: u16::try_from(session.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: session.client_id.clone(),
        clean_start: clean,
        properties: Some(properties),
    };
    let login = endpoint.credentials.as_ref().map(|(user, password)| Login {
        username: user.clone(),
        password: password.expose_secret().to_owned(),
    });
    written(&Packet::Connect(packet, None, login))
}

pub(super) fn subscribe<'a>(
    packet_id: u16,
    filters: impl Iterator<Item = &'a str>,
    qos: Qos,
) -> BytesMut {
    let filters = filters.map(|filter| Filter::new(filter, level(qos)));
    let mut packet = Subscribe::new_many(filters, None);
    packet.pkid = packet_id;
    written(&Packet::Subscribe(packet))
}

pub(super) fn read(packet: Frame<'_>) -> Result<Incoming, Failure> {
    let mut bytes = BytesMut::from(packet.whole);
    let read = Packet::read(&mut bytes, None);
    Ok(match read.map_err(|error| malformed(&format!("a packet ({error})")))? {
        Packet::ConnAck(ack) => Incoming::Accepted(accepted(ack)),
        Packet::Publish(publish) => {
            let qos = Qos::from_level(publish.qos as u8).unwrap_or(Qos::AtMostOnce);
            Incoming::Publish(qos, publish.pkid, message(publish))
        }
        _ => Incoming::Other,
    })
}

/// Why the broker ends the connection. The reason may be left out, which says nothing is wrong.
pub(super) fn farewell(packet: Frame<'_>) -> Failure {
    let code = packet.body.first().copied().unwrap_or(0);
    let reason = DisconnectReasonCode::try_from(code);
    let reason = reason.map_or_else(|_| format!("reason {code:#04x}"), |name| format!("{name:?}"));
    let to_do = match DisconnectReasonCode::try_from(code) {
        Ok(DisconnectReasonCode::SessionTakenOver) => "give each probe a name of its own",
        Ok(DisconnectReasonCode::SharedSubscriptionNotSupported) => refusal::UNSHARED,
        Ok(DisconnectReasonCode::RetainNotSupported) => "remove mqtt.retain",
        _ => "see the broker's log",
    };
    Failure::new(format!("the broker ended the connection: {reason}"), to_do)
}

fn accepted(ack: ConnAck) -> Accepted {
    let said = ack.properties;
    let said = said.as_ref();
    let qos_max = said.and_then(|said| said.max_qos).and_then(Qos::from_level);
    let keep_alive = said.and_then(|said| said.server_keep_alive);
    Accepted {
        session_present: ack.session_present,
        receive_max: said.and_then(|said| said.receive_max).unwrap_or(u16::MAX),
        packet_bytes_max: said.and_then(|said| said.max_packet_size).unwrap_or(frame::PACKET_MAX),
        qos_max: qos_max.unwrap_or(Qos::ExactlyOnce),
        retains: said.and_then(|said| said.retain_available) != Some(0),
        // Zero asks for no pings at all; ours are also what a watermark is made of.
        keep_alive: keep_alive.filter(|&s| s > 0).map(|s| Duration::from_secs(u64::from(s))),
    }
}

fn message(publish: Publish) -> Message {
    let properties = publish.properties.unwrap_or_default();
    let stamp = properties.user_properties.into_iter().find(|(name, _)| name == PROPERTY);
    Message {
        payload: publish.payload,
        property: stamp.map(|(_, value)| value),
        resent: publish.dup,
        stored: publish.retain,
    }
}

const fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn written(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    // Only a packet of more than 256 MB fails, and none of these is.
    let _ = packet.write(&mut bytes, None);
    bytes
}

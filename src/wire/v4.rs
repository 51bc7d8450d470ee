//! Room `wire`: the rare packets of MQTT 3.1.1, through `rumqttc`'s codec.

use bytes::BytesMut;
use rumqttc::{ConnAck, Connect, Packet, QoS, Subscribe, SubscribeFilter};
use secrecy::ExposeSecret;

use super::frame::{self, Frame};
use super::protocol::{Accepted, Incoming, malformed};
use super::{Endpoint, Failure, Message, Session};
use crate::correlate::Qos;

/// A DISCONNECT, whole.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];

pub(super) fn connect(endpoint: &Endpoint, session: &Session, clean: bool) -> BytesMut {
    let mut packet = Connect::new(&session.client_id);
    packet.clean_session = clean;
    packet.keep_alive = u16::try_from(session.keep_alive.as_secs()).unwrap_or(u16::MAX);
    if let Some((user, password)) = &endpoint.credentials {
        packet.set_login(user, password.expose_secret());
    }
    written(&Packet::Connect(packet))
}

pub(super) fn subscribe<'a>(
    packet_id: u16,
    filters: impl Iterator<Item = &'a str>,
    qos: Qos,
) -> BytesMut {
    let filters = filters.map(|filter| SubscribeFilter::new(filter.to_owned(), level(qos)));
    let mut packet = Subscribe::new_many(filters);
    packet.pkid = packet_id;
    written(&Packet::Subscribe(packet))
}

pub(super) fn read(packet: Frame<'_>) -> Result<Incoming, Failure> {
    let mut bytes = BytesMut::from(packet.whole);
    let read = Packet::read(&mut bytes, packet.whole.len());
    Ok(match read.map_err(|error| malformed(&format!("a packet ({error})")))? {
        Packet::ConnAck(ack) => Incoming::Accepted(accepted(&ack)),
        Packet::Publish(publish) => {
            let message = Message {
                payload: publish.payload,
                property: None,
                resent: publish.dup,
                stored: publish.retain,
            };
            let qos = Qos::from_level(publish.qos as u8).unwrap_or(Qos::AtMostOnce);
            Incoming::Publish(qos, publish.pkid, message)
        }
        _ => Incoming::Other,
    })
}

const fn accepted(ack: &ConnAck) -> Accepted {
    Accepted {
        session_present: ack.session_present,
        receive_max: u16::MAX,
        packet_bytes_max: frame::PACKET_MAX,
        qos_max: Qos::ExactlyOnce,
        retains: true,
        keep_alive: None,
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
    let _ = packet.write(&mut bytes, usize::MAX);
    bytes
}

//! Room `wire`: what a client makes of the packets that come in.

use super::super::frame::{self, Frame};
use super::super::window::Stand;
use super::super::{Failure, Happening, Source, Version, refusal, v4, v5};
use super::{Accepted, Incoming, Protocol, State, malformed};
use crate::correlate::{Qos, Stage};

impl<S: Source> Protocol<S> {
    /// Notes that something came. Fails where its first byte can't begin a packet that is awaited.
    pub(in crate::wire) fn expect(&mut self, first: u8) -> Result<(), Failure> {
        self.was_heard = true;
        match first >> 4 {
            frame::CONNACK | frame::DISCONNECT => Ok(()),
            _ if self.state != State::Asking => Ok(()),
            _ => Err(Failure::new("what answers there does not speak MQTT", "check mqtt.url")),
        }
    }

    /// Takes one packet in.
    pub(in crate::wire) fn take(
        &mut self,
        packet: Frame<'_>,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), Failure> {
        let answered = match packet.kind() {
            frame::PUBACK => Stage::Puback,
            frame::PUBREC => Stage::Pubrec,
            frame::PUBCOMP => Stage::Pubcomp,
            frame::PUBREL => {
                let id = packet.packet_id().ok_or_else(|| malformed("PUBREL"))?;
                self.received.remove(&id);
                self.answer(frame::PUBCOMP, id);
                return Ok(());
            }
            frame::PINGRESP => {
                self.pong_awaited = false;
                happenings.push(Happening::Pong);
                return Ok(());
            }
            frame::SUBACK => {
                let granted = frame::granted(self.version, packet);
                let granted = granted.ok_or_else(|| malformed("SUBACK"))?;
                let refused = granted.iter().find(|&&code| code >= 0x80);
                let said = refused.map_or(Ok(()), |&code| Err(refusal::unsubscribed(code)));
                happenings.push(Happening::Subscribed(said));
                return Ok(());
            }
            frame::DISCONNECT => return Err(v5::farewell(packet)),
            _ => return self.take_other(packet, happenings),
        };
        let id = packet.packet_id().ok_or_else(|| malformed("an answer to PUBLISH"))?;
        // The reason may be left out, which says success (MQTT 5, 3.4.2.1).
        let reason = packet.body.get(2).copied().unwrap_or(0);
        happenings.extend(self.answered(answered, id, reason));
        Ok(())
    }

    fn take_other(
        &mut self,
        packet: Frame<'_>,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), Failure> {
        if packet.kind() == frame::CONNACK {
            // Before the codec, which knows one version's codes.
            let code = packet.body.get(1).copied().ok_or_else(|| malformed("CONNACK"))?;
            if self.state != State::Asking {
                return Err(malformed("a second CONNACK"));
            }
            if code != 0 {
                return Err(refusal::refused(code, self.version));
            }
        }
        let incoming = match self.version {
            Version::V4 => v4::read(packet)?,
            Version::V5 => v5::read(packet)?,
        };
        match incoming {
            Incoming::Accepted(accepted) => {
                self.accepted(accepted)?;
                happenings.push(Happening::Connected);
            }
            Incoming::Publish(qos, id, message) => {
                if self.hold(qos, id) {
                    happenings.push(Happening::Message(message));
                }
            }
            Incoming::Other => (),
        }
        Ok(())
    }

    fn accepted(&mut self, accepted: Accepted) -> Result<(), Failure> {
        if accepted.qos_max < self.sending.qos {
            let (max, asked) = (accepted.qos_max.level(), self.sending.qos.level());
            let what = format!("the broker takes QoS {max} at most, {asked} is asked for");
            return Err(Failure::new(what, "change mqtt.qos"));
        }
        if self.retains && !accepted.retains {
            return Err(Failure::new(
                "the broker keeps no retained messages",
                "remove mqtt.retain",
            ));
        }
        self.state = State::Up;
        self.limits = Some(accepted.limits());
        self.packet_bytes_max = accepted.packet_bytes_max.min(frame::PACKET_MAX);
        self.keep_alive.1 = accepted.keep_alive;
        self.window.allow(accepted.receive_max);
        if accepted.session_present {
            self.again = self.window.in_order().into();
        } else {
            self.window.clear();
            self.received.clear();
        }
        Ok(())
    }

    /// Takes an answer to one of our messages. One to what is not in flight is nobody's.
    fn answered(&mut self, stage: Stage, id: u16, reason: u8) -> Option<Happening> {
        let qos = self.sending.qos;
        let Some(flight) = self.window.flight(id) else {
            // The broker remembers a message that we don't: releasing it lets it forget.
            if stage == Stage::Pubrec && reason < 0x80 {
                self.answer(frame::PUBREL, id);
            }
            return None;
        };
        let number = flight.number;
        match (stage, qos, flight.stand) {
            (Stage::Pubrec, Qos::ExactlyOnce, Stand::Published) if reason < 0x80 => {
                flight.stand = Stand::Released;
                self.answer(frame::PUBREL, id);
            }
            (Stage::Pubrec, Qos::ExactlyOnce, Stand::Released) => {
                self.answer(frame::PUBREL, id);
                return None;
            }
            (Stage::Puback, Qos::AtLeastOnce, _)
            | (Stage::Pubrec, Qos::ExactlyOnce, Stand::Published)
            | (Stage::Pubcomp, Qos::ExactlyOnce, Stand::Released) => self.window.land(id),
            _ => return None,
        }
        // The broker had the message at PUBREC: what PUBCOMP says refuses nothing.
        let reason = if stage == Stage::Pubcomp { 0 } else { reason };
        Some(Happening::Answered { number, stage, reason })
    }

    /// Answers a PUBLISH; whether its message is a new one.
    fn hold(&mut self, qos: Qos, id: u16) -> bool {
        match qos {
            Qos::AtMostOnce => true,
            Qos::AtLeastOnce => {
                self.answer(frame::PUBACK, id);
                true
            }
            Qos::ExactlyOnce => {
                self.answer(frame::PUBREC, id);
                self.received.insert(id)
            }
        }
    }
}

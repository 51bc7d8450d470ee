//! Room `embedded`: what one client says to the null sink, and what it is answered.

/// More of a packet is not kept: a topic with what is around it, and all but absurd subscriptions.
const KEPT_MAX: usize = 70_000;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// Why a client is not served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It said goodbye.
    Goodbye,
    /// What it says is no MQTT, or too much to be kept.
    Nonsense,
}

/// What is known of a client.
#[derive(Debug, Default)]
pub(super) struct Session {
    has_connected: bool,
    is_v5: bool,
    /// So many bytes of a message are still to come.
    skip: usize,
    /// What that message is answered.
    answer: Option<[u8; 4]>,
    /// Whether a message is under way.
    is_within: bool,
    /// The beginning of a packet whose rest has not come.
    part: Vec<u8>,
}

/// A packet from its first byte on.
struct Packet<'a> {
    first: u8,
    /// How many bytes the fixed header has.
    head: usize,
    /// How many bytes follow it.
    length: usize,
    /// Those of them that are there.
    body: &'a [u8],
}

impl Session {
    /// Takes in what has come; answers are appended to `out`, and messages that are complete counted.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        messages: &mut u64,
    ) -> Result<(), End> {
        if self.part.is_empty() {
            return self.take_all(bytes, out, messages);
        }
        let mut whole = std::mem::take(&mut self.part);
        whole.extend_from_slice(bytes);
        self.take_all(&whole, out, messages)
    }

    fn take_all(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        messages: &mut u64,
    ) -> Result<(), End> {
        loop {
            if self.is_within {
                let step = self.skip.min(bytes.len());
                bytes = &bytes[step..];
                self.skip -= step;
                if self.skip > 0 {
                    return Ok(());
                }
                self.is_within = false;
                *messages += 1;
                out.extend(self.answer.take().into_iter().flatten());
            }
            if bytes.is_empty() {
                return Ok(());
            }
            match self.begin(bytes, out)? {
                Some(used) => bytes = &bytes[used..],
                None if bytes.len() > KEPT_MAX => return Err(End::Nonsense),
                None => {
                    self.part.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
    }

    /// Deals with the packet that `bytes` begins with, or with the head of a message. How many bytes it
    /// took; `None` where more must come first.
    fn begin(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, End> {
        let Some(packet) = packet(bytes)? else { return Ok(None) };
        let kind = packet.first >> 4;
        if self.has_connected == (kind == CONNECT) {
            return Err(End::Nonsense);
        }
        if kind == PUBLISH {
            return self.publish(&packet);
        }
        let (head, length) = (packet.head, packet.length);
        if length > KEPT_MAX {
            return Err(End::Nonsense);
        }
        let Some(body) = packet.body.get(..length) else { return Ok(None) };
        self.answer(kind, body, out).ok_or(End::Nonsense)??;
        Ok(Some(head + length))
    }

    fn publish(&mut self, packet: &Packet<'_>) -> Result<Option<usize>, End> {
        let Packet { first, head, length, body } = *packet;
        let answers = match (first >> 1) & 3 {
            0 => None,
            1 => Some(0x40),
            2 => Some(0x50),
            _ => return Err(End::Nonsense),
        };
        let mut used = 0;
        if let Some(answers) = answers {
            let Some(topic) = number(body, 0) else { return Ok(None) };
            let Some(id) = number(body, 2 + topic) else { return Ok(None) };
            used = 4 + topic;
            let [high, low] = u16::try_from(id).unwrap_or(0).to_be_bytes();
            self.answer = Some([answers, 2, high, low]);
        }
        self.skip = length.checked_sub(used).ok_or(End::Nonsense)?;
        self.is_within = true;
        Ok(Some(head + used))
    }

    /// Answers a packet that is no message; `None` where it is not what it should be.
    fn answer(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) -> Option<Result<(), End>> {
        match kind {
            CONNECT => {
                let version = *body.get(2 + number(body, 0)?)?;
                self.is_v5 = version == 5;
                self.has_connected = true;
                out.extend_from_slice(if self.is_v5 {
                    &[0x20, 3, 0, 0, 0]
                } else {
                    &[0x20, 2, 0, 0]
                });
            }
            PUBREL => out.extend_from_slice(&[0x70, 2, *body.first()?, *body.get(1)?]),
            SUBSCRIBE => self.grant(0x90, body, out)?,
            UNSUBSCRIBE => self.grant(0xB0, body, out)?,
            PINGREQ => out.extend_from_slice(&[0xD0, 0]),
            DISCONNECT => return Some(Err(End::Goodbye)),
            _ => return None,
        }
        Some(Ok(()))
    }

    /// Answers a request about filters: every one is granted.
    fn grant(&self, answers: u8, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let subscribes = answers == 0x90;
        let mut rest = body.get(2..)?;
        if self.is_v5 {
            let (length, digits) = variable(rest).ok()??;
            rest = rest.get(digits + length..)?;
        }
        let mut codes = Vec::new();
        while !rest.is_empty() {
            let end = 2 + number(rest, 0)?;
            let qos = if subscribes { *rest.get(end)? & 3 } else { 0 };
            codes.push(qos.min(2));
            rest = rest.get(end + usize::from(subscribes)..)?;
        }
        // In 3.1.1 an UNSUBACK has no codes.
        if !self.is_v5 && !subscribes {
            codes.clear();
        }
        let properties: &[u8] = if self.is_v5 { &[0] } else { &[] };
        out.push(answers);
        lay_out(2 + properties.len() + codes.len(), out);
        out.extend_from_slice(body.get(..2)?);
        out.extend_from_slice(properties);
        out.extend_from_slice(&codes);
        Some(())
    }
}

/// The packet that `bytes` begins with, as far as it is there; `None` where not even its length is.
fn packet(bytes: &[u8]) -> Result<Option<Packet<'_>>, End> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, digits)) = variable(rest)? else { return Ok(None) };
    Ok(Some(Packet { first, head: 1 + digits, length, body: &rest[digits..] }))
}

/// A number of up to four digits of seven bits, and how many it has.
fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, End> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() >= 4 { Err(End::Nonsense) } else { Ok(None) }
}

/// Writes such a number.
fn lay_out(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let digit = u8::try_from(value & 0x7F).unwrap_or(0);
        value >>= 7;
        out.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

/// The two-byte number that stands at `at`.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([digits[0], digits[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONNECT_V4: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'c'];

    fn publish(qos: u8, id: u8, payload: usize) -> Vec<u8> {
        let mut packet = vec![0x30 | qos << 1];
        let id = if qos > 0 { vec![0, id] } else { Vec::new() };
        lay_out(3 + id.len() + payload, &mut packet);
        packet.extend_from_slice(&[0, 1, b't']);
        packet.extend(id);
        packet.extend(vec![7; payload]);
        packet
    }

    fn conversation() -> Vec<u8> {
        let mut said = CONNECT_V4.to_vec();
        said.extend(publish(0, 0, 300));
        said.extend(publish(1, 5, 20_000));
        said.extend([0x82, 8, 0, 9, 0, 3, b'a', b'/', b'#', 2]);
        said.extend(publish(2, 6, 0));
        said.extend([0x62, 2, 0, 6]);
        said.extend([0xA2, 5, 0, 10, 0, 1, b'a']);
        said.extend([0xC0, 0]);
        said
    }

    const ANSWERS: &[&[u8]] = &[
        &[0x20, 2, 0, 0],
        &[0x40, 2, 0, 5],
        &[0x90, 3, 0, 9, 2],
        &[0x50, 2, 0, 6],
        &[0x70, 2, 0, 6],
        &[0xB0, 2, 0, 10],
        &[0xD0, 0],
    ];

    proptest! {
        #[test]
        fn it_is_the_same_in_whatever_parts_it_comes(mut cuts in proptest::collection::vec(0_usize..20_500, 0..40)) {
            let said = conversation();
            cuts.extend([0, said.len()]);
            for cut in &mut cuts {
                *cut = (*cut).min(said.len());
            }
            cuts.sort_unstable();
            let (mut session, mut out, mut messages) = (Session::default(), Vec::new(), 0);
            for two in cuts.windows(2) {
                session.take(&said[two[0]..two[1]], &mut out, &mut messages).unwrap();
            }
            prop_assert_eq!(messages, 3);
            prop_assert_eq!(out, ANSWERS.concat());
        }

        #[test]
        fn nothing_that_comes_breaks_it(said in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (mut session, mut out, mut messages) = (Session::default(), Vec::new(), 0);
            session.take(CONNECT_V4, &mut out, &mut messages).unwrap();
            let _ = session.take(&said, &mut out, &mut messages);
            prop_assert!(messages <= 150, "a message takes two bytes at least");
        }
    }

    #[test]
    fn version_5_has_properties_in_its_answers() {
        let (mut session, mut out, mut messages) = (Session::default(), Vec::new(), 0);
        let connect = [0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 30, 0, 0, 1, b'c'];
        session.take(&connect, &mut out, &mut messages).unwrap();
        let subscribe = [0x82, 11, 0, 9, 2, 0x0B, 1, 0, 3, b'a', b'/', b'#', 1];
        session.take(&subscribe, &mut out, &mut messages).unwrap();
        let unsubscribe = [0xA2, 6, 0, 10, 0, 0, 1, b'a'];
        session.take(&unsubscribe, &mut out, &mut messages).unwrap();
        let answers: [&[u8]; 3] =
            [&[0x20, 3, 0, 0, 0], &[0x90, 4, 0, 9, 0, 1], &[0xB0, 4, 0, 10, 0, 0]];
        assert_eq!(out, answers.concat());
        let last = [publish(0, 0, 3), vec![0xE0, 0]].concat();
        assert_eq!(session.take(&last, &mut out, &mut messages), Err(End::Goodbye));
        assert_eq!(messages, 1, "what was said before the goodbye counts");
    }

    #[test]
    fn what_is_no_mqtt_is_found_out() {
        for said in [
            // No CONNECT first, two of them, a QoS that is none, a length without end, a packet that only
            // brokers send, a message shorter than its topic, and one that announces too much.
            vec![0xC0, 0],
            [CONNECT_V4, CONNECT_V4].concat(),
            [CONNECT_V4, &[0x36, 4, 0, 0, 0, 1]].concat(),
            [CONNECT_V4, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]].concat(),
            [CONNECT_V4, &[0x20, 2, 0, 0]].concat(),
            [CONNECT_V4, &[0x32, 4, 0, 3, b'a', b'b', b'c', 0, 1]].concat(),
            [CONNECT_V4, &[0x82, 0xFF, 0xFF, 0x7F]].concat(),
        ] {
            let (mut session, mut out) = (Session::default(), Vec::new());
            assert_eq!(session.take(&said, &mut out, &mut 0), Err(End::Nonsense), "{said:?}");
        }
    }
}

//! Room `stamp`: writes stamps into messages and finds them again in whatever comes out.

use serde::{Deserialize, Serialize};

use super::payload::{self, Format};
use super::{Flags, Identity, Permutation, Run, SpanId, TRACEPARENT_LEN, TraceId};

/// Name of the MQTT 5 user property and of the Kafka header that carry the stamp.
pub const PROPERTY: &str = "traceparent";

/// Stamps the messages of one run.
#[derive(Clone, Debug)]
pub struct Stamper {
    permutation: Permutation,
    run: Run,
}

/// What a record or message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One of this run's messages.
    Ours(Found),
    /// Stamped with our key, but in another run.
    OtherRun,
    /// Nobody's that we know of.
    Foreign,
}

/// How the payload compared with what was generated for its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Integrity {
    /// The checksum held.
    Intact,
    /// The checksum did not hold, or the payload was cut.
    Corrupt,
    /// The payload is too small to carry a checksum.
    Unchecked,
}

/// A set of carriers that a stamp travelled by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carriers {
    /// The `traceparent` user property of MQTT 5, a header once in Kafka.
    pub property: bool,
    /// The payload itself.
    pub payload: bool,
}

/// A stamp of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose message it is.
    pub identity: Identity,
    /// How the stamp came.
    pub carriers: Carriers,
    /// Whether the payload is what was sent.
    pub integrity: Integrity,
    /// The span that the property names, where it is not the one that was sent: somebody on the way
    /// traces, too, and made a span of its own under our trace id.
    pub span: Option<SpanId>,
}

/// What one message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub(super) identity: Identity,
    pub(super) id: TraceId,
    /// The trace id as a traceparent.
    pub(super) text: [u8; TRACEPARENT_LEN],
}

impl Stamp {
    /// Value of the property and header [`PROPERTY`].
    #[must_use]
    pub const fn property(&self) -> &[u8; TRACEPARENT_LEN] {
        &self.text
    }

    /// Appends the payload, which is of this size, or of [`Format::size_min`] where that is more.
    pub fn append(&self, payload: &mut Vec<u8>, format: Format, size: usize) {
        payload::append(payload, format, size, self);
    }
}

impl Stamper {
    /// For one run, keyed by any bytes.
    #[must_use]
    pub fn new(secret: &[u8], run: Run) -> Self {
        Self { permutation: Permutation::new(secret), run }
    }

    /// The identity of a slot.
    #[must_use]
    pub fn identity(&self, path: u8, publisher: u32, sequence: u64) -> Identity {
        Identity { run: self.run, path, publisher, flags: Flags::default(), sequence }
    }

    /// The trace id of an identity.
    #[must_use]
    pub fn trace_id(&self, identity: Identity) -> TraceId {
        self.permutation.trace_id(identity)
    }

    /// Writes the payload of `identity` into `payload`, whose old content goes; the trace id that it
    /// carries.
    pub fn write(
        &self,
        payload: &mut Vec<u8>,
        format: Format,
        size: usize,
        identity: Identity,
    ) -> TraceId {
        payload.clear();
        let stamp = self.stamp(identity);
        stamp.append(payload, format, size);
        stamp.id
    }

    /// What the message of an identity carries.
    #[must_use]
    pub fn stamp(&self, identity: Identity) -> Stamp {
        let id = self.trace_id(identity);
        Stamp { identity, id, text: id.traceparent() }
    }

    /// Finds the stamp in a message: `property` is the value of its [`PROPERTY`], if it has one.
    #[must_use]
    pub fn read(&self, property: Option<&[u8]>, payload: &[u8]) -> Reading {
        match property.and_then(|property| self.read_plain(property, payload)) {
            Some(found) => Reading::Ours(found),
            None => self.read_any(property, payload),
        }
    }

    /// Reads a message that came as it was sent, with the same stamp in property and payload: it has
    /// to be deciphered once, and there is nothing to tell apart.
    #[inline]
    fn read_plain(&self, property: &[u8], payload: &[u8]) -> Option<Found> {
        let text = property.first_chunk()?;
        let id = TraceId::from_traceparent(text)?;
        let identity = self.permutation.identity(id)?;
        let is_plain = identity.run == self.run && payload::is_plain(payload, identity, (id, text));
        let carriers = Carriers { property: true, payload: true };
        is_plain.then_some(Found { identity, carriers, integrity: Integrity::Intact, span: None })
    }

    /// Reads a message of which anything may be missing or damaged, or that is not ours.
    fn read_any(&self, property: Option<&[u8]>, payload: &[u8]) -> Reading {
        let carried_id = property.and_then(TraceId::from_traceparent);
        let carried = carried_id.and_then(|id| self.permutation.identity(id));
        let long = payload::trace_id(payload);
        let within = match long {
            // Mostly both brought the same, which saves deciphering it twice.
            Some(_) if carried.is_some() && long == carried_id => carried,
            Some(id) => self.permutation.identity(id),
            None => None,
        };
        let (within, long) = match within {
            Some(_) => (within, long),
            None => (self.short_form(payload), None),
        };
        let Some(identity) = carried.or(within) else {
            return Reading::Foreign;
        };
        if identity.run != self.run {
            return Reading::OtherRun;
        }
        let is_within = within == Some(identity);
        let integrity = if is_within {
            let id = long.unwrap_or_else(|| self.trace_id(identity));
            payload::is_intact(payload, identity, id, long.is_none())
        } else {
            Some(false)
        };
        let integrity = match integrity {
            Some(true) => Integrity::Intact,
            None => Integrity::Unchecked,
            Some(false) => Integrity::Corrupt,
        };
        let carriers = Carriers { property: carried.is_some(), payload: is_within };
        let span = carried_id.filter(|_| carriers.property).zip(property);
        let span = span.and_then(|(id, property)| id.other_span(property));
        Reading::Ours(Found { identity, carriers, integrity, span })
    }

    /// The identity within a short form of this run. It has no checksum of its own: only this very
    /// run makes it ours.
    fn short_form(&self, payload: &[u8]) -> Option<Identity> {
        payload::read_short_form(payload).filter(|identity| identity.run == self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: Run = Run { epoch: 0x12_3456, instance: 9 };

    fn stamper() -> Stamper {
        Stamper::new(b"plant-7", RUN)
    }

    fn formats() -> impl Strategy<Value = Format> {
        prop_oneof![Just(Format::Json), Just(Format::Text), Just(Format::Binary)]
    }

    fn written(format: Format, size: usize, publisher: u32, sequence: u64) -> (Identity, Vec<u8>) {
        let stamper = stamper();
        let identity = stamper.identity(3, publisher, sequence);
        let mut payload = Vec::new();
        stamper.write(&mut payload, format, size, identity);
        (identity, payload)
    }

    proptest! {
        #[test]
        fn every_payload_is_read_back(
            format in formats(),
            size in 16_usize..2_000,
            publisher in 0..super::super::PUBLISHERS_PER_PATH_MAX,
            sequence in 0..super::super::SEQUENCE_END,
        ) {
            let (identity, payload) = written(format, size, publisher, sequence);
            prop_assert_eq!(payload.len(), size.max(format.size_min()));
            let Reading::Ours(found) = stamper().read(None, &payload) else {
                return Err(TestCaseError::fail("not found"));
            };
            prop_assert_eq!(found.identity, identity);
            let checked = match format { Format::Json => true, Format::Binary => size >= 20, Format::Text => size >= 24 };
            prop_assert_eq!(found.integrity, if checked { Integrity::Intact } else { Integrity::Unchecked });
            if format == Format::Json {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
            }
            if format != Format::Binary {
                prop_assert!(payload.iter().all(|byte| (b' '..=b'~').contains(byte)));
            }
        }

        #[test]
        fn damage_and_truncation_show(
            format in formats(),
            size in 64_usize..600,
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
            cut in any::<bool>(),
        ) {
            let (identity, mut payload) = written(format, size, 1, 77);
            let traceparent = stamper().trace_id(identity).traceparent();
            let at = at.index(payload.len());
            if cut { payload.truncate(at); } else { payload[at] ^= flip; }
            let Reading::Ours(found) = stamper().read(Some(&traceparent), &payload) else {
                return Err(TestCaseError::fail("the property still carries it"));
            };
            prop_assert_eq!(found.integrity, Integrity::Corrupt);
        }

        #[test]
        fn the_short_way_and_the_long_one_say_the_same(
            format in formats(),
            size in 16_usize..300,
            damage in prop::option::of((any::<prop::sample::Index>(), 1_u8..=255)),
            foreign_property in any::<bool>(),
        ) {
            let (identity, mut payload) = written(format, size, 1, 77);
            let other = stamper().identity(3, 1, 78);
            let carried = if foreign_property { other } else { identity };
            let traceparent = stamper().trace_id(carried).traceparent();
            if let Some((at, flip)) = damage {
                let at = at.index(payload.len());
                payload[at] ^= flip;
            }
            let long = stamper().read_any(Some(&traceparent), &payload);
            prop_assert_eq!(stamper().read(Some(&traceparent), &payload), long);
        }

        #[test]
        fn random_records_are_foreign(property in any::<Option<Vec<u8>>>(), payload in any::<Vec<u8>>()) {
            let reading = stamper().read(property.as_deref(), &payload);
            prop_assert_eq!(reading, Reading::Foreign);
        }
    }

    #[test]
    fn another_run_is_told_apart() {
        let other = Stamper::new(b"plant-7", Run { epoch: 1, instance: 9 });
        let mut payload = Vec::new();
        other.write(&mut payload, Format::Json, 256, other.identity(0, 0, 0));
        assert_eq!(stamper().read(None, &payload), Reading::OtherRun);
        other.write(&mut payload, Format::Binary, 16, other.identity(0, 0, 0));
        assert_eq!(stamper().read(None, &payload), Reading::Foreign, "the short form shows no key");
    }

    #[test]
    fn a_text_without_room_for_a_checksum_is_unchecked() {
        for size in 16..30 {
            let (_, payload) = written(Format::Text, size, 0, 5);
            let Reading::Ours(found) = stamper().read(None, &payload) else {
                panic!("not found");
            };
            let checked = if size < 24 { Integrity::Unchecked } else { Integrity::Intact };
            assert_eq!(found.integrity, checked, "{size}");
        }
    }

    #[test]
    fn what_fills_another_message_is_damage() {
        for format in [Format::Json, Format::Text, Format::Binary] {
            let (_, mut payload) = written(format, 256, 0, 5);
            let (_, other) = written(format, 256, 0, 6);
            payload[150..200].copy_from_slice(&other[150..200]);
            let Reading::Ours(found) = stamper().read(None, &payload) else {
                panic!("not found");
            };
            assert_eq!(found.integrity, Integrity::Corrupt, "{format:?}");
        }
    }

    #[test]
    fn a_lost_property_shows_in_the_carriers() {
        let (identity, payload) = written(Format::Json, 256, 0, 5);
        let traceparent = stamper().trace_id(identity).traceparent();
        let read = |property: Option<&[u8]>, payload: &[u8]| match stamper().read(property, payload)
        {
            Reading::Ours(found) => found.carriers,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(None, &payload), Carriers { property: false, payload: true });
        assert_eq!(read(Some(&traceparent), &payload), Carriers { property: true, payload: true });
        assert_eq!(read(Some(&traceparent), b""), Carriers { property: true, payload: false });
    }
}

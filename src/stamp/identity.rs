//! Room `stamp`: who a message is, in 96 bits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many paths a run may have.
pub const PATHS_MAX: u32 = 1 << 7;
/// How many publishers a path may have.
pub const PUBLISHERS_PER_PATH_MAX: u32 = 1 << 17;
/// One more than the largest sequence number: 318 days of 10,000 messages/s by one publisher.
pub const SEQUENCE_END: u64 = 1 << 38;

/// Which run of which probe published a message: 24 bits of run epoch and 8 bits of instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Distinguishes this run from every other, 24 bits.
    pub epoch: u32,
    /// Distinguishes probes that started with the same epoch.
    pub instance: u8,
}

/// What a message was sent for, beside being measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// Produced straight to Kafka by the control lane.
    pub control: bool,
    /// Violates its schema on purpose.
    pub violation: bool,
}

/// The identity of one message.
///
/// Layout from the most significant bit: run epoch 24, instance 8, path 7, publisher 17, flags 2
/// (control, violation), sequence 38.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The run that gave the identity out.
    pub run: Run,
    /// Index of the path in the configuration, below [`PATHS_MAX`].
    pub path: u8,
    /// Index of the publisher within its path, below [`PUBLISHERS_PER_PATH_MAX`].
    pub publisher: u32,
    /// Why the message was sent.
    pub flags: Flags,
    /// Index of the slot in its publisher's schedule, below [`SEQUENCE_END`].
    pub sequence: u64,
}

impl Identity {
    /// The identity of the same slot on the control lane, or over MQTT.
    #[must_use]
    pub const fn on_control(self, control: bool) -> Self {
        Self { flags: Flags { control, ..self.flags }, ..self }
    }

    /// The 96 bits, most significant byte first. Fields beyond their width are cut to it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bits = u128::from(self.run.epoch & 0xff_ffff);
        bits = (bits << 8) | u128::from(self.run.instance);
        bits = (bits << 7) | u128::from(self.path & 0x7f);
        bits = (bits << 17) | u128::from(self.publisher & (PUBLISHERS_PER_PATH_MAX - 1));
        bits = (bits << 1) | u128::from(self.flags.control);
        bits = (bits << 1) | u128::from(self.flags.violation);
        bits = (bits << 38) | u128::from(self.sequence & (SEQUENCE_END - 1));
        let [_, _, _, _, rest @ ..] = bits.to_be_bytes();
        rest
    }

    /// Reads the 96 bits back; every value is some identity.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each field is masked to its own width")]
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        let high = bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let low = bytes.last_chunk().map_or(0, |last| u64::from(u32::from_be_bytes(*last)));
        Self {
            run: Run { epoch: (high >> 40) as u32, instance: (high >> 32) as u8 },
            path: (high >> 25) as u8 & 0x7f,
            publisher: (high >> 8) as u32 & (PUBLISHERS_PER_PATH_MAX - 1),
            flags: Flags { control: (high >> 7) & 1 == 1, violation: (high >> 6) & 1 == 1 },
            sequence: ((high & 0x3f) << 32) | low,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "run {:06x}-{:02x} path {} publisher {} sequence {}",
            self.run.epoch, self.run.instance, self.path, self.publisher, self.sequence
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_96_bits_survive_the_round_trip(bytes in any::<[u8; 12]>()) {
            prop_assert_eq!(Identity::from_bytes(bytes).to_bytes(), bytes);
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        let identity = Identity {
            run: Run { epoch: 0xab_cdef, instance: 0x12 },
            path: 1,
            publisher: 2,
            flags: Flags { control: true, violation: false },
            sequence: 3,
        };
        assert_eq!(
            identity.to_bytes(),
            [0xab, 0xcd, 0xef, 0x12, 0x02, 0x00, 0x02, 0x80, 0x00, 0x00, 0x00, 0x03]
        );
    }
}

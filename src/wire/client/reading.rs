//! Room `wire`: how a client reads: all that has come, or only so much of it.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Client, closed, lost};
use crate::wire::frame::Frame;
use crate::wire::stream::Stream;
use crate::wire::{Failure, Happening, Source};

/// How long a client that reads slowly rests at most between two looks at its socket.
const REST_MAX: Duration = Duration::from_millis(250);

/// How much the system takes in at least for a client that reads slowly, and at most.
const BUFFER_BYTES: (usize, usize) = (16 * 1_024, 1_024 * 1_024);

/// How much a client reads that reads slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    bytes_a_second: NonZeroU32,
    /// What it has read since it rested.
    read: u32,
}

impl Pace {
    /// So many bytes a second at most; at least one.
    pub(super) fn new(bytes_a_second: u32) -> Self {
        Self { bytes_a_second: NonZeroU32::new(bytes_a_second).unwrap_or(NonZeroU32::MIN), read: 0 }
    }

    /// How many bytes it may still read before it rests.
    fn ration(self) -> usize {
        let bytes = u128::from(self.bytes_a_second.get()) * REST_MAX.as_millis() / 1_000;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        bytes.saturating_sub(self.read as usize)
    }

    /// How much the system is to take in for it: as much as it reads between two rests. With less, the
    /// broker's side would ask only now and then whether there is room again, and it would read less
    /// than it may.
    pub(super) fn buffer_bytes(self) -> usize {
        Self { read: 0, ..self }.ration().clamp(BUFFER_BYTES.0, BUFFER_BYTES.1)
    }

    /// Notes that so many bytes were read.
    fn note(&mut self, count: usize) {
        self.read = self.read.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// How long it has to rest for what it has read, if it has read anything.
    fn rest(&mut self) -> Option<Duration> {
        let read = std::mem::take(&mut self.read);
        let nanos = u64::from(read) * 1_000_000_000 / u64::from(self.bytes_a_second.get());
        (read > 0).then(|| Duration::from_nanos(nanos))
    }
}

impl<S: Source> Client<S> {
    /// Whether it reads only so much.
    pub(in crate::wire) fn reads_slowly(&self) -> bool {
        self.habits.pace.is_some()
    }

    /// How long it has to rest now; nothing where it reads all that comes, or has read nothing.
    pub(in crate::wire) fn rest(&mut self) -> Option<Duration> {
        self.habits.pace.as_mut()?.rest()
    }

    /// Whether there is something to read that the socket knows nothing of any more.
    pub(in crate::wire) fn has_more(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::has_more)
    }

    /// Takes in what has come, as much as `space` holds, and appends what happened; whether there may be
    /// more in the socket. One that reads slowly takes what is left of its ration.
    pub(in crate::wire) fn read(
        &mut self,
        space: &mut [u8],
        happenings: &mut Vec<Happening>,
    ) -> Result<bool, Failure> {
        let mut left = self.habits.pace.map_or(space.len(), Pace::ration).min(space.len());
        // Nobody says of what is left of a record that it is there. It is less than `space` holds.
        while left > 0 || (!self.reads_slowly() && self.has_more()) {
            let Some(stream) = &mut self.stream else { return Ok(false) };
            let room = if left > 0 { left } else { space.len() };
            match stream.read(&mut space[..room]) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    if let Some(pace) = &mut self.habits.pace {
                        pace.note(count);
                    }
                    self.take(&space[..count], happenings)?;
                    left = left.saturating_sub(count);
                    // An encrypted stream hands over a record at a time, however many have come.
                    if !self.stream.as_ref().is_some_and(Stream::is_encrypted) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(left == 0 && !self.reads_slowly())
    }

    /// Takes in what was read; the beginning of a packet is kept until the rest has come.
    fn take(&mut self, read: &[u8], happenings: &mut Vec<Happening>) -> Result<(), Failure> {
        let mut inbox = std::mem::take(&mut self.inbox);
        if inbox.is_empty() {
            let taken = self.take_packets(read, happenings)?;
            self.inbox = read[taken..].to_vec();
            return Ok(());
        }
        inbox.extend_from_slice(read);
        let taken = self.take_packets(&inbox, happenings)?;
        inbox.drain(..taken);
        // A large packet must not pin its memory for the rest of the connection.
        if inbox.is_empty() {
            inbox = Vec::new();
        }
        self.inbox = inbox;
        Ok(())
    }

    /// Takes the whole packets that `bytes` begin with; how many bytes they are.
    fn take_packets(
        &mut self,
        bytes: &[u8],
        happenings: &mut Vec<Happening>,
    ) -> Result<usize, Failure> {
        if let Some(&first) = bytes.first() {
            self.protocol.expect(first)?;
        }
        let mut taken = 0;
        while let Some(packet) = Frame::first(&bytes[taken..], self.session.packet_bytes_max)? {
            taken += packet.whole.len();
            self.protocol.take(packet, happenings)?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_no_more_is_read_than_the_rate_allows(
            rate: u32, looks in prop::collection::vec(1_usize..100_000, 1..50),
        ) {
            let mut pace = Pace::new(rate);
            let (mut read, mut rested) = (0.0, Duration::ZERO);
            for there in looks {
                let taken = there.min(pace.ration());
                prop_assert!(taken > 0, "it goes on");
                pace.note(taken);
                let rest = pace.rest().unwrap();
                prop_assert!(rest <= REST_MAX.max(Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1)))));
                rested += rest;
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                let taken = taken as f64;
                read += taken;
            }
            let allowed = f64::from(rate.max(1)) * rested.as_secs_f64();
            // A rest is kept in whole nanoseconds.
            prop_assert!((read - allowed).abs() <= 50.0 * f64::from(rate.max(1)) / 1e9 + 1e-3);
            prop_assert_eq!(pace.rest(), None);
        }
    }

    #[test]
    fn what_was_read_during_a_rest_is_taken_from_the_next_ration() {
        let mut pace = Pace::new(10_240);
        assert_eq!(pace.ration(), 2_560);
        pace.note(2_000);
        assert_eq!(pace.ration(), 560);
        pace.note(560);
        assert_eq!(pace.ration(), 0);
        assert_eq!((pace.rest(), pace.ration()), (Some(REST_MAX), 2_560));
        let buffers = [1, 1 << 20, u32::MAX].map(|rate| Pace::new(rate).buffer_bytes());
        assert_eq!(buffers, [BUFFER_BYTES.0, 1 << 18, BUFFER_BYTES.1]);
    }
}

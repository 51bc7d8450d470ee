//! Room `embedded` (edge): what the fault link does to a message, decided by seed and order alone.

use std::time::Duration;

use bytes::Bytes;

use crate::splitmix::mix;

/// Shares are parts of this many messages.
const WHOLE: u64 = 1_000;
/// A message that is cut below this many bytes has no stamp left in its payload, and one that keeps
/// twice as many has a whole one, whatever its format.
const STAMP_BYTES: usize = 40;
/// The filling of a payload ends so many bytes before its end, whatever its format.
const TAIL_BYTES: usize = 24;

/// What the link does to the messages of a route. Shares are in 1,000 messages; a message has one
/// fault at most, beside its delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every message is held back for some time between these, evenly spread.
    pub delay: (Duration, Duration),
    /// Acknowledged, and never produced.
    pub dropped: u16,
    /// Produced twice.
    pub doubled: u16,
    /// Held back for some time between those of `overtaking` beyond its delay.
    pub overtaken: u16,
    /// How long messages are held back so that later ones overtake them.
    pub overtaking: (Duration, Duration),
    /// A bit of the filling is flipped.
    pub flipped: u16,
    /// The payload loses its end.
    pub cut: u16,
    /// The payload keeps less than its stamp.
    pub beheaded: u16,
    /// All user properties are lost.
    pub stripped: u16,
    /// Beside these messages a record is produced that has nothing to do with them.
    pub strangers: u16,
}

/// The fault of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Drop,
    Double,
    Overtake,
    Flip,
    Cut,
    Behead,
    Strip,
}

impl Fault {
    /// Whether the payload stays what it was.
    pub(super) const fn is_harmless(self) -> bool {
        !matches!(self, Self::Flip | Self::Cut | Self::Behead)
    }
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) fault: Fault,
    /// How long it is held back.
    pub(super) delay: Duration,
    /// Whether a record of somebody else goes beside it.
    pub(super) stranger: bool,
    /// For where it is damaged.
    random: u64,
}

impl Fate {
    /// Of the message that comes `nth` on its route.
    pub(super) fn of(faults: &Faults, seed: u64, route: usize, nth: u64) -> Self {
        let mut random = mix(seed ^ mix(route as u64 ^ mix(nth)));
        let mut draw = || {
            random = mix(random);
            random
        };
        let fault = fault(faults, draw() % WHOLE);
        let stranger = draw() % WHOLE < u64::from(faults.strangers);
        let mut delay = between(faults.delay, draw());
        let more = between(faults.overtaking, draw());
        if fault == Fault::Overtake {
            delay += more;
        }
        Self { fault, delay, stranger, random: draw() }
    }

    /// The payload as this fate leaves it.
    pub(super) fn damage(&self, payload: &Bytes) -> Bytes {
        let length = payload.len();
        let pick = |from: usize, to: usize| {
            let span = to.saturating_sub(from).max(1) as u64;
            from + usize::try_from(self.random % span).unwrap_or(0)
        };
        match self.fault {
            Fault::Flip => {
                let mut flipped = payload.to_vec();
                let at = pick(length / 2 + TAIL_BYTES, length.saturating_sub(TAIL_BYTES));
                if let Some(byte) = flipped.get_mut(at) {
                    *byte ^= 1;
                }
                flipped.into()
            }
            Fault::Cut => payload.slice(..pick(2 * STAMP_BYTES, length).min(length)),
            Fault::Behead => payload.slice(..pick(1, STAMP_BYTES).min(length)),
            _ => payload.clone(),
        }
    }
}

/// Which share a number below [`WHOLE`] falls into.
fn fault(faults: &Faults, number: u64) -> Fault {
    let shares = [
        (faults.dropped, Fault::Drop),
        (faults.doubled, Fault::Double),
        (faults.overtaken, Fault::Overtake),
        (faults.flipped, Fault::Flip),
        (faults.cut, Fault::Cut),
        (faults.beheaded, Fault::Behead),
        (faults.stripped, Fault::Strip),
    ];
    let mut end = 0;
    for (share, fault) in shares {
        end += u64::from(share);
        if number < end {
            return fault;
        }
    }
    Fault::None
}

/// A time between two, both included, to the microsecond.
fn between((from, to): (Duration, Duration), random: u64) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX - 1);
    from + Duration::from_micros(random % (span + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(220));

    fn faults() -> Faults {
        Faults { delay: DELAY, dropped: 100, doubled: 200, strangers: 300, ..Faults::default() }
    }

    #[test]
    fn shares_are_kept_and_delays_are_evenly_spread() {
        let fates: Vec<Fate> = (0..10_000).map(|nth| Fate::of(&faults(), 7, 2, nth)).collect();
        let count = |fault| fates.iter().filter(|fate| fate.fault == fault).count();
        assert!((900..1_100).contains(&count(Fault::Drop)), "{}", count(Fault::Drop));
        assert!((1_850..2_150).contains(&count(Fault::Double)), "{}", count(Fault::Double));
        assert_eq!(count(Fault::None) + count(Fault::Drop) + count(Fault::Double), fates.len());
        let strangers = fates.iter().filter(|fate| fate.stranger).count();
        assert!((2_850..3_150).contains(&strangers), "{strangers}");
        assert!(fates.iter().all(|fate| (DELAY.0..=DELAY.1).contains(&fate.delay)));
        let late = fates.iter().filter(|fate| fate.delay > Duration::from_millis(120)).count();
        assert!((4_800..5_200).contains(&late), "{late}");
    }

    proptest! {
        #[test]
        fn the_same_seed_and_order_give_the_same_fate(seed: u64, route in 0..9_usize, nth: u64) {
            let fate = || Fate::of(&faults(), seed, route, nth);
            prop_assert_eq!(fate(), fate());
        }

        #[test]
        fn damage_is_where_it_should_be(random: u64, length in 160..5_000_usize) {
            let payload = Bytes::from(vec![b'x'; length]);
            let damaged = |fault| {
                let fate = Fate { fault, delay: Duration::ZERO, stranger: false, random };
                fate.damage(&payload)
            };
            let flipped = damaged(Fault::Flip);
            let at: Vec<usize> = (0..length).filter(|&at| flipped[at] != payload[at]).collect();
            prop_assert_eq!((flipped.len(), at.len()), (length, 1));
            prop_assert!((length / 2..length - TAIL_BYTES).contains(&at[0]));
            prop_assert!((2 * STAMP_BYTES..length).contains(&damaged(Fault::Cut).len()));
            prop_assert!((1..STAMP_BYTES).contains(&damaged(Fault::Behead).len()));
            prop_assert_eq!(damaged(Fault::Strip), payload);
        }
    }
}

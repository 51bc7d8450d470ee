//! Room `correlate`: a duration that may be unknown.

use std::fmt::{self, Debug, Formatter};

/// A signed duration in nanoseconds, or that nobody knows it.
///
/// It says what an `Option<i64>` says in half of its size: what is told of an arrival has seven of
/// them, and is written and read once for each message of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Elapsed(i64);

impl Elapsed {
    /// Nobody knows it.
    pub const UNKNOWN: Self = Self(i64::MIN);

    /// A duration in nanoseconds. The shortest of all, which no two moments are apart, is taken for the
    /// next longer one.
    #[must_use]
    #[inline]
    pub const fn of(nanos: i64) -> Self {
        if nanos == Self::UNKNOWN.0 { Self(-i64::MAX) } else { Self(nanos) }
    }

    /// The duration in nanoseconds, where it is known.
    #[must_use]
    #[inline]
    pub const fn nanos(self) -> Option<i64> {
        if self.0 == Self::UNKNOWN.0 { None } else { Some(self.0) }
    }

    /// The duration in nanoseconds where it is known, and this one where it is not.
    #[must_use]
    #[inline]
    pub fn unwrap_or(self, nanos: i64) -> i64 {
        self.nanos().unwrap_or(nanos)
    }
}

impl From<Option<i64>> for Elapsed {
    #[inline]
    fn from(nanos: Option<i64>) -> Self {
        nanos.map_or(Self::UNKNOWN, Self::of)
    }
}

impl Debug for Elapsed {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.nanos().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_it_was_made_of(nanos in any::<Option<i64>>()) {
            prop_assert_eq!(Elapsed::from(nanos).nanos(), nanos);
        }
    }

    #[test]
    fn the_shortest_duration_is_not_taken_for_an_unknown_one() {
        assert_eq!(Elapsed::of(i64::MIN).nanos(), Some(-i64::MAX));
        assert_eq!(Elapsed::from(None), Elapsed::UNKNOWN);
        assert_eq!((Elapsed::UNKNOWN.unwrap_or(7), Elapsed::of(-5).unwrap_or(7)), (7, -5));
    }
}

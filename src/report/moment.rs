//! Room `report`: moments as text.

use crate::clock::WallTime;

const MILLIS_PER_DAY: i64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH_DAYS: i64 = 719_468;
const DAYS_PER_ERA: i64 = 146_097;

/// A wall time as RFC 3339 in UTC, cut to milliseconds: `2026-11-03T10:00:00.000Z`.
#[must_use]
pub fn rfc3339(time: WallTime) -> String {
    let millis = time.nanos().div_euclid(1_000_000);
    let (year, month, day) = date_of(millis.div_euclid(MILLIS_PER_DAY));
    let of_day = millis.rem_euclid(MILLIS_PER_DAY);
    let (seconds, fraction) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Year, month and day, so many days after 1970-01-01.
///
/// Years are taken to begin in March, so that the leap day is the last of its year and the lengths
/// of the months before it follow one line (153 days for each five months).
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let text = |millis| rfc3339(WallTime::from_millis(millis));
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(text(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(WallTime::from_nanos(-1)), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(WallTime::from_nanos(i64::MAX)), "2262-04-11T23:47:16.854Z");
        assert_eq!(rfc3339(WallTime::from_nanos(i64::MIN)), "1677-09-21T00:12:43.145Z");
    }

    proptest! {
        #[test]
        fn text_is_ordered_as_time_is(a in any::<i64>(), b in any::<i64>()) {
            let (early, late) = (a.min(b), a.max(b));
            let text = |nanos| rfc3339(WallTime::from_nanos(nanos));
            prop_assert!(text(early) <= text(late));
        }

        #[test]
        fn days_follow_each_other(day in -100_000_i64..100_000) {
            let ((year, month, date), next) = (date_of(day), date_of(day + 1));
            let followers = [(year, month, date + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            prop_assert!(followers.contains(&next), "{next:?} after {:?}", (year, month, date));
        }
    }
}

//! Times of files as FTP writes them (RFC 3659 §2.3): `YYYYMMDDHHMMSS`, in UTC.
//!
//! Invariant: only times of the years 0 to 9999 can be written; what is parsed is a day of the calendar.

use portreeve_model::Timestamp;

use super::number::append;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;
/// The first second of the year 0, and the last of 9999.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;
/// Days from 0000-03-01, from which years are counted so that the leap day ends them, to 1970-01-01.
const SHIFT: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// Appends the whole second of `at`; a time outside the years 0 to 9999 as the nearest one within.
pub fn append_time(out: &mut Vec<u8>, at: Timestamp) {
    let moment = Moment::of(at.seconds);
    append(out, moment.year, 4, b'0');
    for part in [
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
    ] {
        append_two(out, part);
    }
}

/// Whether `at` can be written as it is.
pub(super) fn can_be_written(at: Timestamp) -> bool {
    (FIRST..=LAST).contains(&at.seconds)
}

/// Appends two digits.
pub(super) fn append_two(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(&[b'0' + value / 10 % 10, b'0' + value % 10]);
}

/// A time of 14 digits, with or without a fraction of the second; none where it is malformed or no time
/// of the calendar. A leap second counts as the one after it.
#[must_use]
pub fn time(text: &[u8]) -> Option<Timestamp> {
    let (digits, fraction) = text.split_at_checked(14)?;
    let nanos = match fraction {
        [] => 0,
        [b'.', fraction @ ..] => nanos(fraction)?,
        _ => return None,
    };
    let (year, rest) = digits.split_at_checked(4)?;
    let year = i64::try_from(super::number(year)?).ok()?;
    let mut pairs = rest
        .chunks(2)
        .map(|pair| super::number(pair).and_then(|n| i64::try_from(n).ok()));
    let mut within = |least: i64, most: i64| pairs.next().flatten().filter(|n| (least..=most).contains(n));
    let month = within(1, 12)?;
    let day = within(1, days_of(year, month))?;
    let (hour, minute, second) = (within(0, 23)?, within(0, 59)?, within(0, 60)?);
    let seconds = days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(Timestamp { seconds, nanos })
}

/// A fraction of any precision, cut to nanoseconds.
fn nanos(fraction: &[u8]) -> Option<u32> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some(digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let in_era = year.rem_euclid(400);
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year.div_euclid(400) * ERA + 365 * in_era + in_era / 4 - in_era / 100 + in_year - SHIFT
}

/// A second, taken apart.
pub(super) struct Moment {
    pub(super) year: u64,
    /// 1 to 12.
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
}

impl Moment {
    /// The second `seconds` after 1970 began, or the nearest of the years 0 to 9999.
    pub(super) fn of(seconds: i64) -> Self {
        let seconds = seconds.clamp(FIRST, LAST);
        let days = seconds.div_euclid(DAY) + SHIFT;
        let second = seconds.rem_euclid(DAY) as u32;
        let era = days.div_euclid(ERA);
        let in_era = days.rem_euclid(ERA) as u32;
        let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * in_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        let year = era * 400 + i64::from(year_of_era) + i64::from(month <= 2);
        Self {
            year: year.unsigned_abs(),
            month: month as u8,
            day: (in_year - (153 * from_march + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(seconds: i64) -> String {
        let mut out = Vec::new();
        append_time(
            &mut out,
            Timestamp {
                seconds,
                nanos: 999_999_999,
            },
        );
        String::from_utf8(out).unwrap()
    }

    fn check(seconds: i64, text: &str) {
        assert_eq!(written(seconds), text);
        assert_eq!(
            time(text.as_bytes()),
            Some(Timestamp::from_seconds(seconds)),
            "{text}"
        );
    }

    #[test]
    fn both_ways() {
        check(0, "19700101000000");
        check(-1, "19691231235959");
        check(951_782_400, "20000229000000");
        check(1_709_208_000, "20240229120000");
        check(1_795_365_661, "20261122164101");
        check(4_107_542_400, "21000301000000");
        check(FIRST, "00000101000000");
        check(LAST, "99991231235959");
    }

    #[test]
    fn beyond_the_calendar_is_its_end() {
        for (seconds, text) in [
            (i64::MIN, "00000101000000"),
            (FIRST - 1, "00000101000000"),
            (LAST + 1, "99991231235959"),
            (i64::MAX, "99991231235959"),
        ] {
            assert_eq!(written(seconds), text);
            assert!(!can_be_written(Timestamp::from_seconds(seconds)));
        }
    }

    #[test]
    fn fractions() {
        for (text, nanos) in [
            ("19700101000000.5", 500_000_000),
            ("19700101000000.000000001", 1),
            ("19700101000000.9999999999999", 999_999_999),
        ] {
            assert_eq!(
                time(text.as_bytes()),
                Some(Timestamp { seconds: 0, nanos }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_leap_second_is_the_one_after_it() {
        assert_eq!(time(b"20161231235960"), time(b"20170101000000"));
    }

    #[test]
    fn no_times() {
        for text in [
            "",
            "1970",
            "1970010100000",
            "197001010000000",
            "19700101000000.",
            "19700101000000.x",
            "19700101000000,5",
            "19700101000000 ",
            "19700001000000",
            "19701301000000",
            "19700100000000",
            "19700132000000",
            "20230229000000",
            "19000229000000",
            "20240431000000",
            "19700101240000",
            "19700101006000",
            "19700101000061",
            "-9700101000000",
            "1970+101000000",
            "1970010100000\u{660}",
        ] {
            assert_eq!(time(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_second_survives(seconds in FIRST..=LAST) {
            prop_assert_eq!(time(written(seconds).as_bytes()), Some(Timestamp::from_seconds(seconds)));
        }

        #[test]
        fn what_is_understood_is_written_alike(
            text in "[0-9]{4}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9]",
        ) {
            if let Some(at) = time(text.as_bytes()) {
                prop_assert_eq!(written(at.seconds), text);
            }
        }

        #[test]
        fn nothing_panics(seconds in any::<i64>(), text in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(written(seconds).len(), 14);
            let _ = time(&text);
        }
    }
}

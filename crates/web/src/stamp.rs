//! Points in time as HTTP and JSON write them: IMF-fixdate (RFC 9110 §5.6.7) and RFC 3339.
//!
//! RFC 3339 is written by hand, because a listing writes one for every entry.

use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use portreeve_model::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`; none for times that the form cannot say.
pub(crate) fn http_date(stamp: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_second(stamp.seconds).ok()?;
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

/// Reads an HTTP date.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    let time = DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(Timestamp::from_seconds(time.as_second()))
}

/// Appends `2026-11-22T16:41:22Z`, with as many decimals as the time has. Years outside 0 to 9999
/// are not written, and `false` says so.
pub(crate) fn push_rfc3339(stamp: Timestamp, out: &mut Vec<u8>) -> bool {
    let days = stamp.seconds.div_euclid(86_400);
    let second = stamp.seconds.rem_euclid(86_400);
    let Some((year, month, day)) = civil(days) else {
        return false;
    };
    two(out, year / 100);
    two(out, year % 100);
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day);
    out.push(b'T');
    two(out, second / 3_600);
    out.push(b':');
    two(out, second / 60 % 60);
    out.push(b':');
    two(out, second % 60);
    if stamp.nanos != 0 {
        decimals(out, stamp.nanos);
    }
    out.push(b'Z');
    true
}

/// As [`push_rfc3339`], as text.
pub(crate) fn rfc3339(stamp: Timestamp) -> Option<String> {
    let mut out = Vec::with_capacity(30);
    push_rfc3339(stamp, &mut out).then(|| String::from_utf8(out).unwrap_or_default())
}

fn two(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

fn digit(number: i64) -> u8 {
    b'0' + u8::try_from(number.rem_euclid(10)).unwrap_or(0)
}

fn decimals(out: &mut Vec<u8>, nanos: u32) {
    out.push(b'.');
    let (mut rest, mut place) = (nanos % 1_000_000_000, 100_000_000);
    while rest != 0 {
        out.push(digit(i64::from(rest / place)));
        rest %= place;
        place /= 10;
    }
}

/// The Gregorian date of a day since 1970-01-01, by counting in eras of 400 years that begin in
/// March, so that the leap day is the last of a year.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    const ERA: i64 = 146_097;
    let shifted = days.checked_add(719_468)?;
    let era = shifted.div_euclid(ERA);
    let day_of_era = shifted.rem_euclid(ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9_999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_known_dates() {
        for (seconds, nanos, want) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 500_000_000, "1969-12-31T23:59:59.5Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_700_000_000, 123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (253_402_300_799, 1_000, "9999-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(rfc3339(Timestamp { seconds, nanos }).as_deref(), Some(want));
        }
        assert_eq!(rfc3339(Timestamp::from_seconds(253_402_300_800)), None);
        assert_eq!(rfc3339(Timestamp::from_seconds(i64::MIN)), None);
        assert_eq!(rfc3339(Timestamp::from_seconds(i64::MAX)), None);
    }

    #[test]
    fn http_dates_go_both_ways() {
        let stamp = Timestamp::from_seconds(784_111_777);
        let text = http_date(stamp).unwrap();
        assert_eq!(text, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse_http_date(&text), Some(stamp));
        assert_eq!(parse_http_date("yesterday"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_calendar(seconds in -62_000_000_000i64..253_000_000_000, nanos in 0u32..1_000_000_000) {
            let ours = rfc3339(Timestamp { seconds, nanos }).unwrap();
            let time = jiff::Timestamp::new(seconds, 0).unwrap() + jiff::SignedDuration::from_nanos(nanos.into());
            prop_assert_eq!(ours, time.to_string());
        }
    }
}

//! How long to wait before asking again: `Retry-After`, doubling waits, and a little chance so that callers do not come
//! back all at once.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};

/// Longest wait that a header can ask for; more is taken for this.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// What `Retry-After` asks for, in seconds or as a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

/// The same for a header's bare value.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let date = SystemTime::from(date.timestamp());
    Some(date.duration_since(now).unwrap_or(Duration::ZERO).min(MOST))
}

/// A wait and up to a quarter more, a second at most.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let most = (wait / 4).min(Duration::from_secs(1));
    let mut chance = [0_u8; 2];
    // Without chance the wait is the bare one: worse, not wrong.
    let _ = getrandom::fill(&mut chance);
    let part = u32::from(u16::from_be_bytes(chance));
    wait + most * part / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        // 1994-11-06 08:49:37 UTC, the example of RFC 9110.
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let before = then - Duration::from_secs(10);
        for (value, wait) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999", Some(24 * 3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(parse(value, before), wait.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn chance_adds_and_never_takes() {
        for _ in 0..200 {
            let wait = jittered(Duration::from_secs(2));
            assert!(
                wait >= Duration::from_secs(2) && wait <= Duration::from_millis(2500),
                "{wait:?}"
            );
        }
        assert!(jittered(Duration::from_secs(3600)) <= Duration::from_secs(3601));
    }
}

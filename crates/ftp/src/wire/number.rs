//! Numbers as they stand in arguments and listings.

/// A number of decimal digits and nothing else (REST, ALLO, RANG: RFC 3659 §5.3); none where a sign, a
/// space or an overflow is in it.
#[must_use]
pub fn number(argument: &[u8]) -> Option<u64> {
    if argument.is_empty() {
        return None;
    }
    argument.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Longest number: 2^64-1.
const DIGITS: usize = 20;

/// Appends the digits of `value`, right-aligned in `width` (at most 20).
pub(super) fn append(out: &mut Vec<u8>, mut value: u64, width: usize, fill: u8) {
    let mut digits = [fill; DIGITS];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    let start = DIGITS - width.max(length).min(DIGITS);
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends the digits of `value`, left-aligned in `width`.
pub(super) fn append_left(out: &mut Vec<u8>, value: u64, width: usize) {
    let end = out.len() + width;
    append(out, value, 0, b' ');
    while out.len() < end {
        out.push(b' ');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
            ("1e3", None),
            ("\u{661}", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(value in any::<u64>(), width in 0_usize..=DIGITS) {
            let mut out = b"x".to_vec();
            append(&mut out, value, width, b'0');
            prop_assert_eq!(number(&out[1..]), Some(value));
            prop_assert!(out.len() > width);
            let mut out = b"x".to_vec();
            append_left(&mut out, value, width);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x{value:<width$}"));
            let mut out = b"x".to_vec();
            append(&mut out, value, width, b' ');
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x{value:>width$}"));
        }
    }
}

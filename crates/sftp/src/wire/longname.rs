//! The `longname` of a directory entry: a line as `ls -l` writes it (draft-ietf-secsh-filexfer-02 §7).
//!
//! Clients show it to people and some parse it, so columns are those of `ls`. Owners are numbers: no
//! name service is asked, and times are in UTC. Written by hand because a listing has 100,000 of them.

use super::WireAttrs;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

const DAY: i64 = 86_400;

/// Half a year, as `ls` has it.
const RECENT: i64 = 182 * DAY;

pub(super) fn append(out: &mut Vec<u8>, name: &[u8], attrs: &WireAttrs, links: u64, now: i64) {
    mode(out, attrs.permissions.unwrap_or(0));
    out.push(b' ');
    number(out, links, 4, b' ');
    out.push(b' ');
    let (owner, group) = attrs.owner.unwrap_or((0, 0));
    left(out, owner.into(), 8);
    out.push(b' ');
    left(out, group.into(), 8);
    out.push(b' ');
    number(out, attrs.size.unwrap_or(0), 8, b' ');
    out.push(b' ');
    time(out, attrs.times.map_or(0, |(_, changed)| i64::from(changed)), now);
    out.push(b' ');
    out.extend_from_slice(name);
}

fn mode(out: &mut Vec<u8>, mode: u32) {
    out.push(match mode & 0o170_000 {
        0o040_000 => b'd',
        0o120_000 => b'l',
        0o100_000 => b'-',
        0o020_000 => b'c',
        0o060_000 => b'b',
        0o010_000 => b'p',
        0o140_000 => b's',
        _ => b'?',
    });
    for shift in [6, 3, 0] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(if bits & 1 != 0 { b'x' } else { b'-' });
    }
}

/// Digits of `value`, right-aligned in `width`.
fn number(out: &mut Vec<u8>, mut value: u64, width: usize, fill: u8) {
    let start = out.len();
    loop {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    while out.len() - start < width {
        out.push(fill);
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Digits of `value`, left-aligned in `width`.
fn left(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    number(out, value, 0, b' ');
    while out.len() - start < width {
        out.push(b' ');
    }
}

fn time(out: &mut Vec<u8>, at: i64, now: i64) {
    let (year, month, day) = date(at.div_euclid(DAY));
    out.extend_from_slice(MONTHS.get(month).copied().unwrap_or(b"Jan"));
    out.push(b' ');
    number(out, day, 2, b' ');
    out.push(b' ');
    if at <= now && now - at < RECENT {
        let second = at.rem_euclid(DAY) as u64;
        number(out, second / 3600, 2, b'0');
        out.push(b':');
        number(out, second / 60 % 60, 2, b'0');
    } else {
        number(out, year, 5, b' ');
    }
}

/// Year, month (0 is January) and day of a day counted from 1970, in the Gregorian calendar: years are
/// counted from March, so that the leap day is the last of its year. Only days from 1970 on occur.
fn date(days: i64) -> (u64, usize, u64) {
    let days = days.max(0) as u64 + 719_468; // since 0000-03-01
    let era = days / 146_097;
    let in_era = days % 146_097;
    let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(days: i64, expected: (u64, usize, u64)) {
        assert_eq!(date(days), expected, "{days}");
    }

    #[test]
    fn calendar() {
        check(0, (1970, 0, 1));
        check(58, (1970, 1, 28));
        check(59, (1970, 2, 1));
        check(11_016, (2000, 1, 29));
        check(20_513, (2026, 2, 1));
        check(20_514, (2026, 2, 2));
        check(49_709, (2106, 1, 6));
    }

    #[test]
    fn lines_look_like_ls() {
        let mut out = Vec::new();
        let attrs = WireAttrs {
            size: Some(12_345),
            owner: Some((1000, 100)),
            permissions: Some(0o100_640),
            times: Some((0, 1_795_365_600)),
        };
        append(&mut out, b"a b", &attrs, 1, 1_795_365_700);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "-rw-r-----    1 1000     100         12345 Nov 22 16:40 a b"
        );
    }
}

//! A line of LIST and STAT, as `ls -l` writes it: no RFC says how, and every client parses this form.
//!
//! Owners are numbers: no name service is asked, and times are in UTC. Columns cannot be left out: what
//! is not known is told as the most harmless there is. Written by hand: a listing has 100,000 of them.

use portreeve_session::{Entry, FileKind};

use super::{
    name::append_shown,
    number::{append, append_left},
    time::{DAY, Moment, append_two},
};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Half a year, as `ls` has it: older times are told by their year.
const RECENT: i64 = 182 * DAY;

/// Appends the line of `entry` at the moment `now` (seconds since 1970), without its end. An entry that
/// has no name is the listed directory: `.`.
pub fn append_long(out: &mut Vec<u8>, entry: &Entry, now: i64) {
    mode(out, entry);
    out.push(b' ');
    append(out, entry.links.unwrap_or(1), 4, b' ');
    out.push(b' ');
    let (owner, group) = entry.owner.unwrap_or((0, 0));
    append_left(out, owner.into(), 8);
    out.push(b' ');
    append_left(out, group.into(), 8);
    out.push(b' ');
    append(out, entry.size.unwrap_or(0), 8, b' ');
    out.push(b' ');
    time(out, entry.modified.map_or(0, |at| at.seconds), now);
    out.push(b' ');
    append_shown(out, entry.name.as_ref().map_or(b".", |name| name.as_bytes()));
}

/// Unknown bits are those that most files have: a client that mirrors would give its copies no rights.
fn mode(out: &mut Vec<u8>, entry: &Entry) {
    let (letter, usual) = match entry.kind {
        FileKind::File => (b'-', 0o644),
        FileKind::Dir => (b'd', 0o755),
        FileKind::Symlink => (b'l', 0o777),
        FileKind::Other => (b's', 0o644),
    };
    let mode = entry.mode.unwrap_or(usual);
    out.push(letter);
    for shift in [6, 3, 0] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(if bits & 1 != 0 { b'x' } else { b'-' });
    }
}

fn time(out: &mut Vec<u8>, at: i64, now: i64) {
    let moment = Moment::of(at);
    let month = MONTHS.get(usize::from(moment.month.saturating_sub(1)));
    out.extend_from_slice(month.copied().unwrap_or(b"Jan"));
    out.push(b' ');
    append(out, moment.day.into(), 2, b' ');
    out.push(b' ');
    if at <= now && now.saturating_sub(at) < RECENT {
        append_two(out, moment.hour);
        out.push(b':');
        append_two(out, moment.minute);
    } else {
        append(out, moment.year, 5, b' ');
    }
}

#[cfg(test)]
mod tests {
    use portreeve_model::{Name, Timestamp};
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22 16:43 UTC.
    const NOW: i64 = 1_795_365_800;

    fn written(entry: &Entry, now: i64) -> Vec<u8> {
        let mut out = Vec::new();
        append_long(&mut out, entry, now);
        out
    }

    fn check(entry: &Entry, expected: &str) {
        assert_eq!(written(entry, NOW).escape_ascii().to_string(), expected);
    }

    fn file(name: &[u8]) -> Entry {
        let mut entry = Entry::file(Name::new(name).unwrap(), 12_345);
        entry.mode = Some(0o640);
        entry.owner = Some((1000, 100));
        entry.modified = Some(Timestamp::from_seconds(NOW - 200));
        entry
    }

    #[test]
    fn lines_look_like_ls() {
        check(
            &file(b"a b"),
            "-rw-r-----    1 1000     100         12345 Nov 22 16:40 a b",
        );
        let mut dir = Entry::dir(None);
        dir.links = Some(12);
        dir.modified = Some(Timestamp::from_seconds(0));
        check(&dir, "drwxr-xr-x   12 0        0               0 Jan  1  1970 .");
        let name = Some(Name::new(*b"l").unwrap());
        check(
            &Entry::bare(name, FileKind::Symlink),
            "lrwxrwxrwx    1 0        0               0 Jan  1  1970 l",
        );
        check(
            &file(b"a\r\nb"),
            "-rw-r-----    1 1000     100         12345 Nov 22 16:40 a\\\\x0d\\\\x0ab",
        );
    }

    #[test]
    fn columns_grow() {
        let mut entry = file(b"a");
        (entry.size, entry.owner, entry.links) = (Some(u64::MAX), Some((u32::MAX, u32::MAX)), Some(123_456));
        check(
            &entry,
            "-rw-r----- 123456 4294967295 4294967295 18446744073709551615 Nov 22 16:40 a",
        );
    }

    #[test]
    fn old_and_future_times_have_a_year() {
        for (seconds, expected) in [
            (NOW, "Nov 22 16:43"),
            (NOW + 1, "Nov 22  2026"),
            (NOW - RECENT + 1, "May 24 16:43"),
            (NOW - RECENT, "May 24  2026"),
            (-1, "Dec 31  1969"),
            (i64::MAX, "Dec 31  9999"),
            (i64::MIN, "Jan  1     0"),
        ] {
            let mut entry = file(b"a");
            entry.modified = Some(Timestamp::from_seconds(seconds));
            let line = String::from_utf8(written(&entry, NOW)).unwrap();
            assert_eq!(line[43..55], *expected, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn one_entry_is_one_line(
            name in prop::collection::vec(1_u8.., 1..40),
            (size, mode, seconds, now) in any::<(Option<u64>, Option<u32>, i64, i64)>(),
        ) {
            if let Ok(name) = Name::new(name) {
                let mut entry = Entry::bare(Some(name), FileKind::File);
                (entry.size, entry.mode) = (size, mode);
                entry.modified = Some(Timestamp::from_seconds(seconds));
                prop_assert!(!written(&entry, now).iter().any(u8::is_ascii_control));
            }
        }
    }
}

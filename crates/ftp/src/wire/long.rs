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

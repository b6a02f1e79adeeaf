//! Bytes to lines: CRLF or a bare LF ends one (RFC 959 §5.3.1), Telnet's sequences are taken out (RFC 854).
//!
//! Invariant: of a line no more than [`MAX_LINE`] bytes are held, of what was fed and not yet asked for no
//! more than [`MAX_WAITING`]; what a cut falls into changes nothing.

/// Longest line on the wire, its end and its Telnet sequences included.
pub const MAX_LINE: usize = 8192;

/// Most bytes that wait undecoded. Whoever asks for the lines after each read never comes near it.
const MAX_WAITING: usize = 2 * MAX_LINE;

/// Buffers above this are given back once they are empty: most lines are shorter.
const KEPT: usize = 512;

const IAC: u8 = 255;
const WILL: u8 = 251;
const DONT: u8 = 254;
/// The lowest byte that is a Telnet command.
const FIRST_COMMAND: u8 = 240;
const DATA_MARK: u8 = 242;

/// What came in place of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// A line passed the limit. Told at that moment and once; the rest of it is dropped unseen.
    TooLong,
}

/// Gathers lines out of what was read. Lines are asked for as from any iterator; `None` means that no
/// whole line is there yet.
#[derive(Debug, Default)]
pub struct Lines {
    /// Fed, not yet decoded from `at` on.
    waiting: Vec<u8>,
    at: usize,
    /// The line so far, decoded.
    line: Vec<u8>,
    /// Bytes that the line had on the wire so far.
    length: usize,
    telnet: Telnet,
    /// Whether the rest of an overlong line is being dropped.
    skipping: bool,
    /// Whether more was fed than may wait, so that the line in which that happened is lost.
    flooded: bool,
    discarded: u64,
}

/// What the byte before means for this one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    /// A CR: an end of line, or (before NUL, RFC 854) itself.
    Return,
    /// An IAC: a command follows.
    Command,
    /// WILL, WONT, DO or DONT: an option follows.
    Option,
}

impl Lines {
    /// Adds what was read: at most 4 KiB at a time, and the lines asked for in between. What is fed
    /// beyond 16 KiB waiting is dropped, and told as [`Line::TooLong`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.waiting.drain(..self.at.min(self.waiting.len()));
        self.at = 0;
        let room = MAX_WAITING - self.waiting.len().min(MAX_WAITING);
        let (taken, dropped) = match bytes.split_at_checked(room) {
            _ if self.flooded => (&[][..], bytes),
            Some((taken, dropped)) => (taken, dropped),
            None => (bytes, &[][..]),
        };
        self.waiting.extend_from_slice(taken);
        self.flooded |= !dropped.is_empty();
        self.discarded += dropped.len() as u64;
    }

    /// Forgets everything that was fed and not yet told, and gives the memory back: after AUTH TLS
    /// nothing that came in the clear may count (the STARTTLS injection, CVE-2011-0411).
    pub fn clear(&mut self) {
        *self = Self {
            discarded: self.discarded,
            ..Self::default()
        };
    }

    /// Whether nothing is held: neither a line nor the beginning of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.waiting.len() && self.length == 0 && !self.skipping && !self.flooded
    }

    /// Bytes of overlong lines that were thrown away since the start, as they were on the wire.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Decodes one byte; a line where it ended one.
    fn decode(&mut self, byte: u8) -> Option<Line> {
        if self.skipping {
            self.discarded += 1;
            self.skipping = byte != b'\n';
            return None;
        }
        self.length += 1;
        if self.length > MAX_LINE {
            self.skipping = byte != b'\n';
            return Some(self.lose());
        }
        match std::mem::take(&mut self.telnet) {
            Telnet::Return if byte == 0 => self.line.push(b'\r'),
            Telnet::Return if byte == b'\n' => return Some(self.end()),
            Telnet::Return => {
                self.line.push(b'\r');
                return self.text(byte);
            }
            Telnet::Command => match byte {
                IAC => self.line.push(IAC),
                WILL..=DONT => self.telnet = Telnet::Option,
                FIRST_COMMAND.. => {}
                // The urgent byte of "IAC IP IAC DM" went beside the stream: this is the "A" of ABOR.
                _ => return self.text(byte),
            },
            Telnet::Option => {}
            Telnet::Text => return self.text(byte),
        }
        None
    }

    fn text(&mut self, byte: u8) -> Option<Line> {
        match byte {
            b'\n' => return Some(self.end()),
            b'\r' => self.telnet = Telnet::Return,
            IAC => self.telnet = Telnet::Command,
            // Before ABOR, where its IAC was the urgent byte.
            DATA_MARK if self.line.is_empty() => {}
            byte => self.line.push(byte),
        }
        None
    }

    fn end(&mut self) -> Line {
        self.length = 0;
        Line::Whole(std::mem::take(&mut self.line))
    }

    fn lose(&mut self) -> Line {
        self.discarded += self.length as u64;
        self.length = 0;
        self.line = Vec::new();
        self.telnet = Telnet::Text;
        Line::TooLong
    }
}

impl Iterator for Lines {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while let Some(byte) = self.waiting.get(self.at).copied() {
            self.at += 1;
            if let Some(line) = self.decode(byte) {
                return Some(line);
            }
        }
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        self.at = 0;
        if !std::mem::take(&mut self.flooded) || std::mem::replace(&mut self.skipping, true) {
            return None;
        }
        Some(self.lose())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` cut into pieces of `cut` and asks for the lines after each.
    fn lines(bytes: &[u8], cut: usize) -> (Vec<Line>, Lines) {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in bytes.chunks(cut) {
            lines.feed(piece);
            all.extend(&mut lines);
            assert!(lines.waiting.capacity() <= 4096 && lines.line.capacity() <= MAX_LINE);
        }
        (all, lines)
    }

    fn check(bytes: &[u8], expected: &[&[u8]]) {
        let expected: Vec<Line> = expected.iter().map(|line| Line::Whole(line.to_vec())).collect();
        for cut in 1..=bytes.len().clamp(1, 16) {
            let (all, left) = lines(bytes, cut);
            assert_eq!(all, expected, "{:?}, cut {cut}", bytes.escape_ascii().to_string());
            assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    fn ends_of_lines() {
        check(b"", &[]);
        check(b"NOOP\r\n", &[b"NOOP"]);
        check(b"NOOP\nPWD\r\n\r\n\n", &[b"NOOP", b"PWD", b"", b""]);
        check(b"a\rb\r\n", &[b"a\rb"]);
        check(b"a\r\0\r\n", &[b"a\r"]);
        check(b"a\r\r\n", &[b"a\r"]);
        check(b"\r\r\0\n", &[b"\r\r"]);
        check(b"CWD  a \t\r\n", &[b"CWD  a \t"]);
    }

    #[test]
    fn telnet_is_taken_out() {
        check(
            b"\xff\xfb\x01\xff\xfc\x02\xff\xfd\x03\xff\xfe\x04NOOP\r\n",
            &[b"NOOP"],
        );
        check(b"\xff\xf4\xff\xf2ABOR\r\n", &[b"ABOR"]);
        check(b"CWD \xff\xff\r\n", &[b"CWD \xff"]);
        check(b"CWD \xff\xff\xff\xffa\r\n", &[b"CWD \xff\xffa"]);
        check(b"\xff\xfb\nNOOP\n", &[b"NOOP"]);
        check(b"CWD a\xf2b\r\n", &[b"CWD a\xf2b"]);
    }

    /// The urgent byte does not come in the stream: lftp's is DM, that of BSD's ftp the second IAC.
    #[test]
    fn abor_is_understood_without_its_urgent_byte() {
        check(b"\xff\xf4\xffABOR\r\n", &[b"ABOR"]);
        check(b"\xff\xf4\xf2ABOR\r\n", &[b"ABOR"]);
    }

    #[test]
    fn the_longest_line_is_taken_and_the_next_one_is_not() {
        for (end, spare) in [(&b"\r\n"[..], 2), (b"\n", 1)] {
            let fits = [&vec![b'a'; MAX_LINE - spare][..], end].concat();
            assert_eq!(lines(&fits, 4096).0, [Line::Whole(vec![b'a'; MAX_LINE - spare])]);
            let (all, left) = lines(&[b"a", &fits[..], b"NOOP\r\n"].concat(), 4096);
            assert_eq!(all, [Line::TooLong, Line::Whole(b"NOOP".to_vec())]);
            assert_eq!(left.discarded(), 1 + fits.len() as u64);
        }
    }

    #[test]
    fn an_endless_line_is_told_once_and_at_once() {
        let mut lines = Lines::default();
        for _ in 0..2 {
            lines.feed(&[b'a'; 4096]);
            assert_eq!(lines.next(), None);
        }
        lines.feed(b"a");
        assert_eq!(lines.next(), Some(Line::TooLong));
        for _ in 0..1000 {
            lines.feed(&[b'\r'; 4096]);
            assert_eq!(lines.next(), None);
            assert!(lines.waiting.capacity() <= 4096 && lines.line.capacity() == 0 && !lines.is_empty());
        }
        assert_eq!(lines.discarded(), MAX_LINE as u64 + 1 + 4_096_000);
        lines.feed(b"\nNOOP\n");
        assert_eq!(lines.next(), Some(Line::Whole(b"NOOP".to_vec())));
    }

    /// Telnet's sequences leave nothing in a line, and yet are no way to talk for ever.
    #[test]
    fn an_endless_telnet_negotiation_is_too_long() {
        let (all, left) = lines(&b"\xff\xfb\x01".repeat(5000), 4096);
        assert_eq!(all, [Line::TooLong]);
        assert_eq!(left.discarded(), 15_000);
    }

    #[test]
    fn what_nobody_asks_for_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.feed(&b"NOOP\r\nPA".repeat(512));
            assert!(lines.waiting.capacity() <= 2 * MAX_WAITING);
        }
        lines.feed(b"\r\nDELE a\r\n");
        let told: Vec<Line> = lines.by_ref().collect();
        let (last, whole) = told.split_last().unwrap();
        assert_eq!(*last, Line::TooLong);
        assert!(whole.len() > 1000);
        assert_eq!(whole[0], Line::Whole(b"NOOP".to_vec()));
        assert!(
            whole[1..]
                .iter()
                .all(|line| *line == Line::Whole(b"PANOOP".to_vec()))
        );
        lines.feed(b"rest of a line\r\nNOOP\r\n");
        assert_eq!(lines.next(), Some(Line::Whole(b"NOOP".to_vec())));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn clearing_forgets_whole_lines_and_beginnings() {
        let mut lines = Lines::default();
        lines.feed(b"AUTH TLS\r\nUSER a\r\nPASS");
        assert_eq!(lines.next(), Some(Line::Whole(b"AUTH TLS".to_vec())));
        assert!(!lines.is_empty());
        lines.clear();
        assert!(lines.is_empty());
        lines.feed(b"NOOP\r\n");
        assert_eq!(lines.next(), Some(Line::Whole(b"NOOP".to_vec())));
    }

    proptest! {
        #[test]
        fn a_cut_changes_nothing(
            pieces in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(prop::sample::select(&b"\r\n\0\xff\xfb\xf2aA "[..]), 0..40),
                (b'a'..b'd', 8000_usize..9000).prop_map(|(byte, count)| vec![byte; count]),
            ], 0..12),
            cut in 1_usize..4096,
        ) {
            let bytes = pieces.concat();
            let (all, left) = lines(&bytes, cut);
            let (expected, same) = lines(&bytes, 4096);
            prop_assert_eq!(&all, &expected);
            prop_assert_eq!(left.discarded(), same.discarded());
            prop_assert!(left.discarded() <= bytes.len() as u64);
            for line in all {
                if let Line::Whole(line) = line {
                    prop_assert!(line.len() < MAX_LINE && !line.contains(&b'\n'));
                }
            }
        }

        #[test]
        fn lines_come_out_as_they_were_sent(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            cut in 1_usize..4096,
        ) {
            let sent: Vec<Vec<u8>> = sent
                .into_iter()
                .map(|line| line.into_iter().filter(|byte| !matches!(*byte, b'\n' | DATA_MARK)).collect())
                .collect();
            let mut wire = Vec::new();
            for byte in sent.iter().flat_map(|line| line.iter().chain(b"\n")) {
                match *byte {
                    b'\n' => wire.extend_from_slice(b"\r\n"),
                    b'\r' => wire.extend_from_slice(b"\r\0"),
                    IAC => wire.extend_from_slice(&[IAC, IAC]),
                    byte => wire.push(byte),
                }
            }
            let expected: Vec<Line> = sent.into_iter().map(Line::Whole).collect();
            prop_assert_eq!(lines(&wire, cut).0, expected);
        }
    }
}

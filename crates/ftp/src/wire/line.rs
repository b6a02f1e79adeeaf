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
    /// nothing that came in the clear may count (RFC 4217 §12.3 and the STARTTLS injections).
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

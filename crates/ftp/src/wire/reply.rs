//! Replies (RFC 959 §4.2): a code of three digits and text, in one line or several.
//!
//! Invariant: nothing in a text can end a line or look like the last one: control characters become
//! `?`, inner lines begin with a space, IAC is doubled (RFC 854).

use std::borrow::Cow;

const IAC: u8 = 255;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What programs read, 100 to 659.
    pub code: u16,
    /// The first line, then the inner ones.
    lines: Vec<Cow<'static, [u8]>>,
    /// The last line of a reply of several.
    last: Cow<'static, [u8]>,
}

impl Reply {
    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::from_line(code, bytes_of(text.into()))
    }

    /// A reply of one line that holds a name: bytes as they are.
    #[must_use]
    pub fn bytes(code: u16, text: Vec<u8>) -> Self {
        Self::from_line(code, text.into())
    }

    fn from_line(code: u16, first: Cow<'static, [u8]>) -> Self {
        Self {
            code,
            lines: vec![first],
            last: Cow::Borrowed(b"End"),
        }
    }

    /// Adds an inner line, between the first and the last.
    #[must_use]
    pub fn with(mut self, line: impl Into<Vec<u8>>) -> Self {
        self.lines.push(line.into().into());
        self
    }

    /// Says `text` in the last line of a reply of several, in place of "End".
    #[must_use]
    pub fn ending(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.last = bytes_of(text.into());
        self
    }

    /// Appends it as it goes over the wire.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let several = self.lines.len() > 1;
        for (at, line) in self.lines.iter().enumerate() {
            match at {
                0 => self.head(out, if several { b'-' } else { b' ' }),
                _ => out.push(b' '),
            }
            text(out, line);
        }
        if several {
            self.head(out, b' ');
            text(out, &self.last);
        }
    }

    /// Whether it says that what was asked was not done.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        self.code >= 400
    }

    fn head(&self, out: &mut Vec<u8>, separator: u8) {
        for unit in [100, 10, 1] {
            out.push(b'0' + (self.code / unit % 10) as u8);
        }
        out.push(separator);
    }
}

fn bytes_of(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// One line of text and its end.
fn text(out: &mut Vec<u8>, line: &[u8]) {
    for byte in line {
        match *byte {
            0..0x20 | 0x7f => out.push(b'?'),
            IAC => out.extend_from_slice(&[IAC, IAC]),
            byte => out.push(byte),
        }
    }
    out.extend_from_slice(b"\r\n");
}

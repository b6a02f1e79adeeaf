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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(reply: &Reply) -> Vec<u8> {
        let mut out = b"before".to_vec();
        reply.append_to(&mut out);
        out.split_off(6)
    }

    fn check(reply: &Reply, expected: &[u8]) {
        assert_eq!(
            written(reply).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    #[test]
    fn replies() {
        check(&Reply::new(200, "done"), b"200 done\r\n");
        check(&Reply::new(226, ""), b"226 \r\n");
        check(&Reply::new(257, format!("\"{}\"", '/')), b"257 \"/\"\r\n");
        check(
            &Reply::bytes(550, b"\xff\xc3\xa9".to_vec()),
            b"550 \xff\xff\xc3\xa9\r\n",
        );
        check(
            &Reply::new(211, "Features:").with("UTF8").with(*b"250 no end"),
            b"211-Features:\r\n UTF8\r\n 250 no end\r\n211 End\r\n",
        );
        check(
            &Reply::new(230, "Hello").with("there").ending("signed in"),
            b"230-Hello\r\n there\r\n230 signed in\r\n",
        );
        check(&Reply::new(230, "alone").ending("not said"), b"230 alone\r\n");
    }

    #[test]
    fn failures() {
        assert!(
            [421, 450, 550, 631]
                .into_iter()
                .all(|code| Reply::new(code, "").is_failure())
        );
        assert!(
            ![150, 226, 350, 331]
                .into_iter()
                .any(|code| Reply::new(code, "").is_failure())
        );
    }

    #[test]
    fn no_text_splits_a_line() {
        check(
            &Reply::bytes(550, b"a\r\n230 in\x1b[2J\x7f\t\0".to_vec()),
            b"550 a??230 in?[2J???\r\n",
        );
        check(
            &Reply::new(211, "a\nb").with("c\r\n211 d").ending("e\n"),
            b"211-a?b\r\n c??211 d\r\n211 e?\r\n",
        );
    }

    proptest! {
        #[test]
        fn a_reply_is_as_many_lines_as_it_was_made_of(
            code in 100_u16..660,
            first in prop::collection::vec(any::<u8>(), 0..80),
            inner in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5),
            last in any::<String>(),
        ) {
            let several = !inner.is_empty();
            let count = if several { inner.len() + 2 } else { 1 };
            let reply = inner.into_iter().fold(Reply::bytes(code, first), Reply::with).ending(last);
            let out = written(&reply);
            let mut lines = super::super::Lines::default();
            lines.feed(&out);
            let lines: Vec<_> = lines.collect();
            prop_assert_eq!(lines.len(), count);
            let ends = out.windows(4).filter(|w| w[..3] == code.to_string().into_bytes()[..] && w[3] == b' ');
            prop_assert!(ends.count() >= 1);
            for (at, line) in lines.iter().enumerate() {
                let super::super::Line::Whole(line) = line else {
                    return Err(TestCaseError::fail("too long"));
                };
                prop_assert!(!line.iter().any(u8::is_ascii_control));
                let start = match at {
                    0 if several => format!("{code}-"),
                    at if at + 1 == count => format!("{code} "),
                    _ => " ".to_owned(),
                };
                prop_assert!(line.starts_with(start.as_bytes()));
            }
        }
    }
}

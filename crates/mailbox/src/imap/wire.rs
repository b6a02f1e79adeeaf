//! What an IMAP server says (RFC 3501 §7), from bytes to values; no I/O.
//!
//! A codec of our own, since a mail server is not trusted: nesting, the number of values and the length of
//! a response are bounded, an upload is streamed, and no credentials pass through a library's log.
//!
//! Invariants: total, without recursion over what a server sends; time is linear in the bytes; a literal is
//! taken as it is, whatever is in it; what is nested too deeply becomes `NIL`, so that the rest of the
//! response stays readable.

mod response;
mod value;

use bytes::Bytes;

use super::{folders::Listed, namespace::Home};
pub(super) use response::{Data, Response, Status, Word};
pub(super) use value::{MAX_VALUES, Value, quoted};

/// Longest response, literals included.
pub(super) const MAX_RESPONSE: usize = 32 << 20;

/// A response that is none, or is beyond the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Malformed {
    /// Its end is known, and what comes after it can be read.
    pub(super) const TOO_MANY: Self = Self("too many values");
    /// Nobody knows where it ends.
    pub(super) const TOO_LONG: Self = Self("a response that is too long");
}

/// Finds where the response at the beginning of a buffer ends, without looking at any byte twice.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// Where the line begins that is being looked at: behind the last literal.
    line: usize,
    /// Up to where that line has been searched for its end.
    seen: usize,
}

impl Framer {
    /// The length of the first response of `buffer`, its line break included; none while it is incomplete.
    /// `buffer` only grows between calls, until its first response is taken.
    pub(super) fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        loop {
            let from = self.seen.max(self.line);
            let rest = buffer.get(from..).unwrap_or_default();
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.seen = buffer.len().max(self.line);
                return if buffer.len() > MAX_RESPONSE {
                    Err(Malformed::TOO_LONG)
                } else {
                    Ok(None)
                };
            };
            let end = from + at + 1;
            let line = buffer.get(self.line..end).unwrap_or_default();
            match literal(line) {
                None => {
                    *self = Self::default();
                    return Ok(Some(end));
                }
                Some(length) if length > MAX_RESPONSE || end + length > MAX_RESPONSE => {
                    return Err(Malformed::TOO_LONG);
                }
                Some(length) => {
                    self.line = end + length;
                    self.seen = self.line;
                }
            }
        }
    }
}

/// The length of the literal that a line announces at its end: `{12}`, `{12+}`, `~{12}`.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_suffix(b"}")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = line.split_at_checked(line.len() - digits)?;
    if before.last() != Some(&b'{') || !(1..=10).contains(&digits) {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// For the fuzzer: takes whatever a server sends apart.
#[doc(hidden)]
pub fn take_apart(input: &[u8]) {
    let mut input = Bytes::copy_from_slice(input);
    let mut framer = Framer::default();
    let (mut listed, mut home) = (Vec::new(), Home::default());
    while let Ok(Some(length)) = framer.find(&input) {
        if length == 0 || length > input.len() {
            break;
        }
        let line = input.split_to(length);
        if let Ok(Response::Data(data)) = Response::parse(&line) {
            super::row::take_apart(&data);
            listed.extend(Listed::read(&data));
            home = Home::read(&data).unwrap_or(home);
        }
    }
    // Whoever takes a tree apart looks at all of it for each folder.
    listed.truncate(100);
    super::folders::take_apart(&listed, home);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Words, brackets and literals in any order: nothing panics, nothing hangs.
        #[test]
        fn takes_anything(words in proptest::collection::vec(prop_oneof![
            Just("* 1 FETCH ("), Just("* LIST ("), Just("UID 7"), Just("BODYSTRUCTURE "), Just("("), Just(")"),
            Just("\"text\" \"plain\" NIL NIL NIL \"7bit\" 3 "), Just("\"message\" \"rfc822\" "), Just("NIL "), Just("\"mixed\""),
            Just("{3}\r\na\n)"), Just("BODY[1]<0> "), Just("[X"), Just("]"), Just("\r\n"), Just("\"/\" "), Just("INBOX"), Just(" 9 "),
            Just("* NAMESPACE (("), Just("\"INBOX.\" "), Just("\".\" "), Just("INBOX.a.b"), Just("INBOX."), Just("() "),
        ], 0..60)) {
            take_apart(words.concat().as_bytes());
        }
    }

    #[test]
    fn finds_where_responses_end() {
        for (input, want) in [
            (&b"* OK hi\r\n* BYE\r\n"[..], Some(9)),
            (b"* OK hi", None),
            (b"* 1 FETCH (X {3}\r\na\r\n)\r\nrest", Some(24)),
            (b"* 1 FETCH (X {3}\r\na\r", None),
            (b"* 1 FETCH (X {0}\r\n)\r\n", Some(21)),
            // A literal that looks like an announcement, one after the other.
            (b"* X {4}\r\n{9}\n {1}\r\n\n\r\n", Some(22)),
            (b"* OK {x}\r\n", Some(10)),
            (b"* OK 9}\r\n", Some(9)),
            (b"+ idling\n", Some(9)),
        ] {
            let whole = Framer::default().find(input);
            assert_eq!(whole, Ok(want), "{}", String::from_utf8_lossy(input));
            // Byte by byte: the same.
            let mut framer = Framer::default();
            let mut found = None;
            for end in 0..=input.len() {
                found = framer.find(&input[..end]).unwrap();
                if found.is_some() {
                    break;
                }
            }
            assert_eq!(found, want, "{}", String::from_utf8_lossy(input));
        }
        let huge = format!("* X {{{}}}\r\n", MAX_RESPONSE + 1);
        assert!(Framer::default().find(huge.as_bytes()).is_err());
        let endless = vec![b'x'; MAX_RESPONSE + 1];
        assert!(Framer::default().find(&endless).is_err());
    }
}

//! A line as a request: a verb, one space, an argument (RFC 959 §5.3).
//!
//! Invariant: the argument is kept byte for byte, for names may begin or end with spaces.

/// Longest verb taken. The longest that is spoken has nine letters (XSHA512 and site commands aside).
const MAX_VERB: usize = 10;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// What follows the one space after it; empty where nothing does.
    pub argument: Vec<u8>,
}

/// The word that a line begins with: 1 to 10 ASCII letters and digits, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verb {
    letters: [u8; MAX_VERB],
    length: u8,
}

impl Verb {
    /// The verb that `word` is; none where it is none.
    #[must_use]
    pub fn new(word: &[u8]) -> Option<Self> {
        if word.is_empty() || word.len() > MAX_VERB || !word.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut letters = [0; MAX_VERB];
        letters
            .iter_mut()
            .zip(word)
            .for_each(|(to, from)| *to = from.to_ascii_uppercase());
        Some(Self {
            letters,
            length: word.len() as u8,
        })
    }

    /// The verb, in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let letters = self.letters.get(..self.length.into()).unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default()
    }
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verb({})", self.as_str())
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line that is no request. What stood in it is not kept: it may be a password at the wrong moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command is a word of 1 to 10 letters, then a space where something follows")]
pub struct NotARequest;

/// Understands a line.
///
/// # Errors
/// [`NotARequest`] where it does not begin with a verb and a space (or its end).
pub fn parse(line: Vec<u8>) -> Result<Request, NotARequest> {
    let mut argument = line;
    let end = argument
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(argument.len());
    let verb = argument.get(..end).and_then(Verb::new).ok_or(NotARequest)?;
    argument.drain(..argument.len().min(end + 1));
    Ok(Request { verb, argument })
}

/// Whether `verb` (in upper case) is a method of HTTP: a browser made to speak to this port would send
/// its form as commands after it.
#[must_use]
pub fn is_http(verb: &str) -> bool {
    matches!(
        verb,
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT" | "PRI"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &[u8], expected: Option<(&str, &[u8])>) {
        let parsed = parse(line.to_vec()).ok();
        let parsed = parsed
            .as_ref()
            .map(|request| (request.verb.as_str(), &request.argument[..]));
        assert_eq!(parsed, expected, "{}", line.escape_ascii());
    }

    #[test]
    fn requests() {
        check(b"NOOP", Some(("NOOP", b"")));
        check(b"pwd ", Some(("PWD", b"")));
        check(b"cWd a b", Some(("CWD", b"a b")));
        check(b"CWD  a ", Some(("CWD", b" a ")));
        check(b"STOR \xff\r\0\xc3", Some(("STOR", b"\xff\r\0\xc3")));
        check(b"XSHA512 f", Some(("XSHA512", b"f")));
        check(b"ABCDEFGHIJ", Some(("ABCDEFGHIJ", b"")));
    }

    #[test]
    fn no_requests() {
        for line in [
            &b""[..],
            b" NOOP",
            b"ABCDEFGHIJK",
            b"NO-OP",
            b"NOOP\t",
            b"NOOP\r",
            b"\xc3\x89PRT",
            b"\x16\x03\x01",
            b"NO\0P",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn methods_of_http_are_known() {
        let Ok(request) = parse(b"get / HTTP/1.1".to_vec()) else {
            panic!("it has a verb");
        };
        assert!(is_http(request.verb.as_str()));
        assert!(["POST", "OPTIONS", "PRI"].into_iter().all(is_http));
        assert!(!["USER", "OPTS", "PROT", ""].into_iter().any(is_http));
    }

    proptest! {
        #[test]
        fn parsing_keeps_every_byte(line in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(request) = parse(line.clone()) {
                let verb = request.verb.as_str();
                let rest = &line[verb.len()..];
                prop_assert!((1..=10).contains(&verb.len()));
                prop_assert!(verb.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
                prop_assert!(line[..verb.len()].eq_ignore_ascii_case(verb.as_bytes()));
                prop_assert!(rest.is_empty() || rest == [b" ", &request.argument[..]].concat());
            }
        }

        #[test]
        fn what_is_a_request_parses(
            verb in "[A-Za-z0-9]{1,10}",
            argument in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let line = [verb.as_bytes(), b" ", &argument].concat();
            let request = parse(line).unwrap();
            prop_assert_eq!(request.verb.as_str(), verb.to_uppercase());
            prop_assert_eq!(request.argument, argument);
        }
    }
}

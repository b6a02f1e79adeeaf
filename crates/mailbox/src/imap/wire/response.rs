//! One response: a status, data, or the request to go on (RFC 3501 §7).

use bytes::Bytes;

use super::{Malformed, Value};

/// Longest text of a status that is kept, in characters.
const MAX_TEXT: usize = 500;

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// `+`: it waits for the rest of the command.
    Continue(Bytes),
    /// How a command ended, or news of the connection.
    Status(Status),
    /// Data, asked for or not.
    Data(Data),
}

/// A status response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The command that it answers; none for `*`.
    pub(crate) tag: Option<Bytes>,
    /// The outcome.
    pub(crate) word: Word,
    /// What stood in brackets, as it was written: `APPENDUID 3 17`.
    pub(crate) code: Option<String>,
    /// For people.
    pub(crate) text: String,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The connection ends.
    Bye,
    /// Signed in already.
    Preauth,
}

/// Data: `* 12 FETCH (…)`, `* LIST (…) "/" INBOX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Data {
    /// The number before its name.
    pub(crate) number: Option<u64>,
    /// Its name, in capitals.
    pub(crate) name: String,
    /// The rest.
    pub(crate) values: Vec<Value>,
    /// How many values that comes to in memory.
    pub(crate) weight: usize,
}

impl Response {
    /// Reads one response, its line break included.
    pub(crate) fn parse(input: &Bytes) -> Result<Self, Malformed> {
        if input.first() == Some(&b'+') {
            let text = input.get(1..).unwrap_or_default().trim_ascii();
            return Ok(Self::Continue(input.slice_ref(text)));
        }
        let (first, at) = word(input, 0);
        if first.is_empty() {
            return Err(Malformed("an empty line"));
        }
        let tag = (first != b"*").then(|| input.slice_ref(first));
        let (second, after) = word(input, at);
        if let Some(word) = Word::named(second) {
            return Ok(Self::Status(status(
                tag,
                word,
                input.get(after..).unwrap_or_default(),
            )));
        }
        if tag.is_some() {
            return Err(Malformed("an answer without an outcome"));
        }
        let number = std::str::from_utf8(second)
            .ok()
            .and_then(|text| text.parse().ok());
        let (name, after) = if number.is_some() {
            word(input, after)
        } else {
            (second, after)
        };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        let (values, weight) = Value::parse(input, after)?;
        Ok(Self::Data(Data {
            number,
            name,
            values,
            weight,
        }))
    }
}

impl Word {
    fn named(word: &[u8]) -> Option<Self> {
        let names = [
            ("OK", Self::Ok),
            ("NO", Self::No),
            ("BAD", Self::Bad),
            ("BYE", Self::Bye),
            ("PREAUTH", Self::Preauth),
        ];
        let found = names
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, word)| word)
    }
}

/// The word at `at`, and where the next one begins.
fn word(input: &[u8], at: usize) -> (&[u8], usize) {
    let rest = input.get(at..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\r' | b'\n' | b'('));
    let end = end.unwrap_or(rest.len());
    let space = usize::from(rest.get(end) == Some(&b' '));
    (rest.get(..end).unwrap_or_default(), at + end + space)
}

fn status(tag: Option<Bytes>, word: Word, rest: &[u8]) -> Status {
    let rest = rest.trim_ascii();
    let inside = rest.strip_prefix(b"[");
    let end = inside.and_then(|inside| inside.iter().position(|byte| *byte == b']'));
    let (code, text) = match (inside, end) {
        (Some(inside), Some(end)) => {
            let (code, text) = inside.split_at_checked(end).unwrap_or_default();
            (Some(shown(code)), text.get(1..).unwrap_or_default())
        }
        _ => (None, rest),
    };
    Status {
        tag,
        word,
        code,
        text: shown(text.trim_ascii()),
    }
}

/// Text of a stranger for people and logs: bounded, on one line.
fn shown(text: &[u8]) -> String {
    let text = text.get(..text.len().min(4 * MAX_TEXT)).unwrap_or_default();
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect()
}

impl Status {
    /// The arguments of its code, if that is `name`.
    pub(crate) fn code(&self, name: &str) -> Option<&str> {
        let code = self.code.as_deref()?;
        let (word, rest) = code.split_once(' ').unwrap_or((code, ""));
        word.eq_ignore_ascii_case(name).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &str) -> Result<Response, Malformed> {
        Response::parse(&Bytes::copy_from_slice(input.as_bytes()))
    }

    fn said(input: &str) -> Status {
        match parse(input) {
            Ok(Response::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_statuses_from_data() {
        let status = said("A1 OK [APPENDUID 3 17] Append completed.\r\n");
        assert_eq!((status.tag.as_deref(), status.word), (Some(&b"A1"[..]), Word::Ok));
        assert_eq!(status.code("appenduid"), Some("3 17"));
        assert_eq!(
            (status.code("UIDNEXT"), &*status.text),
            (None, "Append completed.")
        );
        let status = said("* bye\r\n");
        assert_eq!((status.tag, status.word, status.code), (None, Word::Bye, None));
        assert_eq!(said("* OK [broken\u{7}\r\n").text, "[broken ");

        let Ok(Response::Data(data)) = parse("* 12 fetch (UID 3)\r\n") else {
            panic!()
        };
        assert_eq!(
            (data.number, &*data.name, data.values.len()),
            (Some(12), "FETCH", 1)
        );
        let Ok(Response::Data(data)) = parse("* CAPABILITY IMAP4rev1 IDLE\r\n") else {
            panic!()
        };
        assert_eq!(
            (data.number, &*data.name, data.values.len()),
            (None, "CAPABILITY", 2)
        );
        let Ok(Response::Continue(text)) = parse("+ eyJ9\r\n") else {
            panic!()
        };
        assert_eq!(&*text, b"eyJ9");
        assert!(parse("A1 FETCH\r\n").is_err());
        assert!(parse("\r\n").is_err());
    }
}

//! The values of a response: atoms, strings, lists (RFC 3501 §4).

use bytes::Bytes;

use super::Malformed;

/// Deepest nesting that is kept: 32 levels of a message's parts, and what is within one.
const MAX_DEPTH: usize = 80;
/// Most values of one response, and of one answer in all.
pub(crate) const MAX_VALUES: usize = 1 << 20;
/// What a list takes in memory, in values: room for this many is made with the first.
const LIST: usize = 4;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// `NIL`, and what was nested too deeply.
    Nil,
    /// A word without quotes: a number, a flag, `BODY[1.2]<0>`.
    Atom(Bytes),
    /// A quoted string or a literal.
    Text(Bytes),
    /// What stood in parentheses.
    List(Vec<Self>),
}

impl Value {
    /// All values of `input` from `at` on, and how many they come to in memory.
    pub(crate) fn parse(input: &Bytes, at: usize) -> Result<(Vec<Self>, usize), Malformed> {
        let mut reader = Reader { input, at };
        // Open lists, the outermost first; those beyond the bound are only counted.
        let mut open: Vec<Vec<Self>> = vec![Vec::new()];
        let mut beyond = 0_usize;
        let mut count = 0_usize;
        while let Some(byte) = reader.peek() {
            let value = match byte {
                b' ' | b'\r' | b'\n' => {
                    reader.at += 1;
                    continue;
                }
                b'(' => {
                    reader.at += 1;
                    if open.len() >= MAX_DEPTH {
                        beyond += 1;
                    } else {
                        open.push(Vec::new());
                        count += LIST;
                    }
                    continue;
                }
                b')' => {
                    reader.at += 1;
                    if beyond > 0 {
                        beyond -= 1;
                        if beyond > 0 {
                            continue;
                        }
                        Self::Nil
                    } else {
                        if open.len() < 2 {
                            return Err(Malformed("a parenthesis closes nothing"));
                        }
                        Self::List(open.pop().unwrap_or_default())
                    }
                }
                b'"' => Self::Text(reader.quoted()?),
                b'{' => Self::Text(reader.literal()?),
                b'~' if reader.input.get(reader.at + 1) == Some(&b'{') => {
                    reader.at += 1;
                    Self::Text(reader.literal()?)
                }
                _ => reader.atom(),
            };
            count += 1;
            if count > MAX_VALUES {
                return Err(Malformed::TOO_MANY);
            }
            if beyond == 0
                && let Some(list) = open.last_mut()
            {
                list.push(value);
            }
        }
        match (open.len(), open.pop()) {
            (1, Some(values)) => Ok((values, count)),
            _ => Err(Malformed("a list without an end")),
        }
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The bytes of a string or of an atom.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Text(bytes) | Self::Atom(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The same as text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self) -> Option<String> {
        self.bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A number.
    pub(crate) fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes()?).ok()?.parse().ok()
    }

    /// Whether it is this word, whatever the case.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.bytes()
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }
}

struct Reader<'a> {
    input: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// A quoted string; the reader stands on its first quote.
    fn quoted(&mut self) -> Result<Bytes, Malformed> {
        let start = self.at + 1;
        let rest = self.input.get(start..).unwrap_or_default();
        let mut escaped = false;
        let mut plain = true;
        for (index, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => {
                    escaped = true;
                    plain = false;
                }
                b'"' => {
                    self.at = start + index + 1;
                    if plain {
                        return Ok(self.input.slice(start..start + index));
                    }
                    return Ok(unescaped(rest.get(..index).unwrap_or_default()));
                }
                // A line ends here, though its string does not.
                b'\n' => break,
                _ => {}
            }
        }
        Err(Malformed("a string without an end"))
    }

    /// A literal; the reader stands on its brace.
    fn literal(&mut self) -> Result<Bytes, Malformed> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = end.and_then(|end| rest.get(..=end)).unwrap_or_default();
        let length = super::literal(line).ok_or(Malformed("a brace that is no literal"))?;
        let start = self.at + line.len();
        let stop = start.saturating_add(length);
        if stop > self.input.len() {
            return Err(Malformed("a literal that is cut off"));
        }
        self.at = stop;
        Ok(self.input.slice(start..stop))
    }

    /// A word: up to a space or parenthesis, but what stands in brackets belongs to it.
    fn atom(&mut self) -> Value {
        let start = self.at;
        let rest = self.input.get(start..).unwrap_or_default();
        let mut brackets = false;
        let mut length = 0;
        for byte in rest {
            match byte {
                b'[' => brackets = true,
                b']' => brackets = false,
                b' ' | b'(' | b')' if brackets => {}
                b' ' | b'(' | b')' | b'\r' | b'\n' => break,
                _ => {}
            }
            length += 1;
        }
        self.at = start + length.max(1);
        let word = self.input.slice(start..self.at);
        if word.eq_ignore_ascii_case(b"NIL") {
            Value::Nil
        } else {
            Value::Atom(word)
        }
    }
}

fn unescaped(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len());
    let mut escaped = false;
    for byte in text {
        if *byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(*byte);
        }
    }
    out.into()
}

/// Text as a quoted string; none where it needs a literal.
pub(crate) fn quoted(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &str) -> Result<Vec<Value>, Malformed> {
        Value::parse(&Bytes::copy_from_slice(input.as_bytes()), 0).map(|(values, _)| values)
    }

    fn atom(text: &str) -> Value {
        Value::Atom(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn text(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn reads_every_kind_of_value() {
        for (input, want) in [
            ("", vec![]),
            (
                "a NIL nil \"NIL\"\r\n",
                vec![atom("a"), Value::Nil, Value::Nil, text("NIL")],
            ),
            (
                "(\\Seen $x) ()",
                vec![
                    Value::List(vec![atom("\\Seen"), atom("$x")]),
                    Value::List(Vec::new()),
                ],
            ),
            (
                "BODY[HEADER.FIELDS (SUBJECT \"X\")]<0> {2}\r\n)(",
                vec![atom("BODY[HEADER.FIELDS (SUBJECT \"X\")]<0>"), text(")(")],
            ),
            (r#""a \"b\" \\ c""#, vec![text(r#"a "b" \ c"#)]),
            ("~{1}\r\n(a", vec![text("("), atom("a")]),
            (
                "(a(b)c)",
                vec![Value::List(vec![
                    atom("a"),
                    Value::List(vec![atom("b")]),
                    atom("c"),
                ])],
            ),
        ] {
            assert_eq!(parse(input), Ok(want), "{input}");
        }
        for input in ["(", ")", "\"a", "\"a\r\nb\"", "{5}\r\nab", "{x}", "(()"] {
            assert!(parse(input).is_err(), "{input}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack_and_keeps_its_neighbours() {
        let deep = format!("(a {}{} b) c", "(".repeat(1_000_000), ")".repeat(1_000_000));
        let found = parse(&deep).unwrap();
        let [Value::List(items), last] = &found[..] else {
            panic!("{}", found.len())
        };
        assert_eq!((items.len(), &items[2], last), (3, &atom("b"), &atom("c")));
        assert!(parse(&"() ".repeat(MAX_VALUES + 1)).is_err());
    }

    #[test]
    fn quotes_what_can_be_quoted() {
        assert_eq!(quoted(r#"a "b" \"#).as_deref(), Some(r#""a \"b\" \\""#));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("\u{e9}"), None);
    }
}

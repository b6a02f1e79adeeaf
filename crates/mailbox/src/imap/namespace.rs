//! Where the account's own folders are (NAMESPACE, RFC 2342). Pure.
//!
//! Invariants: what is taken off a name is whole levels of it; a prefix that cannot be said back to the server,
//! that ends within a level, or that is too long is none: folders are then shown as they are listed.

use super::wire::Data;

/// Longest prefix, in bytes.
const MAX_PREFIX: usize = 500;
/// The one name that is the same in any case (RFC 3501 §5.1).
const INBOX: &str = "INBOX";

/// The first personal namespace: new folders belong there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Home {
    prefix: String,
    delimiter: Option<char>,
}

impl Home {
    /// Reads a NAMESPACE response; none for anything else, and where no personal namespace is told.
    pub(super) fn read(data: &Data) -> Option<Self> {
        if data.name != "NAMESPACE" {
            return None;
        }
        let first = data.values.first()?.list()?.first()?.list()?;
        let [prefix, delimiter, ..] = first else {
            return None;
        };
        let delimiter = delimiter.bytes().and_then(|bytes| match bytes[..] {
            [byte @ b'!'..=b'~'] => Some(char::from(byte)),
            _ => None,
        });
        let prefix = prefix.text().unwrap_or_default();
        let sayable = prefix.len() <= MAX_PREFIX && prefix.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let whole = delimiter.is_some_and(|delimiter| prefix.ends_with(delimiter));
        let prefix = if sayable && whole { prefix } else { String::new() };
        Some(Self { prefix, delimiter })
    }

    /// How many bytes of a name lead to the account's own folders; none where it is not one of these.
    pub(super) fn leads(&self, wire: &str) -> Option<usize> {
        let length = self.prefix.len();
        let head = wire.get(..length)?;
        let any_case = |text: &str| {
            text.get(..INBOX.len())
                .is_some_and(|word| word.eq_ignore_ascii_case(INBOX))
        };
        let alike = head == self.prefix
            || (any_case(&self.prefix)
                && any_case(head)
                && head.get(INBOX.len()..) == self.prefix.get(INBOX.len()..));
        alike.then_some(length)
    }

    /// Whether this is the level that holds the account's own folders, and nothing by itself.
    pub(super) fn is_root(&self, wire: &str) -> bool {
        let above = self
            .delimiter
            .and_then(|delimiter| self.prefix.strip_suffix(delimiter));
        self.leads(wire) == Some(wire.len()) || above.is_some_and(|above| !above.is_empty() && above == wire)
    }

    /// What all names of the account's own folders begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What stands between the levels of their names, where it was told.
    pub(super) const fn delimiter(&self) -> Option<char> {
        self.delimiter
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::imap::wire::Response;

    fn home(text: &str) -> Option<Home> {
        let line = format!("* NAMESPACE {text}\r\n");
        match Response::parse(&Bytes::from(line)) {
            Ok(Response::Data(data)) => Home::read(&data),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_personal_namespace_is_home() {
        let long = format!("((\"{}.\" \".\")) NIL NIL", "x".repeat(MAX_PREFIX));
        for (text, want) in [
            // Dovecot and Courier; Cyrus; Exchange; one with a parameter.
            (
                r#"(("INBOX." ".")) NIL (("shared." "."))"#,
                Some(("INBOX.", Some('.'))),
            ),
            (
                r#"(("INBOX." ".")) (("user." ".")) (("" "."))"#,
                Some(("INBOX.", Some('.'))),
            ),
            (r#"(("" "/")) NIL NIL"#, Some(("", Some('/')))),
            (
                r##"(("" "/")("#mh/" "/" "X-PARAM" ("FLAG1" "FLAG2"))) NIL NIL"##,
                Some(("", Some('/'))),
            ),
            (r#"(("mail/alice/" "/"))"#, Some(("mail/alice/", Some('/')))),
            // A prefix that ends within a level, and one without levels.
            (r#"(("~alice" "/")) NIL NIL"#, Some(("", Some('/')))),
            (r#"(("INBOX." NIL)) NIL NIL"#, Some(("", None))),
            (r#"(("INBOX." "")) NIL NIL"#, Some(("", None))),
            (r#"(("INBOX.x" ".x")) NIL NIL"#, Some(("", None))),
            // What cannot be said back.
            ("((\"\u{fc}.\" \".\")) NIL NIL", Some(("", Some('.')))),
            ("(({4}\r\na\r\n. \".\"))", Some(("", Some('.')))),
            (&long, Some(("", Some('.')))),
            ("NIL NIL NIL", None),
            ("() NIL NIL", None),
            ("(()) NIL NIL", None),
            ("((\"x.\")) NIL NIL", None),
            ("", None),
        ] {
            let found = home(text);
            let found = found.as_ref().map(|home| (home.prefix(), home.delimiter()));
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn names_lead_home_by_whole_levels() {
        let inbox = home(r#"(("Inbox." ".")) NIL NIL"#).unwrap();
        assert_eq!(inbox.leads("INBOX.a.b"), Some(6));
        assert_eq!(inbox.leads("inbox.a"), Some(6));
        assert_eq!((inbox.leads("INBOX"), inbox.leads("INBOXes")), (None, None));
        assert_eq!(inbox.leads("shared.a"), None);
        let plain = home(r#"(("Mail/" "/")) NIL NIL"#).unwrap();
        assert_eq!((plain.leads("Mail/a"), plain.leads("mail/a")), (Some(5), None));
        assert!(plain.is_root("Mail") && plain.is_root("Mail/") && !plain.is_root("Mail/a"));
        assert_eq!(Home::default().leads("anything"), Some(0));
        assert!(!Home::default().is_root("anything"));
    }
}

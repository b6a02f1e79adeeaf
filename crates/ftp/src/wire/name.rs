//! Names and paths: bytes as they are, with UTF-8 as what they should be (RFC 2640).
//!
//! The rule for other bytes: they are taken and told unchanged. The rule for control characters: they
//! would split a line, so a name that holds one is shown escaped (`\x0a`) and cannot be asked for.

use portreeve_model::{PathError, VPath};

/// Why an argument is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAPath {
    /// Nothing was given.
    #[error("a path is missing")]
    Empty,
    /// A control character is in it.
    #[error("a path cannot contain control characters over FTP")]
    Control,
    /// It breaks a rule of all paths.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Appends `name` for a listing: in one line, whatever is in it.
pub fn append_shown(out: &mut Vec<u8>, name: &[u8]) {
    if !name.iter().any(u8::is_ascii_control) {
        out.extend_from_slice(name);
        return;
    }
    for byte in name {
        if byte.is_ascii_control() {
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(*byte);
        }
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' - 10 + nibble
    }
}

/// Appends `path` in quotation marks, those within it doubled, as 257 has it (RFC 959 appendix II).
pub fn append_quoted(out: &mut Vec<u8>, path: &VPath) {
    out.push(b'"');
    for (at, part) in path.as_bytes().split(|byte| *byte == b'"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        append_shown(out, part);
    }
    out.push(b'"');
}

/// The path that `argument` means to a client that is in `cwd`. A tilde is a name as any other.
///
/// # Errors
/// [`NotAPath`].
pub fn path(cwd: &VPath, argument: &[u8]) -> Result<VPath, NotAPath> {
    if argument.is_empty() {
        return Err(NotAPath::Empty);
    }
    if argument.iter().any(u8::is_ascii_control) {
        return Err(NotAPath::Control);
    }
    Ok(cwd.resolve(argument)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_shown(&mut out, name);
        out
    }

    fn quoted(path: &VPath) -> Vec<u8> {
        let mut out = Vec::new();
        append_quoted(&mut out, path);
        out
    }

    #[test]
    fn names_are_shown_in_one_line() {
        for (name, expected) in [
            (&b"plain name"[..], &b"plain name"[..]),
            ("n\u{e9}e \u{1f600}".as_bytes(), "n\u{e9}e \u{1f600}".as_bytes()),
            (b"\xff\xe9", b"\xff\xe9"),
            (b"a\nb\r\x1b\x7f", b"a\\x0ab\\x0d\\x1b\\x7f"),
            (b"a\\b", b"a\\b"),
        ] {
            assert_eq!(shown(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn paths_are_quoted() {
        for (path, expected) in [
            (&b"/"[..], &b"\"/\""[..]),
            (b"/a \"b\"", b"\"/a \"\"b\"\"\""),
            (b"/\"\n", b"\"/\"\"\\x0a\""),
            (b"/\xff", b"\"/\xff\""),
        ] {
            assert_eq!(
                quoted(&VPath::parse(path).unwrap()),
                expected,
                "{}",
                path.escape_ascii()
            );
        }
    }

    fn check(argument: &[u8], expected: Result<&str, NotAPath>) {
        let cwd = VPath::parse("/inbox/a").unwrap();
        let expected = expected.map(|path| VPath::parse(path).unwrap());
        assert_eq!(path(&cwd, argument), expected, "{}", argument.escape_ascii());
    }

    #[test]
    fn paths() {
        check(b"b", Ok("/inbox/a/b"));
        check(b"/b", Ok("/b"));
        check(b"../../../..", Ok("/"));
        check(b" b ", Ok("/inbox/a/ b "));
        check(b"~", Ok("/inbox/a/~"));
        check(b"~/b", Ok("/inbox/a/~/b"));
        check(b"*?[\"\\", Ok("/inbox/a/*?[\"\\"));
        check(b"", Err(NotAPath::Empty));
        for wrong in [&b"a\nb"[..], b"a\r", b"a\0", b"\x1b", b"\x7f", b"a\tb"] {
            check(wrong, Err(NotAPath::Control));
        }
        check(&[b'a'; 256], Err(NotAPath::Path(PathError::NameTooLong)));
        check(&[b'/'; 4097], Err(NotAPath::Path(PathError::TooLong)));
    }

    #[test]
    fn refusals_are_sentences() {
        for why in [
            NotAPath::Empty,
            NotAPath::Control,
            NotAPath::Path(PathError::TooLong),
        ] {
            assert!(why.to_string().contains("path"), "{why:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_was_told_is_understood(raw in prop::collection::vec(any::<u8>(), 0..60)) {
            let Ok(path) = path(&VPath::root(), &raw) else { return Ok(()) };
            let quoted = quoted(&path);
            let inside = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap();
            let mut bytes = inside.iter().copied();
            let mut told = Vec::new();
            while let Some(byte) = bytes.next() {
                if byte == b'"' {
                    prop_assert_eq!(bytes.next(), Some(b'"'));
                }
                told.push(byte);
            }
            prop_assert_eq!(super::path(&VPath::parse("/elsewhere").unwrap(), &told), Ok(path));
        }

        #[test]
        fn nothing_shown_is_a_control_character(name in prop::collection::vec(any::<u8>(), 0..60)) {
            let shown = shown(&name);
            prop_assert!(!shown.iter().any(u8::is_ascii_control));
            prop_assert_eq!(shown == name, !name.iter().any(u8::is_ascii_control));
        }
    }
}

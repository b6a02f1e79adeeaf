//! Virtual paths: absolute, normalised, made of bytes.
//!
//! A [`VPath`] can hold neither a NUL, nor an empty component, nor `.` or `..`, nor a component of
//! more than 255 bytes. Doors parse once at their border; nobody below checks again. Confinement
//! on disk is the kernel's job all the same (see the `disk` crate).

use std::{fmt, sync::Arc};

/// Longest component, in bytes: what ext4, xfs and NTFS agree on.
const MAX_NAME: usize = 255;
/// Longest path, in bytes: Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// Why bytes are not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// A NUL byte.
    Nul,
    /// A component of more than 255 bytes.
    NameTooLong,
    /// More than 4096 bytes in all.
    TooLong,
    /// A name that is empty, `.`, `..` or holds a `/`.
    NotAName,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nul => "a path cannot contain a NUL byte",
            Self::NameTooLong => "a name cannot be longer than 255 bytes",
            Self::TooLong => "a path cannot be longer than 4096 bytes",
            Self::NotAName => "a name cannot be empty, '.', '..' or contain '/'",
        })
    }
}

impl std::error::Error for PathError {}

/// One component of a path: 1 to 255 bytes, no NUL, no `/`, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks `bytes` and keeps them.
    ///
    /// # Errors
    /// [`PathError`] that says which rule is broken.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        check_name(&bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, where it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// An absolute, normalised path: `/` or `/a/b`, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VPath(Arc<[u8]>);

impl VPath {
    /// `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(&b"/"[..]))
    }

    /// Parses what a client sent. Without a leading `/` it counts from the root; `.`, `..` and
    /// repeated slashes are resolved lexically, and `..` above the root stays at the root
    /// (POSIX: `/..` is `/`).
    ///
    /// # Errors
    /// [`PathError`] for a NUL or an excess of length.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::root().resolve(raw)
    }

    /// Parses `raw` as seen from `self`: an absolute `raw` replaces it, a relative one continues it.
    ///
    /// # Errors
    /// As [`VPath::parse`].
    pub fn resolve(&self, raw: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let raw = raw.as_ref();
        if raw.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let mut parts: Vec<&[u8]> = if raw.first() == Some(&b'/') {
            Vec::new()
        } else {
            self.components().collect()
        };
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                name => {
                    check_name(name)?;
                    parts.push(name);
                }
            }
        }
        Self::from_parts(&parts)
    }

    /// This path with `name` below it.
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn join(&self, name: &Name) -> Result<Self, PathError> {
        let mut parts: Vec<&[u8]> = self.components().collect();
        parts.push(name.as_bytes());
        Self::from_parts(&parts)
    }

    fn from_parts(parts: &[&[u8]]) -> Result<Self, PathError> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.len() + 1).sum::<usize>().max(1));
        for part in parts {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        if bytes.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        Ok(Self(bytes.into()))
    }

    /// The components, from the root down; none for `/`.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// How many components there are.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The last component; none for `/`.
    #[must_use]
    pub fn file_name(&self) -> Option<Name> {
        self.components().next_back().map(|part| Name(part.into()))
    }

    /// The path without its last component; none for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
        self.0.get(..cut).map(|head| Self(head.into()))
    }

    /// Whether `self` is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.strip_prefix(other).is_some()
    }

    /// `self` as seen from `base`: `/a/b/c` below `/a` is `/b/c`; none where it lies elsewhere.
    #[must_use]
    pub fn strip_prefix(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*base.0)? {
            [] => Some(Self::root()),
            rest @ [b'/', ..] => Some(Self(rest.into())),
            _ => None,
        }
    }

    /// `below` (as seen from this path) as an absolute path: the inverse of [`VPath::strip_prefix`].
    ///
    /// # Errors
    /// [`PathError::TooLong`].
    pub fn append(&self, below: &Self) -> Result<Self, PathError> {
        let parts: Vec<&[u8]> = self.components().chain(below.components()).collect();
        Self::from_parts(&parts)
    }

    /// The bytes, starting with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as text, where it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.0, f)
    }
}

impl fmt::Debug for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VPath({self})")
    }
}

fn check_name(name: &[u8]) -> Result<(), PathError> {
    if name.contains(&0) {
        return Err(PathError::Nul);
    }
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Err(PathError::NotAName);
    }
    if name.len() > MAX_NAME {
        return Err(PathError::NameTooLong);
    }
    Ok(())
}

/// Writes bytes for people and logs: printable UTF-8 as it is, everything else as `\xNN` or
/// `\u{…}`, so that one name is one line and no terminal is steered by it.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() || is_bidi_control(c) => write!(f, "{}", c.escape_unicode())?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        for b in chunk.invalid() {
            write!(f, "\\x{b:02x}")?;
        }
    }
    Ok(())
}

/// The characters that turn the direction of text around (Unicode TR 9): they disguise names.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lexically() {
        for (raw, want) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("//a///b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("../a", "/a"),
            ("/a b/\u{e9}", "/a b/\u{e9}"),
        ] {
            assert_eq!(VPath::parse(raw).unwrap().as_str(), Some(want), "{raw:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        assert_eq!(VPath::parse(b"/a\0b"), Err(PathError::Nul));
        assert_eq!(VPath::parse("x".repeat(256)), Err(PathError::NameTooLong));
        assert!(VPath::parse("x".repeat(255)).is_ok());
        assert_eq!(VPath::parse("/x".repeat(2049)), Err(PathError::TooLong));
        for bad in ["", ".", "..", "a/b"] {
            assert_eq!(Name::new(bad.as_bytes()), Err(PathError::NotAName), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_respect_components() {
        let p = |s: &str| VPath::parse(s).unwrap();
        assert!(p("/inbox/a").starts_with(&p("/inbox")));
        assert!(!p("/inbox-qa").starts_with(&p("/inbox")));
        assert_eq!(p("/a/b").strip_prefix(&p("/a")), Some(p("/b")));
        assert_eq!(p("/a").strip_prefix(&p("/a")), Some(VPath::root()));
        assert_eq!(p("/a").append(&p("/b/c")).unwrap(), p("/a/b/c"));
        assert_eq!(p("/a/b").parent(), Some(p("/a")));
        assert_eq!(p("/a").parent(), Some(VPath::root()));
        assert_eq!(VPath::root().parent(), None);
    }

    #[test]
    fn shows_one_line_whatever_the_bytes() {
        let path = VPath::parse(b"/a\nb\x1b\xff\xe2\x80\xae").unwrap();
        assert_eq!(path.to_string(), "/a\\u{a}b\\u{1b}\\xff\\u{202e}");
    }
}

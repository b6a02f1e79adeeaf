//! How folders lie in a Maildir: Maildir++ (`.Archive.2024` beside `cur`) and nested directories
//! (`Projects/cur`), in one tree; names in modified UTF-7 (RFC 3501 §5.1.3).
//!
//! Invariant: a [`Place`] is made from a folder's id by parsing and cannot lead upwards.

use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use crate::{FolderId, utf7::encode};

/// The id of the Inbox: the root itself.
pub(super) const INBOX: &str = ".";
/// Deepest nesting of directories that is looked at.
const MAX_DEPTH: usize = 16;

/// Where a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The root.
    Inbox,
    /// `.A.B` in the root: its levels, raw.
    Dotted(Vec<String>),
    /// `A/B` below the root: its levels, raw.
    Nested(Vec<String>),
}

impl Place {
    /// Parses an id.
    pub(super) fn of(id: &FolderId) -> FsResult<Self> {
        let bad = || FsError::new(FsErrorKind::NotFound);
        if &*id.0 == INBOX {
            return Ok(Self::Inbox);
        }
        if let Some(dotted) = id.0.strip_prefix('.') {
            return dotted_levels(dotted).map(Self::Dotted).ok_or_else(bad);
        }
        let levels: Vec<String> = id.0.split('/').map(str::to_owned).collect();
        let fine = |level: &String| !level.is_empty() && !level.starts_with('.') && !level.contains('\0');
        if levels.len() > MAX_DEPTH || !levels.iter().all(fine) {
            return Err(bad());
        }
        Ok(Self::Nested(levels))
    }

    /// Its id.
    pub(super) fn id(&self) -> FolderId {
        self.path().as_str().into()
    }

    /// Its directory, relative to the root.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Inbox => INBOX.to_owned(),
            Self::Dotted(levels) => format!(".{}", levels.join(".")),
            Self::Nested(levels) => levels.join("/"),
        }
    }

    /// The place of a new folder `name` below `parent`.
    pub(super) fn child(parent: Option<&Self>, name: &str) -> FsResult<Self> {
        let refused = |text: &str| Err(FsError::new(FsErrorKind::InvalidName).context(text));
        let raw = encode(name);
        if raw.starts_with('.') || raw.contains('/') || raw.is_empty() {
            return refused("a folder's name can neither begin with a dot nor contain a slash");
        }
        if parent.is_none() && name.eq_ignore_ascii_case("inbox") {
            return Err(FsError::new(FsErrorKind::Exists).context("there is one Inbox only"));
        }
        let place = match parent {
            Some(Self::Nested(levels)) => Self::Nested(levels.iter().cloned().chain([raw.clone()]).collect()),
            _ if raw.contains('.') => {
                return refused("a folder's name cannot contain a dot: in Maildir++ it separates levels");
            }
            Some(Self::Dotted(levels)) => Self::Dotted(levels.iter().cloned().chain([raw.clone()]).collect()),
            Some(Self::Inbox) => Self::Dotted(vec!["INBOX".into(), raw.clone()]),
            None => Self::Dotted(vec![raw.clone()]),
        };
        let too_long = match &place {
            Self::Nested(levels) => raw.len() > 255 || levels.len() > MAX_DEPTH,
            _ => place.path().len() > 255,
        };
        if too_long {
            return refused("the folder's name is too long for a Maildir");
        }
        Ok(place)
    }
}

/// The levels of a Maildir++ name without its first dot; none where a level is empty.
pub(super) fn dotted_levels(name: &str) -> Option<Vec<String>> {
    let levels: Vec<String> = name.split('.').map(str::to_owned).collect();
    let fine = |level: &String| !level.is_empty() && !level.contains(['/', '\0']);
    levels.iter().all(fine).then_some(levels)
}

/// Whether `levels` lie below the Inbox (`.INBOX.Sub`).
pub(super) fn below_inbox(levels: &[String]) -> bool {
    levels.len() > 1
        && levels
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case("inbox"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::utf7::decode;

    #[test]
    fn decodes_what_other_servers_write() {
        for (raw, name) in [
            ("Entw&APw-rfe", "Entw\u{fc}rfe"),
            (
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
            ),
            ("Q&-A", "Q&A"),
            ("R&D", "R&D"),
            ("plain", "plain"),
        ] {
            assert_eq!(decode(raw), name);
        }
    }

    #[test]
    fn ids_never_lead_upwards() {
        for bad in ["..", "...", ".a..b", "../x", "a/../b", "a//b", "/a", "", "a/.b"] {
            assert!(Place::of(&bad.into()).is_err(), "{bad}");
        }
        for good in [".", ".a", ".a.b", "a", "a/b"] {
            assert_eq!(&*Place::of(&good.into()).unwrap().id().0, good);
        }
    }

    #[test]
    fn children_follow_their_parents_layout() {
        let child = |parent: Option<&str>, name: &str| {
            let parent = parent.map(|id| Place::of(&id.into()).unwrap());
            Place::child(parent.as_ref(), name)
                .map(|place| place.path())
                .map_err(|e| e.kind())
        };
        assert_eq!(child(None, "A").as_deref(), Ok(".A"));
        assert_eq!(child(Some("."), "A").as_deref(), Ok(".INBOX.A"));
        assert_eq!(child(Some(".A"), "\u{fc}").as_deref(), Ok(".A.&APw-"));
        assert_eq!(child(Some("A"), "b.c").as_deref(), Ok("A/b.c"));
        assert_eq!(child(None, "a.b"), Err(FsErrorKind::InvalidName));
        assert_eq!(child(None, "INBOX"), Err(FsErrorKind::Exists));
        assert_eq!(
            child(None, &"\u{20ac}".repeat(100)),
            Err(FsErrorKind::InvalidName)
        );
    }

    proptest! {
        #[test]
        fn utf7_round_trips(name in "[^\\x00-\\x1f\\x7f]{0,40}") {
            prop_assert_eq!(decode(&encode(&name)), name);
        }
    }
}

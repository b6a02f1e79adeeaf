//! What a person may do to a path: a closed set of verbs, the same for every door.

use std::fmt;

/// One permission. The set is closed: a new verb makes every table that must know it fail to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verb {
    /// See a directory's entries and their attributes.
    List,
    /// Read a file's content.
    Read,
    /// Make a file that was not there.
    Create,
    /// Replace a file's content, wholly or in part.
    Overwrite,
    /// Add to a file's end.
    Append,
    /// Shorten a file.
    Truncate,
    /// Remove a file or an empty directory.
    Delete,
    /// Give another name (needed on both ends).
    Rename,
    /// Make a directory.
    MakeDir,
    /// Change times and permission bits.
    SetAttrs,
    /// Hand out a link to it.
    Share,
}

impl Verb {
    /// Every verb, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::List,
        Self::Read,
        Self::Create,
        Self::Overwrite,
        Self::Append,
        Self::Truncate,
        Self::Delete,
        Self::Rename,
        Self::MakeDir,
        Self::SetAttrs,
        Self::Share,
    ];

    /// The name used in configuration, audit and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
            Self::Truncate => "truncate",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::MakeDir => "make-dir",
            Self::SetAttrs => "set-attrs",
            Self::Share => "share",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no verb, and no name of a set of verbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVerb(pub String);

impl fmt::Display for UnknownVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no verb; the verbs are full, read-only", self.0)?;
        Verb::ALL.iter().try_for_each(|verb| write!(f, ", {verb}"))
    }
}

impl std::error::Error for UnknownVerb {}

/// A set of verbs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct VerbSet(u16);

impl VerbSet {
    /// No verb.
    pub const NONE: Self = Self(0);

    /// Every verb (`full` in configuration).
    #[must_use]
    pub fn full() -> Self {
        Verb::ALL.into_iter().collect()
    }

    /// List and Read (`read-only` in configuration).
    #[must_use]
    pub fn read_only() -> Self {
        [Verb::List, Verb::Read].into_iter().collect()
    }

    /// Reads one word of configuration: a verb, `full` or `read-only`.
    ///
    /// # Errors
    /// [`UnknownVerb`] with the word.
    pub fn from_word(word: &str) -> Result<Self, UnknownVerb> {
        match word {
            "full" => Ok(Self::full()),
            "read-only" => Ok(Self::read_only()),
            word => Verb::ALL
                .into_iter()
                .find(|verb| verb.name() == word)
                .map(|verb| Self::NONE.with(verb))
                .ok_or_else(|| UnknownVerb(word.to_owned())),
        }
    }

    /// This set and `verb`.
    #[must_use]
    pub const fn with(self, verb: Verb) -> Self {
        Self(self.0 | verb.bit())
    }

    /// This set without those of `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `verb` is in it.
    #[must_use]
    pub const fn has(self, verb: Verb) -> bool {
        self.0 & verb.bit() != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The verbs in it, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.has(*verb))
    }
}

impl FromIterator<Verb> for VerbSet {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        verbs.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for VerbSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Verb::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_own_bit_and_word() {
        let all = VerbSet::full();
        assert_eq!(all.iter().count(), Verb::ALL.len());
        for verb in Verb::ALL {
            assert_eq!(VerbSet::from_word(verb.name()), Ok(VerbSet::NONE.with(verb)));
            assert!(!all.minus(VerbSet::NONE.with(verb)).has(verb));
        }
        assert!(
            VerbSet::from_word("delte")
                .unwrap_err()
                .to_string()
                .contains("delete")
        );
    }
}

//! Names of people and of what they belong to: parsed once, trusted afterwards.

use std::{fmt, sync::Arc};

use unicode_normalization::UnicodeNormalization;

/// Longest name, in bytes.
const MAX: usize = 256;

/// Why text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing, or only blanks.
    Empty,
    /// More than 256 bytes.
    TooLong,
    /// A control character, NUL among them.
    Control,
    /// Not UTF-8.
    NotText,
    /// Not in Unicode normalisation form C: two spellings of one name would be two people.
    NotNormal,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name cannot be empty",
            Self::TooLong => "a name cannot be longer than 256 bytes",
            Self::Control => "a name cannot contain control characters",
            Self::NotText => "a name must be UTF-8",
            Self::NotNormal => "a name must be in Unicode normalisation form C",
        })
    }
}

impl std::error::Error for NameError {}

fn check(raw: &str) -> Result<(), NameError> {
    if raw.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if raw.len() > MAX {
        return Err(NameError::TooLong);
    }
    if raw.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if !unicode_normalization::is_nfc(raw) {
        return Err(NameError::NotNormal);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `raw` and keeps it.
            ///
            /// # Errors
            /// [`NameError`] that says which rule is broken.
            pub fn new(raw: &str) -> Result<Self, NameError> {
                check(raw)?;
                Ok(Self(raw.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name a person signs in with: 1 to 256 bytes of NFC text without control characters.
    UserName
}
name! {
    /// A group: what gives transfer users their mounts.
    GroupName
}
name! {
    /// A role: what gives administrators their permissions.
    RoleName
}

impl UserName {
    /// Parses what came over a wire.
    ///
    /// # Errors
    /// As [`UserName::new`], and [`NameError::NotText`].
    pub fn from_wire(raw: &[u8]) -> Result<Self, NameError> {
        Self::new(std::str::from_utf8(raw).map_err(|_| NameError::NotText)?)
    }

    /// The form in which names are compared with a deny list: compatibility-normalised (NFKC) and
    /// lower-cased, so that full-width or capital spellings do not walk around it.
    #[must_use]
    pub fn folded(&self) -> String {
        let lower: String = self.0.nfkc().flat_map(char::to_lowercase).collect();
        lower.nfkc().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_mean_two_things() {
        assert_eq!(UserName::from_wire(b"root\0"), Err(NameError::Control));
        assert_eq!(UserName::from_wire(b"ro\xffot"), Err(NameError::NotText));
        assert_eq!(UserName::new("  "), Err(NameError::Empty));
        assert_eq!(UserName::new(&"x".repeat(257)), Err(NameError::TooLong));
        assert_eq!(UserName::new("e\u{301}"), Err(NameError::NotNormal));
        assert_eq!(
            UserName::new("\u{e9}ve").map(|n| n.to_string()),
            Ok("\u{e9}ve".into())
        );
    }

    #[test]
    fn folds_disguises() {
        for disguise in ["ROOT", "Root", "\u{ff32}oot", "r\u{ff2f}\u{ff4f}t"] {
            assert_eq!(UserName::new(disguise).unwrap().folded(), "root", "{disguise}");
        }
    }
}

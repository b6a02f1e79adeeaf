//! The gate `deny-username`: names that nobody signs in with, whatever the methods say.
//!
//! Invariant: a name and its disguises (capitals, full-width letters, blanks around, invisible
//! characters, a suffix that a method would cut off) are one name.

use std::time::SystemTime;

use async_trait::async_trait;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use portreeve_model::{ConnectionId, Origin, UserName};
use schemars::JsonSchema;
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use crate::{Denial, End, Gate, OptionError};

/// Most patterns.
const MAX_PATTERNS: usize = 10_000;

/// Options of `type = "deny-username"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyUsernameOptions {
    /// Names that are refused; `*`, `?`, `[a-z]` and `{a,b}` are wildcards. Capitals and other
    /// spellings of the same letters make no difference.
    pub usernames: Vec<String>,
}

/// The gate.
pub struct DenyUsername {
    patterns: Vec<String>,
    set: GlobSet,
    suffixes: Vec<String>,
}

impl DenyUsername {
    /// With the suffixes that any method of the chain cuts off (`remove_username_suffix`), since
    /// `root@corp` would be `root` there.
    ///
    /// # Errors
    /// [`OptionError`] that names the pattern.
    pub fn new(options: &DenyUsernameOptions, suffixes: &[String]) -> Result<Self, OptionError> {
        if options.usernames.len() > MAX_PATTERNS {
            return Err(OptionError::new(
                "usernames",
                format!("at most {MAX_PATTERNS} are possible"),
            ));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &options.usernames {
            if fold(pattern).is_empty() {
                return Err(OptionError::new(
                    "usernames",
                    "a pattern is empty: it would refuse nobody",
                ));
            }
            // A backslash is part of names such as CORP\root, not an escape.
            let glob = GlobBuilder::new(&fold(pattern)).backslash_escape(false).build();
            set.add(
                glob.map_err(|why| OptionError::new("usernames", format!("'{pattern}': {}", why.kind())))?,
            );
        }
        let set = set.build();
        Ok(Self {
            patterns: options.usernames.clone(),
            set: set.map_err(|why| OptionError::new("usernames", why.to_string()))?,
            suffixes: suffixes
                .iter()
                .map(|suffix| fold(suffix))
                .filter(|s| !s.is_empty())
                .collect(),
        })
    }

    fn denied(&self, user: &UserName) -> Option<&str> {
        let name = fold(user.as_str());
        let stripped = self
            .suffixes
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix));
        let found = std::iter::once(name.as_str())
            .chain(stripped)
            .find_map(|name| self.set.matches(name.trim()).first().copied())?;
        self.patterns.get(found).map(String::as_str)
    }
}

#[async_trait]
impl Gate for DenyUsername {
    async fn admit(&self, _: &Origin, user: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        match user.and_then(|user| self.denied(user)) {
            None => Ok(()),
            Some(pattern) => Err(Denial {
                why: format!("the name is denied by '{pattern}'"),
            }),
        }
    }

    async fn settle(&self, _: ConnectionId, _: &Origin, _: Option<&UserName>, _: End, _: SystemTime) {}
}

/// Compatibility-normalised, lower-cased, without what is not seen and without blanks around.
fn fold(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let plain: String = lower.nfkc().filter(|c| !is_invisible(*c)).collect();
    plain.trim().to_owned()
}

/// Characters that directories ignore when they compare (RFC 4518, 2.2) and that eyes do not see.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{1806}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFFC}'
        | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(names: &[&str], suffixes: &[&str]) -> Result<DenyUsername, OptionError> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        DenyUsername::new(
            &DenyUsernameOptions {
                usernames: owned(names),
            },
            &owned(suffixes),
        )
    }

    #[test]
    fn a_name_and_its_disguises_are_one() {
        let gate = gate(
            &[
                "root",
                "Admin*",
                "svc-??",
                "CORP\\sa",
                "[xy]z",
                "\u{ff34}\u{ff45}st",
            ],
            &["@corp.example"],
        )
        .unwrap();
        for (name, denied) in [
            ("root", true),
            ("ROOT", true),
            ("\u{ff32}oot", true),
            (" root ", true),
            ("ro\u{ad}ot", true),
            ("ro\u{200b}ot", true),
            ("root@corp.example", true),
            ("Root@CORP.example", true),
            ("root@other.example", false),
            ("roots", false),
            ("r\u{f6}ot", false),
            ("admin", true),
            ("ADMINISTRATOR", true),
            ("an-admin", false),
            ("svc-01", true),
            ("svc-1", false),
            ("corp\\SA", true),
            ("corpsa", false),
            ("xz", true),
            ("zz", false),
            ("test", true),
        ] {
            assert_eq!(
                gate.denied(&UserName::new(name).unwrap()).is_some(),
                denied,
                "{name:?}"
            );
        }
    }

    #[tokio::test]
    async fn admits_at_accept_and_says_which_pattern_denied() {
        let gate = gate(&["root"], &[]).unwrap();
        let end = "192.0.2.1:1".parse().unwrap();
        let origin = Origin::new(portreeve_model::Door::Sftp, "sftp".into(), end, end);
        assert!(gate.admit(&origin, None, SystemTime::UNIX_EPOCH).await.is_ok());
        let name = UserName::new("Root").unwrap();
        let denial = gate
            .admit(&origin, Some(&name), SystemTime::UNIX_EPOCH)
            .await
            .unwrap_err();
        assert!(denial.why.contains("'root'"), "{}", denial.why);
    }

    #[test]
    fn refuses_patterns_that_mean_nothing() {
        for bad in ["", "  ", "[a", "{a", "\u{200b}"] {
            assert!(gate(&[bad], &[]).is_err(), "{bad:?}");
        }
        assert!(gate(&[], &[]).is_ok());
        assert!(toml::from_str::<DenyUsernameOptions>("usernames = []\nusers = []").is_err());
    }
}

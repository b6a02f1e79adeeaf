//! What an administrator sets for a local disk, and what is said when it cannot be opened.

use std::{borrow::Cow, error::Error, fmt, path::PathBuf, time::Duration};

use portreeve_model::options::{DurationText, SizeText};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::stat::SAFE_MODE;

/// A directory of this machine as a storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The directory that clients see as `/`. Nothing outside it can be reached.
    pub root: PathBuf,
    /// Whether the root is made when it is missing (its parent must be there).
    #[serde(default = "yes")]
    pub create_root: bool,
    /// Whether symbolic links are followed: `follow` (only to places beneath the root) or `refuse`.
    #[serde(default)]
    pub symlinks: Symlinks,
    /// Whether clients may make hard links.
    #[serde(default)]
    pub hard_links: bool,
    /// Whether an upload is made durable (fsync of file and directory) before it is acknowledged.
    #[serde(default = "yes")]
    pub fsync: bool,
    /// Permission bits of new files, octal.
    #[serde(default = "file_mode")]
    pub file_mode: ModeText,
    /// Permission bits of new directories, octal.
    #[serde(default = "dir_mode")]
    pub dir_mode: ModeText,
    /// How long unfinished uploads are kept for a resume.
    #[serde(default = "partials_keep")]
    pub partials_keep: DurationText,
    /// Up to this size an existing file is changed on a copy, so that the change becomes visible as a
    /// whole; larger files are changed in place. File systems with reflinks copy any size at no cost.
    #[serde(default = "copy_limit")]
    pub copy_limit: SizeText,
}

impl Options {
    /// The defaults for a root.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            create_root: true,
            symlinks: Symlinks::default(),
            hard_links: false,
            fsync: true,
            file_mode: file_mode(),
            dir_mode: dir_mode(),
            partials_keep: partials_keep(),
            copy_limit: copy_limit(),
        }
    }
}

const fn yes() -> bool {
    true
}

const fn file_mode() -> ModeText {
    ModeText(0o640)
}

const fn dir_mode() -> ModeText {
    ModeText(0o750)
}

const fn partials_keep() -> DurationText {
    DurationText(Duration::from_secs(86_400))
}

const fn copy_limit() -> SizeText {
    SizeText(1 << 30)
}

/// What is done with symbolic links. Clients can never make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Symlinks {
    /// Followed where they lead to a place beneath the root.
    #[default]
    Follow,
    /// Listed, never followed.
    Refuse,
}

/// Permission bits as written: `"0640"`. Set-user-id, set-group-id and sticky are no permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeText(pub u32);

impl<'de> Deserialize<'de> for ModeText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        u32::from_str_radix(&text, 8)
            .ok()
            .filter(|mode| mode & !SAFE_MODE == 0)
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!("{text:?} is not a mode; write octal bits like \"0640\""))
            })
    }
}

impl Serialize for ModeText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl JsonSchema for ModeText {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^0?[0-7]{3}$",
            "description": "Permission bits, octal, like \"0640\"."
        })
    }
}

/// Why a root cannot be opened: for the administrator, so it names the path.
#[derive(Debug)]
pub struct OpenError {
    pub(crate) root: PathBuf,
    pub(crate) doing: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) source: std::io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            root,
            doing,
            hint,
            source,
        } = self;
        write!(f, "cannot {doing} the root {}: {source}; {hint}", root.display())
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_root_must_be_given() {
        assert_eq!(parse(r#"{"root": "/srv"}"#), Ok(Options::new("/srv")));
        let text = serde_json::to_string(&Options::new("/srv")).unwrap();
        assert_eq!(parse(&text), Ok(Options::new("/srv")), "{text}");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, want) in [
            (r#"{}"#, "root"),
            (r#"{"root": "/srv", "rot": 1}"#, "unknown field `rot`"),
            (r#"{"root": "/srv", "file_mode": "4755"}"#, "is not a mode"),
            (r#"{"root": "/srv", "file_mode": "rw-"}"#, "is not a mode"),
            (r#"{"root": "/srv", "symlinks": "yes"}"#, "`follow` or `refuse`"),
            (r#"{"root": "/srv", "partials_keep": "1"}"#, "is not a duration"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}

//! How a configuration names a secret: written there, or kept elsewhere and named.
//!
//! Invariants: nothing here reads anything (whoever runs the server resolves it); a secret that is written
//! in place stands in no `Debug` output and in no error.

use std::{borrow::Cow, fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::Secret;

/// A secret as written: `"text"`, `{ env = "NAME" }`, `{ file = "path" }`, `{ credential = "name" }` or
/// `{ sealed = "name" }`.
#[derive(Debug, Clone)]
pub enum SecretText {
    /// The secret itself.
    Inline(Secret),
    /// An environment variable of the server.
    Env(String),
    /// A file that holds nothing else; a line end at its end does not count.
    File(PathBuf),
    /// A credential that systemd passes to the service (`LoadCredential=`): a file of this name in
    /// `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A secret that was sealed into the state database under this name.
    Sealed(String),
}

impl SecretText {
    /// Where it is kept, in words: for messages. Never the secret.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Inline(_) => "the configuration".to_owned(),
            Self::Env(name) => format!("the environment variable {name}"),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Credential(name) => format!("the systemd credential {name}"),
            Self::Sealed(name) => format!("the sealed secret {name}"),
        }
    }
}

const WAYS: [&str; 4] = ["env", "file", "credential", "sealed"];

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret: text, or a table with one of env, file, credential and sealed")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretText, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<SecretText, E> {
        if text.is_empty() {
            return Err(E::custom("the secret is empty"));
        }
        Ok(SecretText::Inline(Secret::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretText, A::Error> {
        const ONE: &str = "a secret is kept in one place: give one of env, file, credential and sealed";
        let Some(way) = map.next_key::<String>()? else {
            return Err(A::Error::custom(ONE));
        };
        if !WAYS.contains(&way.as_str()) {
            return Err(A::Error::unknown_field(&way, &WAYS));
        }
        let name: String = map.next_value()?;
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom(ONE));
        }
        if name.is_empty() {
            return Err(A::Error::custom(format!("'{way}' names nothing")));
        }
        match way.as_str() {
            "env" => Ok(SecretText::Env(name)),
            "file" => Ok(SecretText::File(name.into())),
            // Both become a file's name or a key: no way out of where they are kept.
            "credential" | "sealed" if !plain(&name) => Err(A::Error::custom(format!(
                "'{way}' must be a plain name (letters, digits, '-', '_', '.', '@'), at most 128 of them"
            ))),
            "credential" => Ok(SecretText::Credential(name)),
            _ => Ok(SecretText::Sealed(name)),
        }
    }
}

fn plain(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    name.len() <= 128 && !name.starts_with('.') && name.chars().all(known)
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A secret: text, or where it is kept: { env = \"NAME\" }, { file = \"path\" }, \
                { credential = \"name\" } (systemd) or { sealed = \"name\" } (state database).",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {
                        "env": text("An environment variable of the server."),
                        "file": text("A file that holds nothing else. Relative to this file."),
                        "credential": text("A credential that systemd passes to the service (LoadCredential=)."),
                        "sealed": text("A secret sealed into the state database."),
                    },
                },
            ],
        })
    }
}

fn text(about: &str) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "description": about })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SecretText, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_way_of_keeping_a_secret() {
        assert!(matches!(read("\"hunter2\""), Ok(SecretText::Inline(s)) if s.expose() == "hunter2"));
        for (json, place) in [
            (
                r#"{"env":"GRAPH_SECRET"}"#,
                "the environment variable GRAPH_SECRET",
            ),
            (r#"{"file":"secrets/graph"}"#, "the file secrets/graph"),
            (r#"{"credential":"graph"}"#, "the systemd credential graph"),
            (r#"{"sealed":"acct@x.com"}"#, "the sealed secret acct@x.com"),
        ] {
            assert_eq!(read(json).map(|secret| secret.place()), Ok(place.to_owned()));
        }
    }

    #[test]
    fn refuses_what_names_no_place_or_two() {
        for (json, part) in [
            ("\"\"", "empty"),
            ("{}", "one of env"),
            (r#"{"env":"A","file":"b"}"#, "one place"),
            (r#"{"evn":"A"}"#, "evn"),
            (r#"{"env":""}"#, "names nothing"),
            (r#"{"credential":"../etc/shadow"}"#, "plain name"),
            (r#"{"sealed":".."}"#, "plain name"),
            ("7", "a secret"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn prints_no_secret() {
        let secret = read("\"hunter2\"").unwrap();
        assert!(!format!("{secret:?} {}", secret.place()).contains("hunter"));
    }
}

//! Sealed secrets, as the command line asks for them.
//!
//! Invariant: write-only. Nobody who asks is ever told one, only that it is there.

use std::time::SystemTime;

use async_trait::async_trait;
use portreeve_model::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::accounts::rfc3339;

/// Where sealed secrets are kept.
#[async_trait]
pub trait SecretDesk: Send + Sync {
    /// Writes one.
    ///
    /// # Errors
    /// A sentence.
    async fn set(&self, name: &str, secret: &Secret) -> Result<(), String>;

    /// Their names, and when each was written.
    ///
    /// # Errors
    /// A sentence.
    async fn list(&self) -> Result<Vec<(String, SystemTime)>, String>;

    /// Forgets one; whether it was there.
    ///
    /// # Errors
    /// A sentence.
    async fn delete(&self, name: &str) -> Result<bool, String>;
}

/// What about which secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretRequest {
    /// Write it.
    Set {
        /// Its name.
        name: String,
        /// The secret.
        secret: String,
    },
    /// All names.
    List,
    /// Forget it.
    Delete {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Debug for SecretRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.change().unwrap_or_else(|| "a question".to_owned()))
    }
}

impl SecretRequest {
    /// How the audit log names it; none for what only looks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        match self {
            Self::Set { name, .. } => Some(format!("set {name}")),
            Self::Delete { name } => Some(format!("delete {name}")),
            Self::List => None,
        }
    }
}

/// Answers.
pub(super) async fn run(desk: &dyn SecretDesk, what: SecretRequest) -> Result<Json, String> {
    match what {
        SecretRequest::Set { name, secret } => {
            usable(&name)?;
            desk.set(&name, &Secret::new(secret)).await?;
            Ok(json!({ "sealed": name }))
        }
        SecretRequest::List => {
            let names = desk.list().await?;
            let shown = names
                .iter()
                .map(|(name, changed)| json!({ "name": name, "changed": rfc3339(*changed) }));
            Ok(shown.collect())
        }
        SecretRequest::Delete { name } => match desk.delete(&name).await? {
            true => Ok(json!({ "deleted": name })),
            false => Err(format!("there is no sealed secret '{name}'")),
        },
    }
}

/// A name that a configuration can write.
fn usable(name: &str) -> Result<(), String> {
    let written = json!({ "sealed": name });
    serde_json::from_value::<portreeve_model::options::SecretText>(written)
        .map(drop)
        .map_err(|error| error.to_string())
}

//! Where refresh tokens outlive the process. The host seals what it keeps; here stands only the contract.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::Secret;

/// Secrets by name. What `save` answered survives a crash.
#[async_trait]
pub trait Vault: Send + Sync {
    /// The secret of this name, if there is one.
    ///
    /// # Errors
    /// The vault cannot be read or opened.
    async fn load(&self, name: &str) -> Result<Option<Secret>, VaultError>;

    /// Puts a secret in the place of the one of that name.
    ///
    /// # Errors
    /// It was not kept.
    async fn save(&self, name: &str, value: &Secret) -> Result<(), VaultError>;
}

/// Why a vault gave or kept nothing. The text is for the log and holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct VaultError(pub String);

/// A vault that forgets at restart.
#[derive(Debug, Default)]
pub struct MemoryVault(Mutex<BTreeMap<String, Secret>>);

#[async_trait]
impl Vault for MemoryVault {
    async fn load(&self, name: &str) -> Result<Option<Secret>, VaultError> {
        Ok(self.0.lock().get(name).cloned())
    }

    async fn save(&self, name: &str, value: &Secret) -> Result<(), VaultError> {
        self.0.lock().insert(name.to_owned(), value.clone());
        Ok(())
    }
}

//! What mailboxes remember over a restart, kept in the state database: records, and refresh tokens, sealed.
//!
//! Invariant: the client learns that it is our side that failed; the log learns why.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_mailbox::{Change, Shelf};
use portreeve_microsoft::{Vault, VaultError};
use portreeve_model::Secret;
use portreeve_store::{RecordChange, Store, StoreError};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use crate::secrets::{Keeper, OWN};

/// The database as a shelf.
pub(crate) struct StoreShelf(pub(crate) Store);

#[async_trait]
impl Shelf for StoreShelf {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        self.0.records(space).await.map_err(fault)
    }

    async fn spaces(&self, prefix: &str) -> FsResult<Vec<String>> {
        self.0.record_spaces(prefix).await.map_err(fault)
    }

    async fn save(&self, space: &str, changes: &[Change]) -> FsResult<()> {
        let changes: Vec<RecordChange<'_>> = changes
            .iter()
            .map(|change| match change {
                Change::Put { key, value } => RecordChange::Put(key, value),
                Change::Drop { key } => RecordChange::Drop(key),
            })
            .collect();
        self.0.save_records(space, &changes).await.map_err(fault)
    }

    async fn replace(&self, space: &str, records: &[(String, String)]) -> FsResult<()> {
        self.0.replace_records(space, records).await.map_err(fault)
    }

    async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        self.0.rename_records(from, to).await.map_err(fault)
    }
}

/// Sealed secrets as a vault: refresh tokens that were exchanged.
pub(crate) struct SealedVault(pub(crate) Arc<Keeper>);

#[async_trait]
impl Vault for SealedVault {
    async fn load(&self, name: &str) -> Result<Option<Secret>, VaultError> {
        let found = self.0.unseal(&format!("{OWN}{name}")).await;
        found.map_err(|error| VaultError(error.0))
    }

    async fn save(&self, name: &str, value: &Secret) -> Result<(), VaultError> {
        let sealed = self.0.seal(&format!("{OWN}{name}"), value).await;
        sealed.map_err(|error| VaultError(error.0))
    }
}

fn fault(error: StoreError) -> FsError {
    tracing::error!(%error, "what a mailbox remembers cannot be read or written");
    FsError::new(FsErrorKind::Backend)
        .context("the server's own records cannot be used now")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_a_shelf_that_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let open = async || StoreShelf(Store::open("sqlite:t.db", dir.path()).await.unwrap());
        let shelf = open().await;
        let put = |key: &str, value: &str| Change::Put {
            key: key.into(),
            value: value.into(),
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let gone = Change::Drop { key: "a".into() };
        let changes = [put("b", "2"), put("a", "1"), put("c", "3"), gone];
        shelf.save("names", &changes).await.unwrap();
        shelf.0.close().await;
        let shelf = open().await;
        assert_eq!(
            shelf.load("names").await.unwrap(),
            [pair("b", "2"), pair("c", "3")]
        );
        shelf.replace("names", &[pair("z", "9")]).await.unwrap();
        shelf.rename("names", "other").await.unwrap();
        assert_eq!(shelf.load("other").await.unwrap(), [pair("z", "9")]);
        assert_eq!(shelf.load("names").await.unwrap(), []);
        assert_eq!(shelf.spaces("o").await.unwrap(), ["other"]);
        shelf.0.close().await;
        let error = shelf.load("other").await.unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::Backend);
    }

    #[tokio::test]
    async fn a_refresh_token_outlives_the_process_and_lies_sealed() {
        let dir = tempfile::tempdir().unwrap();
        for first in [true, false] {
            let store = Store::open("sqlite:t.db", dir.path()).await.unwrap();
            let vault = SealedVault(Arc::new(Keeper::new(store.clone(), None, dir.path())));
            if first {
                vault
                    .save("app 1", &Secret::new("refresh-me".into()))
                    .await
                    .unwrap();
            }
            let found = vault.load("app 1").await.unwrap().unwrap();
            assert_eq!(found.expose(), "refresh-me");
            assert!(vault.load("app 2").await.unwrap().is_none());
            assert_eq!(vault.0.names().await.unwrap()[0].0, "vault:app 1");
            store.close().await;
        }
        let bytes = std::fs::read(dir.path().join("t.db")).unwrap();
        assert!(!bytes.windows(10).any(|part| part == b"refresh-me"));
    }
}

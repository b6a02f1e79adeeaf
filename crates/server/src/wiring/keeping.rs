//! What mailboxes remember over a restart, kept in the state database.
//!
//! Invariant: the client learns that it is our side that failed; the log learns why.

use async_trait::async_trait;
use portreeve_mailbox::{Change, Shelf};
use portreeve_store::{RecordChange, Store, StoreError};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

/// The database as a shelf.
pub(crate) struct StoreShelf(pub(crate) Store);

#[async_trait]
impl Shelf for StoreShelf {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        self.0.records(space).await.map_err(fault)
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
        shelf.0.close().await;
        let error = shelf.load("other").await.unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::Backend);
    }
}

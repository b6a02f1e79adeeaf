//! The store against the stand-in for Microsoft's services.

mod changing;
mod faults;
mod following;
mod listing;
mod mounted;
mod racing;
mod reading;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use portreeve_microsoft::{Cloud, GraphLimits, MemoryVault};
use portreeve_model::Secret;
use portreeve_tests_microsoft::{MailboxHandle, Standin};
use portreeve_vfs::{FsErrorKind, FsResult, SpoolArea};
use serde_json::json;
use tempfile::TempDir;

use super::{Exchange, ExchangeOptions, ExchangeSecrets};
use crate::{Content, Folder, FolderId, MailStore, MemoryShelf, Message, Shelf, Surroundings};

pub(super) const ADDRESS: &str = "Invoices@example.com";

/// A mailbox at a stand-in, and the store over it.
pub(super) struct World {
    pub(super) standin: Standin,
    pub(super) mailbox: MailboxHandle,
    pub(super) store: Exchange,
    pub(super) options: ExchangeOptions,
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) dir: TempDir,
}

pub(super) fn options(standin: &Standin) -> ExchangeOptions {
    serde_json::from_value(json!({
        "mailbox": ADDRESS, "directory_id": standin.tenant(), "application_id": standin.app_id(),
        "password": standin.secret(), "authority": standin.authority(), "graph": standin.graph(),
        "ca_file": standin.ca_file(), "fresh_for": "1h",
    }))
    .unwrap()
}

pub(super) fn around(shelf: &Arc<dyn Shelf>, dir: &TempDir) -> Surroundings {
    let area = SpoolArea::new(dir.path().to_owned(), 1 << 30, 200 << 20);
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    Surroundings::new(Arc::clone(shelf), Arc::new(area), cloud)
}

/// Retries that do not make tests wait.
pub(super) fn limits() -> GraphLimits {
    GraphLimits {
        backoff: Duration::from_millis(5),
        attempts: 12,
        ..GraphLimits::default()
    }
}

pub(super) fn open(
    options: &ExchangeOptions,
    secret: &str,
    limits: GraphLimits,
    around: &Surroundings,
) -> Exchange {
    open_at(options, secret, limits, around, ADDRESS)
}

pub(super) fn open_at(
    options: &ExchangeOptions,
    secret: &str,
    limits: GraphLimits,
    around: &Surroundings,
    address: &str,
) -> Exchange {
    let secrets = ExchangeSecrets {
        password: Some(Secret::new(secret.to_owned())),
        ..ExchangeSecrets::default()
    };
    let mut app = options.app(&secrets).unwrap();
    app.backoff = Duration::from_millis(5);
    let graph = around.cloud.graph(&app, &options.graph_base(), limits).unwrap();
    Exchange::over(graph.mailbox(address), options, address, around).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ExchangeOptions)) -> Self {
        let standin = Standin::start();
        let mailbox = standin.mailbox(ADDRESS);
        let mut options = options(&standin);
        change(&mut options);
        let dir = tempfile::tempdir().unwrap();
        let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
        let store = open(&options, standin.secret(), limits(), &around(&shelf, &dir));
        Self {
            standin,
            mailbox,
            store,
            options,
            shelf,
            dir,
        }
    }

    /// As after a restart of the server.
    pub(super) fn restart(&mut self) {
        let around = around(&self.shelf, &self.dir);
        self.store = open(&self.options, self.standin.secret(), limits(), &around);
    }

    /// Makes the next look ask.
    pub(super) async fn expire(&self) {
        self.store.inner.expire().await;
    }

    /// What is read behind a first listing has been read.
    pub(super) async fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.store.inner.is_catching_up().await {
            assert!(Instant::now() < deadline, "the first round of deltas has no end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn folder(&self, path: &str) -> Folder {
        let mut at: Option<Folder> = None;
        for name in path.split('/') {
            let parent = at.as_ref().map(|folder| &folder.id);
            let page = self.store.folders(parent, None).await.unwrap();
            at = Some(page.items.into_iter().find(|folder| folder.name == name).unwrap());
        }
        at.unwrap()
    }

    pub(super) async fn inbox(&self) -> FolderId {
        self.folder("Inbox").await.id
    }

    /// All messages of a folder, by its pages.
    pub(super) async fn messages(&self, folder: &FolderId) -> FsResult<Vec<Arc<Message>>> {
        let mut all = Vec::new();
        let mut from = None;
        loop {
            let page = self.store.messages(folder, from.as_ref()).await?;
            all.extend(page.items);
            from = page.next;
            if from.is_none() {
                return Ok(all);
            }
        }
    }

    /// Subject and attachment names of every message of a folder.
    pub(super) async fn listing(&self, folder: &FolderId) -> BTreeMap<String, Vec<String>> {
        let all = self.messages(folder).await.unwrap();
        let names = |m: &Message| m.attachments.iter().map(|a| a.name.clone()).collect();
        all.iter()
            .map(|m| (m.summary.subject.clone(), names(m)))
            .collect()
    }

    pub(super) async fn message(&self, folder: &FolderId, subject: &str) -> Arc<Message> {
        let all = self.messages(folder).await.unwrap();
        all.into_iter()
            .find(|message| message.summary.subject == subject)
            .unwrap()
    }
}

pub(super) async fn read(content: &dyn Content) -> FsResult<Vec<u8>> {
    let mut got = Vec::new();
    loop {
        let before = got.len();
        got = content.read(before as u64, 100_000, got).await?;
        if got.len() == before {
            assert_eq!(content.size(), before as u64, "the size is exact");
            return Ok(got);
        }
    }
}

pub(super) fn kind<T>(result: FsResult<T>) -> Option<FsErrorKind> {
    result.err().map(|error| error.kind())
}

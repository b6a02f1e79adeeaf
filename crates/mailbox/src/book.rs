//! The name book: which name belongs to which part, remembered over restarts.
//!
//! A name is a promise to a client that lists, fetches and then deletes by name. The book keeps it
//! while the part lives, and for a day after it is gone no other part gets the name.

mod file;
mod shelved;

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_vfs::FsResult;

use crate::{FolderId, MessageId, PartId};

pub use file::FileBook;
pub use shelved::ShelfBook;

/// A part of the mailbox, whichever folder it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKey {
    /// Its message.
    pub message: MessageId,
    /// The part.
    pub part: PartId,
}

impl PartKey {
    /// The message as a whole, where it is a directory: ids of parts are never empty.
    pub(crate) fn of_message(message: &MessageId) -> Self {
        Self {
            message: message.clone(),
            part: "".into(),
        }
    }

    pub(crate) fn is_message(&self) -> bool {
        self.part.0.is_empty()
    }
}

/// One line of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The name, without case folding.
    pub name: String,
    /// To what it belongs.
    pub key: PartKey,
    /// Since when the part is gone, in seconds since 1970; none while it lives.
    pub gone: Option<u64>,
    /// Exact size of its content in bytes, where it had to be learnt. Content never changes under its key.
    pub size: Option<u64>,
}

/// Where bindings are kept. One book serves one mailbox with one template. Implementations bound
/// what they keep by what they are told: a folder's bindings are at most its live parts and those
/// gone for less than a day.
#[async_trait]
pub trait NameBook: Send + Sync {
    /// All bindings of a folder.
    async fn load(&self, folder: &FolderId) -> FsResult<Vec<Binding>>;

    /// Records `changed` (new bindings, or a new `gone` or `size`) durably. `held` is how many bindings the
    /// folder has in all; answers true when most of what is kept is history by now, and
    /// [`NameBook::replace`] would make it small.
    async fn save(&self, folder: &FolderId, changed: &[Binding], held: usize) -> FsResult<bool>;

    /// Puts `all` in the place of everything that was recorded of a folder.
    async fn replace(&self, folder: &FolderId, all: &[Binding]) -> FsResult<()>;

    /// A folder got another id: its bindings go with it.
    async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()>;
}

/// A book that forgets at restart.
#[derive(Debug, Default)]
pub struct MemoryBook(Mutex<HashMap<FolderId, Vec<Binding>>>);

#[async_trait]
impl NameBook for MemoryBook {
    async fn load(&self, folder: &FolderId) -> FsResult<Vec<Binding>> {
        Ok(self.0.lock().get(folder).cloned().unwrap_or_default())
    }

    async fn save(&self, folder: &FolderId, changed: &[Binding], held: usize) -> FsResult<bool> {
        let mut folders = self.0.lock();
        let lines = folders.entry(folder.clone()).or_default();
        lines.extend_from_slice(changed);
        Ok(lines.len() > 100 && lines.len() / 4 > held)
    }

    async fn replace(&self, folder: &FolderId, all: &[Binding]) -> FsResult<()> {
        self.0.lock().insert(folder.clone(), all.to_vec());
        Ok(())
    }

    async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()> {
        let mut folders = self.0.lock();
        if let Some(bindings) = folders.remove(from) {
            folders.insert(to.clone(), bindings);
        }
        Ok(())
    }
}

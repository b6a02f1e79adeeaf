//! The traits that every backend implements and every layer wraps.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::{Name, SessionId, VPath};
use tokio_util::sync::CancellationToken;

use crate::{
    Attrs, Capabilities, Cursor, Entry, FsErrorKind, FsResult, Links, Note, OpenWrite, Partial, Removal,
    Rename, Space,
};

/// To whom unfinished uploads belong: a principal, whatever its session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner(pub Arc<str>);

/// What travels with every operation. Passed by reference, never stored.
#[derive(Debug, Clone)]
pub struct OpCx {
    /// The session that asks.
    pub session: SessionId,
    /// The principal that asks: the owner of partials.
    pub owner: Owner,
    /// When the answer is no longer of use.
    pub deadline: Option<Instant>,
    /// Fires when the session ends.
    pub cancel: CancellationToken,
    note: OnceLock<Note>,
}

impl OpCx {
    /// For `owner` in `session`, without a deadline.
    #[must_use]
    pub const fn new(session: SessionId, owner: Owner, cancel: CancellationToken) -> Self {
        Self {
            session,
            owner,
            deadline: None,
            cancel,
            note: OnceLock::new(),
        }
    }

    /// The same for another operation, of which nothing is said yet.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            session: self.session,
            owner: self.owner.clone(),
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            note: OnceLock::new(),
        }
    }

    /// Where the backend says what the operation's path stands for, as soon as it knows and whatever comes
    /// of it. Of two paths that is the first; of a file that is written, what it becomes.
    #[must_use]
    pub fn note(&self) -> &Note {
        self.note.get_or_init(Note::default)
    }

    /// What its backend said, where it said anything.
    #[must_use]
    pub fn noted(&self) -> Option<&Note> {
        self.note.get()
    }

    /// Takes over what was said when the file was opened: for an operation on an open file.
    pub fn adopt(&self, note: &Note) {
        let _ = self.note.set(note.clone());
    }
}

/// A storage. Fifteen methods, and no more: a new ability is a capability, a default of
/// `Unsupported` and a conformance test.
///
/// Paths are as seen from the storage's root. Every method may be called from many tasks at once.
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// What it can do; never changes.
    fn capabilities(&self) -> &Capabilities;

    /// What is there. Kept partials are `NotFound` here: ask [`FileSystem::partial`].
    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry>;

    /// Opens a directory for listing, from its start or from where a former listing stood.
    /// Neither `.` nor `..`, nor temp names, nor partials are among the entries.
    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>>;

    /// Opens a file for reading. A kept partial of the caller is `Incomplete`, with a message that
    /// names its length.
    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>>;

    /// Opens a file for writing. Nobody sees it under its name before [`WriteFile::commit`].
    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>>;

    /// What the caller's owner left unfinished under this very name.
    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>>;

    /// What the caller's owner left unfinished right in `dir`, each once, in no order, as
    /// [`FileSystem::partial`] tells it; those beside a complete file too. Nothing where there is no such
    /// directory, or where the storage cannot tell ([`Capabilities::list_partials`]). A backend may stop
    /// looking after some thousands: who is not told of one still finds it by its name.
    async fn partials(&self, _cx: &OpCx, _dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        Ok(Vec::new())
    }

    /// Makes a directory; its parent must be there.
    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()>;

    /// Removes a file or an empty directory, whichever `what` says.
    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()>;

    /// Gives another name.
    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()>;

    /// Sets attributes.
    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()>;

    /// Copies a file within the storage, visible whole or not at all.
    async fn copy(&self, _cx: &OpCx, _from: &VPath, _to: &VPath, _how: Rename) -> FsResult<()> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Space of the storage that holds `path`.
    async fn space(&self, _cx: &OpCx, _path: &VPath) -> FsResult<Space> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Makes `new` a second name of the file `existing`.
    async fn link(&self, _cx: &OpCx, _existing: &VPath, _new: &VPath) -> FsResult<()> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// What a symbolic link holds, as bytes.
    async fn read_link(&self, _cx: &OpCx, _path: &VPath) -> FsResult<Vec<u8>> {
        Err(FsErrorKind::Unsupported.into())
    }
}

/// An open directory: a held stream of entries.
#[async_trait]
pub trait Listing: Send {
    /// The next entries, at most `max`; none means the end.
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>>;

    /// Where the listing stands, for going on later without holding it.
    fn cursor(&self) -> Option<Cursor>;
}

/// A file open for reading. Many reads may be in flight at once.
#[async_trait]
pub trait ReadFile: Send + Sync {
    /// What was opened, as it was then.
    fn entry(&self) -> &Entry;

    /// Appends up to `len` bytes from offset `at` to `into` and gives it back: fewer only at the
    /// end of the file, none beyond it. The buffer is the caller's, so that a door can lay its
    /// own header in front, pool it, and send it without a copy.
    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>>;
}

/// A file open for writing. `&self` everywhere: whoever holds it puts the calls in order; the file
/// serves many at once. It ends by one of `commit`, `keep` and `discard`; when it is only dropped
/// (the process died), a backend that can resume leaves what `keep` would.
#[async_trait]
pub trait WriteFile: Send + Sync {
    /// What it is now, with its live size.
    async fn entry(&self) -> FsResult<Entry>;

    /// Writes `data`, piece after piece, from offset `at` on. Answers when the backend has it.
    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()>;

    /// Writes at the end and answers the size thereafter.
    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64>;

    /// As [`ReadFile::read`], on what was written so far.
    async fn read(&self, _at: u64, _len: usize, _into: Vec<u8>) -> FsResult<Vec<u8>> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Sets size at once; mode and times at commit.
    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()>;

    /// Makes what was written durable under its temp name.
    async fn sync(&self) -> FsResult<()>;

    /// Changes the name that commit will give (a rename while the file is open).
    async fn retarget(&self, _to: &VPath, _how: Rename) -> FsResult<()> {
        Err(FsErrorKind::Unsupported.into())
    }

    /// Makes the file visible under its name, whole and durable: fsync, rename, fsync of the
    /// directory. On error what was written lives on: `keep` or `discard` still work.
    async fn commit(&self) -> FsResult<Entry>;

    /// Keeps what was written as the owner's partial and answers its length. Where the backend
    /// cannot resume, discards and answers 0.
    async fn keep(&self) -> FsResult<u64>;

    /// Throws away what was written.
    async fn discard(&self) -> FsResult<()>;
}

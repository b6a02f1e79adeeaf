//! The file system over a [`MailStore`]: folders are directories, attachments are files.
//!
//! Invariants:
//! - A path names a part by its binding (see `bind`), never by a position: what a client listed and
//!   fetched is what it deletes.
//! - Nothing is deleted but what was asked for, and the message only by the rule of `delete`.
//! - Uploads are drafts or nothing; attachments are never replaced or changed, and renamed only by who
//!   has just uploaded them.

mod delete;
mod intake;
mod items;
mod outbox;
mod policy;
mod read;
mod relist;
mod renaming;
mod shown;
mod sizes;
mod telling;
#[cfg(test)]
mod tests;
mod tree;
mod upload;
mod view;
mod whole;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, Names,
    OpCx, OpenWrite, Partial, ReadFile, Removal, Rename, WriteAccess, WriteFile,
};

use crate::{
    FileBook, FolderKind, MailOptions, MailStore, Maildir, MaildirOptions, MemoryBook, NameBook, OnUpload,
    ShelfBook, Surroundings, name,
};
pub use intake::Spooling;
pub use outbox::LeftWaiting;
pub(crate) use outbox::Outboxes;
use outbox::Share;
pub use policy::{OptionsError, Policy, option_problems};
use renaming::{Author, Uploaded};
use tree::{Dir, Node, Tree};
use view::Views;

/// A mailbox as a file system.
pub struct Mailbox {
    shared: Arc<Shared>,
    capabilities: Capabilities,
}

struct Shared {
    /// Its name in records: its address, or the storage's name.
    mailbox: Box<str>,
    store: Arc<dyn MailStore>,
    policy: Policy,
    tree: Tree,
    views: Views,
    uploaded: Uploaded,
    /// Sizes of whole messages and texts, by version.
    wholes_learnt: Mutex<HashMap<u64, u64>>,
    /// Only where uploads are sent.
    outbox: Option<Arc<Share>>,
    /// Held while a message is put into the Outbox.
    sending: tokio::sync::Mutex<()>,
}

impl Mailbox {
    /// Over any store.
    #[must_use]
    pub fn new(store: Arc<dyn MailStore>, book: Arc<dyn NameBook>, policy: Policy) -> Self {
        Self::with(store, book, policy, None)
    }

    fn with(
        store: Arc<dyn MailStore>,
        book: Arc<dyn NameBook>,
        policy: Policy,
        outbox: Option<Arc<Share>>,
    ) -> Self {
        let can = store.abilities();
        let sends = outbox.is_some();
        let drafts = policy.on_upload == OnUpload::Draft && can.drafts;
        let uploads = drafts || sends || (policy.on_upload == OnUpload::Import && can.import);
        let limits = [can.max_draft, policy.spool.max_file()];
        let limit = limits.into_iter().flatten().fold(policy.max_upload, u64::min);
        let capabilities = Capabilities {
            names: Names::Utf8,
            write: if uploads {
                WriteAccess::Random
            } else {
                WriteAccess::None
            },
            remove: sends || (can.delete_part && can.delete_message),
            directories: sends || can.folders,
            rename: sends || (drafts && can.delete_message),
            moves: can.delete_message,
            rename_dir: can.folders,
            // In bytes; what is longer might have more characters than a name may.
            max_name: name::MAX_CHARS,
            max_file: Some(limit),
            drops_attrs: uploads,
            paged: can.remote,
            ..Capabilities::read_only()
        };
        let shared = Shared {
            mailbox: store.address().unwrap_or(&policy.storage).into(),
            tree: Tree::new(Arc::clone(&store)),
            views: Views::new(book, policy.max_entries),
            uploaded: Uploaded::default(),
            wholes_learnt: Mutex::default(),
            outbox,
            sending: tokio::sync::Mutex::default(),
            store,
            policy,
        };
        Self {
            shared: Arc::new(shared),
            capabilities,
        }
    }

    /// What `path` leads to, said to whoever records.
    async fn told(&self, cx: &OpCx, path: &VPath) -> FsResult<Node> {
        let note = self.shared.tell(cx);
        let node = self.shared.resolve(path).await?;
        node.told_to(note);
        Ok(node)
    }

    /// Over a Maildir.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option and says what is wrong.
    pub fn maildir(options: &MaildirOptions) -> Result<Self, OptionsError> {
        Self::over_maildir(options).map(|(mailbox, _)| mailbox)
    }

    pub(crate) fn over_maildir(options: &MaildirOptions) -> Result<(Self, Arc<Maildir>), OptionsError> {
        let wrong = |option: &'static str| move |text: String| OptionsError { option, text };
        // What is wrong with the options is told before what is wrong with the disk.
        let policy = Policy::new(
            &options.mail,
            Spooling::Beside(Box::new(|| Err(io::ErrorKind::Unsupported.into()))),
        )?;
        let opened = Maildir::open(
            &options.root,
            options.max_message.0,
            policy.wants_preview(),
            options.mail.max_upload.0,
            policy.max_entries,
        );
        let store =
            Arc::new(opened.map_err(|error| wrong("root")(format!("{}: {error}", options.root.display())))?);
        let book: Arc<dyn NameBook> = match &options.state_dir {
            None => Arc::new(MemoryBook::default()),
            Some(dir) => {
                let root =
                    std::path::absolute(&options.root).unwrap_or_else(|_| PathBuf::from(&options.root));
                let scheme = format!("{}\n{}", root.display(), policy.scheme());
                let book = FileBook::open(dir, &scheme);
                Arc::new(book.map_err(|error| wrong("state_dir")(format!("{}: {error}", dir.display())))?)
            }
        };
        let policy = Policy {
            spool: Arc::new(Spooling::Beside(Box::new(store.spool()))),
            ..policy
        };
        policy.check(store.abilities())?;
        let mailbox = Self::new(Arc::clone(&store) as Arc<dyn MailStore>, book, policy);
        Ok((mailbox, store))
    }

    /// Over a store that is far away. `name` tells its records on the shelf from all others' (kind, server
    /// and address of the mailbox).
    ///
    /// # Errors
    /// [`OptionsError`] that names the option and says what is wrong.
    pub fn over(
        store: Arc<dyn MailStore>,
        name: &str,
        mail: &MailOptions,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        let policy = Policy::new(mail, Spooling::Area(Arc::clone(&around.spool)))?;
        policy.check(store.abilities())?;
        let scheme = format!("{}\n{}", mail.storage, policy.scheme());
        let book = ShelfBook::new(Arc::clone(&around.shelf), name, &scheme);
        let outbox = (policy.on_upload == OnUpload::Send).then(|| {
            let delay = policy.send_delay;
            let share = around
                .outboxes
                .get(name, &around.shelf, &mail.storage, &store, delay);
            Arc::new(share)
        });
        Ok(Self::with(store, Arc::new(book), policy, outbox))
    }
}

#[async_trait]
impl FileSystem for Mailbox {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn stat(&self, _cx: &OpCx, path: &VPath, _links: Links) -> FsResult<Entry> {
        Ok(match self.shared.resolve(path).await? {
            Node::Dir(Dir::Root) => Entry::dir(None),
            Node::Dir(Dir::Folder(_) | Dir::Outbox | Dir::Recipient(_)) => Entry::dir(path.file_name()),
            Node::Waiting(waiting) => waiting.entry().ok_or(FsErrorKind::NotFound)?,
            Node::Dir(Dir::Message(_, item)) => item.entry(),
            Node::File(folder, item) => self.shared.sized(&folder, &item).await?,
        })
    }

    async fn list(&self, _cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.shared.open_listing(dir, from).await
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.shared.open_read(file, self.shared.tell(cx)).await
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        self.shared.tell(cx);
        if self.capabilities.write == WriteAccess::None {
            return Err(FsError::new(FsErrorKind::ReadOnly)
                .context("this mailbox takes no uploads (its option on_upload is \"refuse\")"));
        }
        Shared::open_write(&self.shared, cx, file, &how, self.capabilities.max_file).await
    }

    async fn partial(&self, _cx: &OpCx, _file: &VPath) -> FsResult<Option<Partial>> {
        Ok(None)
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, _attrs: Attrs) -> FsResult<()> {
        self.shared.tell(cx);
        self.shared.make_dir(dir).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        match (self.told(cx, path).await?, what) {
            (Node::Dir(Dir::Root), _) => {
                Err(FsError::new(FsErrorKind::Refused).context("the mailbox itself cannot be removed"))
            }
            (Node::Dir(_), Removal::File) => Err(FsErrorKind::IsDir.into()),
            (Node::Dir(Dir::Outbox), Removal::Dir) => {
                Err(FsError::new(FsErrorKind::Refused).context("the mailbox needs this folder"))
            }
            (Node::Dir(Dir::Recipient(to)), Removal::Dir) => {
                let waiting = self.shared.outbox()?.all().await?;
                if waiting.iter().any(|waiting| waiting.to == to) {
                    return Err(FsErrorKind::NotEmpty.into());
                }
                Ok(())
            }
            (Node::Waiting(waiting), Removal::File) => {
                let outbox = Arc::clone(self.shared.outbox()?);
                to_its_end(async move { outbox.cancel(&waiting).await }).await
            }
            (Node::File(..) | Node::Waiting(_), Removal::Dir) => Err(FsErrorKind::NotDir.into()),
            (Node::Dir(Dir::Message(folder, item)), Removal::Dir) => {
                let shared = Arc::clone(&self.shared);
                to_its_end(async move { shared.remove_message(&folder, &item).await }).await
            }
            (Node::Dir(Dir::Folder(folder)), Removal::Dir) => {
                if matches!(folder.kind, FolderKind::Inbox | FolderKind::WellKnown) {
                    return Err(FsError::new(FsErrorKind::Refused).context("the mailbox needs this folder"));
                }
                let removed = self.shared.store.delete_folder(&folder.id).await;
                self.shared.tree.forget();
                removed?;
                self.shared.views.forget(&folder.id);
                Ok(())
            }
            (Node::File(folder, item), Removal::File) => {
                let shared = Arc::clone(&self.shared);
                to_its_end(async move { shared.delete(&folder, &item).await }).await
            }
        }
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        match self.told(cx, from).await? {
            Node::Dir(Dir::Root) => {
                Err(FsError::new(FsErrorKind::Refused).context("the mailbox itself cannot be renamed"))
            }
            Node::Dir(Dir::Outbox | Dir::Recipient(_)) => Err(FsError::new(FsErrorKind::Refused)
                .context("the Outbox and its directories cannot be renamed")),
            Node::Waiting(waiting) => {
                let (shared, to, note) = (Arc::clone(&self.shared), to.clone(), cx.note().clone());
                to_its_end(async move { shared.rename_waiting(&waiting, &to, &note).await }).await
            }
            Node::Dir(Dir::Message(folder, item)) => {
                self.shared.move_message_dir(from, &folder, &item, to, how).await
            }
            Node::Dir(Dir::Folder(folder)) => self.shared.rename_folder(from, &folder, to).await,
            Node::File(..) if self.shared.policy.messages.is_some() => {
                Err(FsError::new(FsErrorKind::Refused)
                    .context("what hangs on a message stays with it: move the message's directory"))
            }
            Node::File(folder, item) if from.file_name() == to.file_name() => {
                self.shared.move_file(from, &folder, &item, to, how).await
            }
            Node::File(folder, item) => {
                let (shared, to) = (Arc::clone(&self.shared), to.clone());
                let author = Author::of(cx);
                to_its_end(async move { shared.rename_upload(&author, &folder, &item, &to).await }).await
            }
        }
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, _links: Links) -> FsResult<()> {
        self.told(cx, path).await?;
        if self.capabilities.drops_attrs && attrs.size.is_none() {
            return Ok(());
        }
        Err(FsError::new(FsErrorKind::Unsupported).context("attributes of mail cannot be changed"))
    }
}

/// Runs `work` to its end, also when nobody waits for it any more: a session that ends in the middle
/// must not leave an attachment deleted and its empty message behind, or a draft without its name.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = FsResult<T>> + Send + 'static,
) -> FsResult<T> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(FsError::new(FsErrorKind::Backend).caused_by(error)),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

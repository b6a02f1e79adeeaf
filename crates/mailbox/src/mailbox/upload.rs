//! Uploads: written to a file without a name; made a draft, taken in or put into the Outbox at commit.
//!
//! Invariants: nobody sees anything before commit; an abort or a crash leaves nothing; the draft's
//! file has exactly the name it was uploaded by; a name that is taken is never replaced.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{
    Attrs, Entry, FsError, FsErrorKind, FsResult, Note, OpCx, OpenWrite, Rename, WriteFile, WriteMode,
};

use super::{
    Shared,
    intake::Intake,
    relist::entry,
    renaming::Author,
    telling::{id_of, tell_attachment, tell_message},
    to_its_end,
    tree::{Node, check_clean, taken},
    view::Need,
};
use crate::{Content, Draft, Folder, FolderKind, OnUpload, book::PartKey, name::fold};

impl Shared {
    pub(super) async fn open_write(
        self: &Arc<Self>,
        cx: &OpCx,
        path: &VPath,
        how: &OpenWrite,
        limit: Option<u64>,
    ) -> FsResult<Arc<dyn WriteFile>> {
        let limit = limit.unwrap_or(u64::MAX);
        if let Some(name) = path.file_name() {
            check_clean(name.as_str().unwrap_or_default())?;
        }
        let there = match self.resolve(path).await {
            Ok(Node::File(..) | Node::Waiting(_)) => true,
            Ok(_) => return Err(FsErrorKind::IsDir.into()),
            Err(error) if error.kind() == FsErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        match how.mode {
            WriteMode::Update { create: false } | WriteMode::Append { create: false } if !there => {
                return Err(FsErrorKind::NotFound.into());
            }
            WriteMode::Resume { .. } => {
                return Err(FsError::new(FsErrorKind::Unsupported)
                    .context("uploads into a mailbox cannot be resumed"));
            }
            WriteMode::Update { .. } | WriteMode::Append { .. } if there => {
                return Err(FsError::new(FsErrorKind::Unsupported).context("an attachment cannot be changed"));
            }
            WriteMode::Replace if there => {
                return Err(FsError::new(FsErrorKind::Unsupported)
                    .context("an attachment cannot be replaced: delete it first"));
            }
            _ => {}
        }
        let (place, author) = (self.target(path).await?, Author::of(cx));
        place.told_to(&author.note);
        if how.size_hint.is_some_and(|size| size > limit) {
            return Err(too_large(limit));
        }
        let intake = self.policy.spool.intake().await?;
        Ok(Arc::new(Upload {
            shared: Arc::clone(self),
            author,
            intake,
            limit,
            state: Mutex::new(State {
                place: Arc::new(place),
                size: 0,
                ended: false,
            }),
        }))
    }

    /// What becomes of an upload to `path`, and where.
    async fn target(&self, path: &VPath) -> FsResult<Target> {
        match self.policy.on_upload {
            OnUpload::Refuse => Err(FsErrorKind::ReadOnly.into()),
            OnUpload::Send => {
                let (to, name) = self.sending_place(path).await?;
                Ok(Target::Sent(to, name))
            }
            OnUpload::Draft => {
                let (folder, name) = self.upload_place(path).await?;
                Ok(Target::Draft(folder, name))
            }
            OnUpload::Import => {
                let (folder, name) = self.upload_place(path).await?;
                if !name.to_lowercase().ends_with(".eml") {
                    return Err(FsError::new(FsErrorKind::Refused).context(
                        "this mailbox takes in whole messages only: files whose names end in .eml, under that \
                         name from the start (no temporary name)",
                    ));
                }
                Ok(Target::Import(folder, name))
            }
        }
    }

    /// Takes a whole message in. It is not shown as the file that was uploaded, but as any other message.
    async fn commit_import(
        &self,
        note: &Note,
        folder: &Folder,
        name: &str,
        content: Arc<dyn Content>,
    ) -> FsResult<Entry> {
        let size = content.size();
        tell_message(note, &id_of(&*content).await);
        self.store.import(&folder.id, content).await?;
        self.views.slot(&folder.id).lock().await.stale();
        Ok(Entry::file(
            Name::new(name.as_bytes()).map_err(|_| FsErrorKind::InvalidName)?,
            size,
        ))
    }

    /// Where a draft may be made.
    pub(super) async fn upload_place(&self, path: &VPath) -> FsResult<(Folder, String)> {
        let (folder, name) = self.vacant(path).await?;
        let folder = folder.filter(|folder| folder.kind != FolderKind::Container);
        let folder = folder.ok_or_else(|| {
            FsError::new(FsErrorKind::Refused).context("files can be uploaded into a mail folder only")
        })?;
        if !self.policy.filter.shows(&name) {
            return Err(FsError::new(FsErrorKind::Refused)
                .context("the mailbox does not show files of such a name (options include and exclude)"));
        }
        Ok((folder, name))
    }

    /// Makes the draft, binds its file to its name, and remembers who may give it another.
    pub(super) async fn commit(
        &self,
        author: &Author,
        folder: &Folder,
        name: &str,
        content: Arc<dyn Content>,
    ) -> FsResult<Entry> {
        // Every other commit waits; the reservation keeps listings of the folder from giving the name away,
        // and lets them be answered while the draft is made, which can take minutes.
        let slot = self.views.slot(&folder.id);
        let _alone = slot.put_alone().await;
        let mut state = slot.lock().await;
        self.refresh(folder, &mut state, Need::Fresh).await?;
        let folders = self.tree.children(Some(&folder.id), Need::Fresh).await?;
        if let Some((shown, _)) = folders.iter().find(|(shown, _)| fold(shown) == fold(name)) {
            return Err(taken(name, shown));
        }
        let book = self.book();
        let bindings = state.bindings(self, &folder.id).await?;
        if let Some(shown) = bindings.alike(name) {
            return Err(taken(name, shown));
        }
        bindings.free_rested(name);
        let reserved = slot.reserve(name);
        drop(state);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let draft = Draft {
            subject: stem.to_owned(),
            file_name: name.to_owned(),
            to: Vec::new(),
        };
        let message = self
            .store
            .create_draft(&folder.id, &draft, Arc::clone(&content))
            .await;
        let mut state = slot.lock().await;
        drop(reserved);
        state.stale();
        let message = message?;
        tell_message(&author.note, &message.summary.internet_id);
        tell_attachment(&author.note, name);
        let attachment = message.attachments.iter().find(|a| a.counts());
        let attachment = attachment.ok_or_else(|| {
            FsError::new(FsErrorKind::Backend).context("the store made a draft without its attachment")
        })?;
        let key = PartKey {
            message: message.id.clone(),
            part: attachment.id.clone(),
        };
        self.uploaded.add(&author.owner, &key);
        let bound = state.bindings(self, &folder.id).await?.bind(key, name.to_owned());
        state.record(book, &folder.id, vec![bound]).await;
        let shown = Name::new(name.as_bytes()).map_err(|_| FsErrorKind::InvalidName)?;
        let mut entry = entry(shown, &message, attachment);
        entry.size = Some(content.size());
        Ok(entry)
    }
}

/// What becomes of an upload: where, and under which name.
enum Target {
    /// A draft in a folder.
    Draft(Folder, String),
    /// A message in a folder.
    Import(Folder, String),
    /// Sent to an address.
    Sent(String, String),
}

impl Target {
    fn name(&self) -> &str {
        let (Self::Draft(_, name) | Self::Import(_, name) | Self::Sent(_, name)) = self;
        name
    }

    /// Says what is known before it is made: a file that is to hang on a message, or a whole one.
    fn told_to(&self, note: &Note) {
        match self {
            Self::Draft(_, name) | Self::Sent(_, name) => tell_attachment(note, name),
            Self::Import(..) => {}
        }
    }
}

fn too_large(limit: u64) -> FsError {
    FsError::new(FsErrorKind::TooLarge)
        .context(format!("an upload into this mailbox has at most {limit} bytes"))
}

/// An upload in progress.
struct Upload {
    shared: Arc<Shared>,
    author: Author,
    intake: Intake,
    limit: u64,
    state: Mutex<State>,
}

struct State {
    place: Arc<Target>,
    size: u64,
    ended: bool,
}

impl Upload {
    /// Refuses everything once it has ended.
    fn open(&self) -> FsResult<Arc<Target>> {
        let state = self.state.lock();
        if state.ended {
            return Err(FsError::new(FsErrorKind::Conflict).context("the upload has ended"));
        }
        Ok(Arc::clone(&state.place))
    }

    /// Where a write of `len` bytes ends, at `at` or at the end so far; the size grows to it.
    fn reserve(&self, at: Option<u64>, len: u64) -> FsResult<u64> {
        let mut state = self.state.lock();
        let at = at.unwrap_or(state.size);
        let end = at.checked_add(len).filter(|end| *end <= self.limit);
        let end = end.ok_or_else(|| too_large(self.limit))?;
        if len > 0 {
            state.size = state.size.max(end);
        }
        Ok(at)
    }

    async fn put(&self, at: Option<u64>, data: Vec<Bytes>) -> FsResult<u64> {
        self.open()?;
        let len: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        let at = self.reserve(at, len)?;
        self.intake.write(at, data).await?;
        Ok(at + len)
    }

    fn content(&self) -> Arc<dyn Content> {
        self.intake.content(self.state.lock().size)
    }
}

#[async_trait]
impl WriteFile for Upload {
    async fn entry(&self) -> FsResult<Entry> {
        let place = self.open()?;
        let name = Name::new(place.name().as_bytes()).map_err(|_| FsErrorKind::InvalidName)?;
        Ok(Entry::file(name, self.state.lock().size))
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.put(Some(at), data).await.map(drop)
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.put(None, data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.open()?;
        self.content().read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.open()?;
        // Times and permissions are dropped (`Capabilities::drops_attrs`).
        let Some(size) = attrs.size else {
            return Ok(());
        };
        if size > self.limit {
            return Err(too_large(self.limit));
        }
        self.intake.resize(size).await?;
        self.state.lock().size = size;
        Ok(())
    }

    async fn sync(&self) -> FsResult<()> {
        self.open()?;
        self.intake.sync().await
    }

    async fn retarget(&self, to: &VPath, _how: Rename) -> FsResult<()> {
        self.open()?;
        let place = self.shared.target(to).await?;
        place.told_to(&self.author.note);
        self.state.lock().place = Arc::new(place);
        Ok(())
    }

    async fn commit(&self) -> FsResult<Entry> {
        let place = self.open()?;
        // A sparse end is real: the file may be longer than what was written.
        let content = self.content();
        self.intake.resize(content.size()).await?;
        let shared = Arc::clone(&self.shared);
        let author = self.author.clone();
        let commit = async move {
            match &*place {
                Target::Draft(folder, name) => shared.commit(&author, folder, name, content).await,
                Target::Import(folder, name) => {
                    shared.commit_import(&author.note, folder, name, content).await
                }
                Target::Sent(to, name) => shared.commit_to_outbox(&author.note, to, name, content).await,
            }
        };
        let entry = to_its_end(commit).await?;
        self.state.lock().ended = true;
        Ok(entry)
    }

    async fn keep(&self) -> FsResult<u64> {
        self.discard().await?;
        Ok(0)
    }

    async fn discard(&self) -> FsResult<()> {
        self.open()?;
        self.state.lock().ended = true;
        Ok(())
    }
}

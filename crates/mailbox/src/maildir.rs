//! A Maildir or Maildir++ as a [`MailStore`].
//!
//! Invariants: nothing outside the root is reached (see `dir`); every blocking call runs off the
//! async threads; what parsing holds in memory at once is bounded; one change at a time.

mod content;
mod dir;
mod edit;
mod folders;
mod layout;
mod scan;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use rustix::io::Errno;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    ChangeToken, Content, Draft, Folder, FolderId, MailStore, Message, MessageId, Page, PageCursor, PartId,
    StoreAbilities, in_memory::InMemory, mime::Wanted, store::too_many,
};
pub(crate) use content::InFile;
use content::{SMALL, decode_into};
use dir::{Dir, is_recent};
use scan::{Cache, Found, Parsed};

/// Messages on one page.
const PAGE: usize = 500;
/// What parsing may hold in memory at once, in MiB.
const PARSE_BUDGET: u32 = 256;
/// How much is parsed in one go off the async threads, in bytes of messages.
const BATCH: u64 = 8 << 20;

/// A Maildir.
pub struct Maildir {
    inner: Arc<Inner>,
    abilities: StoreAbilities,
    /// Permits of one MiB.
    parsing: Arc<Semaphore>,
    /// One permit: changes go one by one.
    changing: Arc<Semaphore>,
}

#[derive(Debug)]
struct Inner {
    root: Dir,
    max_message: u64,
    /// Messages and attachments held, of one folder and of all.
    max_entries: usize,
    wanted: Wanted,
    cache: Mutex<Cache>,
    parsed: AtomicU64,
    counter: AtomicU64,
}

impl Maildir {
    /// Opens the Maildir at `root`. Messages larger than `max_message` bytes are not looked into;
    /// `preview` says whether the beginning of texts is wanted. A folder with more than `max_entries`
    /// messages and attachments is refused.
    ///
    /// # Errors
    /// `root` cannot be opened, or is no Maildir (`InvalidInput`).
    pub fn open(
        root: &Path,
        max_message: u64,
        preview: bool,
        max_draft: u64,
        max_entries: usize,
    ) -> io::Result<Self> {
        let dir = Dir::root(root)?;
        for sub in ["cur", "new", "tmp"] {
            dir.sub(sub).map_err(|error| {
                let text = format!("it is no Maildir: its directory '{sub}' cannot be opened: {error}");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: dir,
                max_message,
                max_entries,
                wanted: Wanted { preview },
                cache: Mutex::new(Cache::new(max_entries)),
                parsed: AtomicU64::new(0),
                counter: AtomicU64::new(0),
            }),
            abilities: StoreAbilities {
                delete_part: true,
                delete_message: true,
                folders: true,
                drafts: true,
                send: false,
                import: true,
                whole: true,
                max_draft: Some(max_draft),
                fresh_for: Duration::from_secs(1),
                remote: false,
            },
            parsing: Arc::new(Semaphore::new(PARSE_BUDGET as usize)),
            changing: Arc::new(Semaphore::new(1)),
        })
    }

    /// How many messages have been parsed so far.
    #[must_use]
    pub fn parsed(&self) -> u64 {
        self.inner.parsed.load(Ordering::Relaxed)
    }

    /// A file for an upload in progress, without a name.
    pub(crate) fn spool(&self) -> impl Fn() -> io::Result<File> + Send + Sync + use<> {
        let inner = Arc::clone(&self.inner);
        move || inner.spool()
    }

    /// Runs `work` off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| fault(&io::Error::other(error)))?
    }

    /// Runs `work` alone among changes.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> FsResult<T> {
        let permit = Arc::clone(&self.changing).acquire_owned().await;
        self.run(move |inner| {
            // Held until the work is done, also when nobody waits for it any more.
            let _permit = permit;
            work(inner).map_err(|error| fault(&error))
        })
        .await
    }

    /// Room for parsing a message of `size` bytes: once raw, once decoded or rewritten.
    async fn room(&self, size: u64) -> FsResult<tokio::sync::OwnedSemaphorePermit> {
        let wanted = u32::try_from(size >> 19)
            .unwrap_or(u32::MAX)
            .clamp(1, PARSE_BUDGET);
        let permit = Arc::clone(&self.parsing).acquire_many_owned(wanted).await;
        permit.map_err(|error| fault(&io::Error::other(error)))
    }

    /// The parsed forms of message files, from the cache or freshly; those that are gone are left out.
    async fn parse_all(&self, folder: &FolderId, found: Vec<Found>) -> FsResult<Vec<Arc<Message>>> {
        let mut out = Vec::with_capacity(found.len());
        let mut batch: Vec<Found> = Vec::new();
        let mut size = 0;
        for one in found {
            if let Some(known) = self.inner.known(folder, &one) {
                out.push(Arc::clone(&known.message));
                continue;
            }
            if size > 0 && size + one.stamp.size > BATCH {
                out.extend(self.parse_batch(folder, std::mem::take(&mut batch), size).await?);
                size = 0;
            }
            size += one.stamp.size;
            batch.push(one);
        }
        out.extend(self.parse_batch(folder, batch, size).await?);
        Ok(out)
    }

    async fn parse_batch(
        &self,
        folder: &FolderId,
        batch: Vec<Found>,
        size: u64,
    ) -> FsResult<Vec<Arc<Message>>> {
        let room = self.room(size).await?;
        let folder = folder.clone();
        self.run(move |inner| {
            let _room = room;
            let mut out = Vec::with_capacity(batch.len());
            for found in &batch {
                if inner.is_full(&folder) {
                    return Err(too_many(inner.max_entries));
                }
                match inner.parse(&folder, found) {
                    Ok(parsed) => out.extend(parsed.map(|parsed| Arc::clone(&parsed.message))),
                    // One file that cannot be read must not hide the others.
                    Err(error) => {
                        tracing::warn!(message = ?found.id, %error, "a message cannot be read");
                        out.push(Arc::new(Message {
                            id: found.id.clone(),
                            summary: crate::Summary::default(),
                            attachments: Vec::new(),
                            complete: false,
                            stamp: Box::default(),
                        }));
                    }
                }
            }
            Ok(out)
        })
        .await
    }
}

#[async_trait]
impl MailStore for Maildir {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    async fn folders(&self, parent: Option<&FolderId>, _from: Option<&PageCursor>) -> FsResult<Page<Folder>> {
        let parent = parent.cloned();
        let items = self.run(move |inner| inner.children(parent.as_ref())).await?;
        Ok(Page { items, next: None })
    }

    async fn messages(&self, folder: &FolderId, from: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>> {
        let (id, from) = (folder.clone(), from.map(|cursor| cursor.0.clone()));
        let (found, next) = self
            .run(move |inner| {
                let all = match from.as_ref().and_then(|_| inner.scanned(&id)) {
                    Some(all) => all,
                    None => inner.scan(&id)?,
                };
                let start = from.map_or(0, |after| all.partition_point(|found| *found.id.0 <= *after));
                let page: Vec<Found> = all.iter().skip(start).take(PAGE).cloned().collect();
                let more = start + page.len() < all.len();
                let next = page
                    .last()
                    .filter(|_| more)
                    .map(|last| PageCursor((&*last.id.0).into()));
                Ok((page, next))
            })
            .await?;
        let items = self.parse_all(folder, found).await?;
        Ok(Page { items, next })
    }

    async fn change_token(&self, folder: &FolderId) -> FsResult<Option<ChangeToken>> {
        let folder = folder.clone();
        self.run(move |inner| {
            let token = || {
                let dir = inner.folder_dir(&folder)?;
                let (new, cur) = (dir.sub("new")?.own_stamp()?, dir.sub("cur")?.own_stamp()?);
                if is_recent(new.modified) || is_recent(cur.modified) {
                    return Ok(None);
                }
                Ok(Some(ChangeToken(format!("{new:?}{cur:?}").into())))
            };
            token().map_err(|error: io::Error| fault(&error))
        })
        .await
    }

    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message> {
        let room = self.room(self.inner.size_hint(folder, message)).await?;
        let (folder, message) = (folder.clone(), message.clone());
        self.run(move |inner| {
            let _room = room;
            let look = || {
                let Some((_, file)) = inner.locate(&folder, &message)? else {
                    return Ok(None);
                };
                inner.parse_file(&message, &file).map(|(parsed, ..)| Some(parsed))
            };
            let parsed: Option<Parsed> = look().map_err(|error: io::Error| fault(&error))?;
            let parsed = parsed.ok_or(FsErrorKind::NotFound)?;
            Ok(Arc::unwrap_or_clone(parsed.message))
        })
        .await
    }

    async fn open_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        let room = self.room(self.inner.size_hint(folder, message)).await?;
        let (folder, message, part) = (folder.clone(), message.clone(), part.clone());
        self.run(move |inner| {
            let _room = room;
            inner
                .open_part(&folder, &message, &part)
                .map_err(|error| fault(&error))?
                .ok_or_else(|| FsErrorKind::NotFound.into())
        })
        .await
    }

    async fn open_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        let (folder, message) = (folder.clone(), message.clone());
        self.run(move |inner| {
            let look = || {
                let Some((_, file)) = inner.locate(&folder, &message)? else {
                    return Ok(None);
                };
                let size = dir::stamp_of(&file)?.size;
                Ok(Some(InFile {
                    file: Arc::new(file),
                    start: 0,
                    size,
                }))
            };
            let content = look().map_err(|error: io::Error| fault(&error))?;
            Ok(Arc::new(content.ok_or(FsErrorKind::NotFound)?) as Arc<dyn Content>)
        })
        .await
    }

    async fn open_text(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        let room = self.room(self.inner.size_hint(folder, message)).await?;
        let (folder, message) = (folder.clone(), message.clone());
        self.run(move |inner| {
            let _room = room;
            let text = inner.text(&folder, &message).map_err(|error| fault(&error))?;
            let text = text.ok_or(FsErrorKind::NotFound)?;
            Ok(Arc::new(InMemory(text.into_bytes().into())) as Arc<dyn Content>)
        })
        .await
    }

    async fn delete_part(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<()> {
        let room = self.room(self.inner.size_hint(folder, message)).await?;
        let (folder, message, part) = (folder.clone(), message.clone(), part.clone());
        self.change(move |inner| {
            let _room = room;
            found(inner.delete_part(&folder, &message, &part)?)
        })
        .await
    }

    async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        let (folder, message) = (folder.clone(), message.clone());
        self.change(move |inner| found(inner.delete_message(&folder, &message)?))
            .await
    }

    async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        let (folder, message) = (folder.clone(), message.clone());
        self.change(move |inner| found(inner.soft_delete(&folder, &message)?))
            .await
    }

    async fn move_message(&self, folder: &FolderId, message: &MessageId, to: &FolderId) -> FsResult<()> {
        let (folder, message, to) = (folder.clone(), message.clone(), to.clone());
        self.change(move |inner| found(inner.move_message(&folder, &message, &to)?))
            .await
    }

    async fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder> {
        let (parent, name) = (parent.cloned(), name.to_owned());
        self.run(move |inner| inner.create_folder(parent.as_ref(), &name))
            .await
    }

    async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        let (folder, parent, name) = (folder.clone(), parent.cloned(), name.to_owned());
        self.run(move |inner| inner.rename_folder(&folder, parent.as_ref(), &name))
            .await
    }

    async fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        let folder = folder.clone();
        self.run(move |inner| inner.delete_folder(&folder)).await
    }

    async fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        let (to, draft) = (folder.clone(), draft.clone());
        let mut reader = Reader::new(content);
        let id = self
            .change(move |inner| inner.create_draft(&to, &draft, &mut reader))
            .await?;
        self.message(folder, &id).await
    }

    async fn import(&self, folder: &FolderId, content: Arc<dyn Content>) -> FsResult<MessageId> {
        let folder = folder.clone();
        let mut reader = Reader::new(content);
        self.change(move |inner| inner.import(&folder, &mut reader)).await
    }
}

impl Inner {
    /// Opens the content of a part; none where it is gone.
    fn open_part(
        &self,
        folder: &FolderId,
        id: &MessageId,
        part: &PartId,
    ) -> io::Result<Option<Arc<dyn Content>>> {
        let Some((_, file)) = self.locate(folder, id)? else {
            return Ok(None);
        };
        let stamp = dir::stamp_of(&file)?;
        let known = self.scanned(folder).and_then(|all| {
            let at = all.binary_search_by(|found| found.id.cmp(id)).ok()?;
            self.known(folder, all.get(at)?)
                .filter(|known| known.stamp == stamp)
        });
        let parsed = match known {
            Some(known) => known,
            None => Arc::new(self.parse_file(id, &file)?.0),
        };
        let Some((index, (_, body, encoding))) = parsed.parts.iter().enumerate().find(|(_, p)| p.0 == *part)
        else {
            return Ok(None);
        };
        let (start, length) = (body.start as u64, body.len() as u64);
        if *encoding == crate::mime::Encoding::Identity {
            return Ok(Some(Arc::new(InFile {
                file: Arc::new(file),
                start,
                size: length,
            })));
        }
        let size = parsed
            .message
            .attachments
            .get(index)
            .and_then(|a| a.size)
            .unwrap_or(0);
        if size <= SMALL {
            let mut raw = vec![0; body.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut raw, start)?;
            let decoded = crate::mime::decode(*encoding, &raw);
            return Ok(Some(Arc::new(InMemory(decoded.into()))));
        }
        let spool = self.spool()?;
        let size = decode_into(&file, start, length, *encoding, &spool)?;
        Ok(Some(Arc::new(InFile {
            file: Arc::new(spool),
            start: 0,
            size,
        })))
    }
}

/// Reads content from within blocking work.
struct Reader {
    content: Arc<dyn Content>,
    handle: Handle,
    at: u64,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(content: Arc<dyn Content>) -> Self {
        Self {
            content,
            handle: Handle::current(),
            at: 0,
            buffer: Vec::new(),
        }
    }
}

impl io::Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let read = self.content.read(self.at, into.len(), buffer);
        let buffer = self.handle.block_on(read).map_err(io::Error::other)?;
        if buffer.is_empty() && !into.is_empty() && self.at < self.content.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(room) = into.get_mut(..buffer.len()) {
            room.copy_from_slice(&buffer);
        }
        self.at += buffer.len() as u64;
        let n = buffer.len();
        self.buffer = buffer;
        Ok(n)
    }
}

fn found(found: bool) -> io::Result<()> {
    if found {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// An error of the machine in the contract's terms.
pub(crate) fn fault(error: &io::Error) -> FsError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FsErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => FsErrorKind::Exists,
        io::ErrorKind::PermissionDenied => FsErrorKind::Denied,
        io::ErrorKind::ReadOnlyFilesystem => FsErrorKind::ReadOnly,
        io::ErrorKind::StorageFull => FsErrorKind::NoSpace,
        io::ErrorKind::QuotaExceeded => FsErrorKind::Quota,
        io::ErrorKind::FileTooLarge => FsErrorKind::TooLarge,
        io::ErrorKind::DirectoryNotEmpty => FsErrorKind::NotEmpty,
        io::ErrorKind::NotADirectory => FsErrorKind::NotDir,
        io::ErrorKind::ResourceBusy => FsErrorKind::Conflict,
        // A symbolic link where a file was expected: none is followed.
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => FsErrorKind::Denied,
        _ => FsErrorKind::Backend,
    };
    FsError::new(kind).caused_by(io::Error::new(error.kind(), error.to_string()))
}

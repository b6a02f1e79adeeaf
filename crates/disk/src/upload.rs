//! A file open for writing: a draft beside its target, or (large files that cannot be reflinked) the
//! file itself.
//!
//! Invariant: no write lands after the end. Writes share `turn`, the ends (commit, keep, discard) and
//! retarget have it alone: they wait also for writes whose caller has given up. It is waited for only
//! where waiting is allowed; the state is locked for moments only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use parking_lot::{Mutex, RwLock};
use portreeve_model::VPath;
use portreeve_vfs::{Attrs, Entry, FsError, FsErrorKind, FsResult, Owner, Rename, WriteFile};
use rustix::{
    fd::OwnedFd,
    fs,
    io::{self, IoSlice},
};

use crate::{
    draft::Draft,
    error::OrFsError,
    hop::{Hop, blocking},
    label, read,
    root::Place,
    stat::{self, SAFE_MODE},
    storage::Storage,
    undo::Undo,
};

/// The most pieces that one pwritev(2) takes.
const MAX_PIECES: usize = 1024;

/// An upload in progress. All methods on it that touch the disk are synchronous; [`Handle`] decides
/// where they run.
pub(crate) struct Upload {
    pub(crate) storage: Arc<Storage>,
    pub(crate) owner: Owner,
    pub(crate) body: Body,
    pub(crate) state: Mutex<State>,
    pub(crate) ended: AtomicBool,
    /// The disk failed to store some of it: nobody knows what.
    pub(crate) doubtful: AtomicBool,
    pub(crate) turn: RwLock<()>,
    /// Every write goes to the end, whatever its offset.
    appends: bool,
    appending: Mutex<()>,
}

/// Where the bytes go.
pub(crate) enum Body {
    /// Beside the target, invisible.
    Draft(Draft),
    /// Into the target itself (V6, above the copy limit), with a journal where it is an append.
    InPlace { file: OwnedFd, undo: Option<Undo> },
}

/// What commit will do.
pub(crate) struct State {
    pub(crate) place: Place,
    pub(crate) how: Rename,
    /// The draft's present name: a retarget moves it. None where it is the owner's partial name.
    pub(crate) own_name: Option<Vec<u8>>,
    /// Bits for a file that replaces nothing.
    pub(crate) new_mode: u32,
    /// What was set on the handle; applied at commit.
    pub(crate) attrs: Attrs,
}

impl Upload {
    pub(crate) fn new(
        storage: Arc<Storage>,
        owner: Owner,
        place: Place,
        how: Rename,
        body: Body,
        attrs: Attrs,
        appends: bool,
    ) -> Self {
        let own_name = match &body {
            Body::Draft(draft) if !draft.partial_name => Some(draft.name.clone()),
            _ => None,
        };
        let new_mode = attrs.mode.map_or(storage.file_mode, |mode| mode & SAFE_MODE);
        Self {
            storage,
            owner,
            body,
            state: Mutex::new(State {
                place,
                how,
                own_name,
                new_mode,
                // The mode given when opening is for a new file; that of an old one is kept (V7).
                attrs: Attrs {
                    size: None,
                    mode: None,
                    ..attrs
                },
            }),
            ended: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            turn: RwLock::new(()),
            appends,
            appending: Mutex::new(()),
        }
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        match &self.body {
            Body::Draft(draft) => &draft.file,
            Body::InPlace { file, .. } => file,
        }
    }

    pub(crate) fn open(&self) -> FsResult<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(FsError::new(FsErrorKind::Conflict).context("the upload has ended already"));
        }
        Ok(())
    }

    fn write_at(&self, at: u64, data: &mut [Bytes]) -> FsResult<u64> {
        if self.appends {
            return self.append(data);
        }
        self.open()?;
        let end = write_all(self.file(), at, data)?;
        self.label(end);
        Ok(end)
    }

    fn append(&self, data: &mut [Bytes]) -> FsResult<u64> {
        let _order = self.appending.lock();
        self.open()?;
        let end = stat::of(self.file()).or_fs()?.stx_size;
        let end = write_all(self.file(), end, data)?;
        self.label(end);
        Ok(end)
    }

    /// What is written so far outlives a crash: its owner is to be told of it then.
    fn label(&self, end: u64) {
        if end >= label::WORTH_IT
            && let Body::Draft(draft) = &self.body
            && !draft.is_labelled()
            && self.has_partial_name(draft)
        {
            draft.label(&self.state.lock().place.name);
        }
    }

    fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.open()?;
        if let Some(size) = attrs.size {
            fs::ftruncate(self.file(), size).or_fs()?;
        }
        let pending = &mut self.state.lock().attrs;
        pending.mode = attrs.mode.map(|mode| mode & SAFE_MODE).or(pending.mode);
        pending.modified = attrs.modified.or(pending.modified);
        pending.accessed = attrs.accessed.or(pending.accessed);
        Ok(())
    }

    pub(crate) fn entry(&self) -> FsResult<Entry> {
        let found = stat::of(self.file()).or_fs()?;
        let state = self.state.lock();
        let mut entry = stat::entry(Some(state.place.name.clone()), &found);
        if matches!(self.body, Body::Draft(_)) && !self.ended.load(Ordering::Acquire) {
            entry.mode = Some(state.new_mode);
        }
        entry.mode = state.attrs.mode.or(entry.mode);
        entry.modified = state.attrs.modified.or(entry.modified);
        entry.accessed = state.attrs.accessed.or(entry.accessed);
        Ok(entry)
    }
}

/// Writes all pieces from `at` on and answers where they end.
fn write_all(file: &OwnedFd, mut at: u64, data: &mut [Bytes]) -> FsResult<u64> {
    let mut rest = data;
    loop {
        while rest.first().is_some_and(Bytes::is_empty) {
            rest = rest.split_first_mut().map(|(_, tail)| tail).unwrap_or_default();
        }
        if rest.is_empty() {
            return Ok(at);
        }
        let pieces: Vec<IoSlice<'_>> = rest
            .iter()
            .take(MAX_PIECES)
            .map(|piece| IoSlice::new(piece))
            .collect();
        let mut wrote = io::retry_on_intr(|| io::pwritev(file, &pieces, at)).or_fs()?;
        if wrote == 0 {
            return Err(FsErrorKind::NoSpace.into());
        }
        at += wrote as u64;
        for piece in rest.iter_mut() {
            let step = piece.len().min(wrote);
            piece.advance(step);
            wrote -= step;
            if wrote == 0 {
                break;
            }
        }
    }
}

/// The upload as doors see it. When it is only dropped, what was written is kept.
pub(crate) struct Handle {
    pub(crate) upload: Arc<Upload>,
    pub(crate) hop: Hop,
    /// Who may only write must not learn what stood there before.
    pub(crate) read_back: bool,
}

impl Handle {
    /// Runs `work` where it may wait.
    async fn data<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Upload) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        if self.hop.data_in_place() {
            return work(&self.upload);
        }
        let upload = Arc::clone(&self.upload);
        blocking(move || work(&upload)).await
    }

    /// Runs a write: on local disks in place while the page cache takes it at once.
    async fn bytes<T: Send + 'static>(
        &self,
        mut data: Vec<Bytes>,
        work: impl FnOnce(&Upload, &mut [Bytes]) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        let (pace, began) = (&self.upload.storage.pace, Instant::now());
        let len = data.iter().map(Bytes::len).sum();
        if self.hop == Hop::Local
            && pace.allows(len, began)
            && let Some(_turn) = self.upload.turn.try_read()
        {
            let done = work(&self.upload, &mut data);
            pace.took(began, Instant::now());
            return done;
        }
        self.data(move |upload| {
            let _turn = upload.turn.read();
            work(upload, &mut data)
        })
        .await
    }
}

#[async_trait]
impl WriteFile for Handle {
    async fn entry(&self) -> FsResult<Entry> {
        if self.hop.metadata_in_place() {
            return self.upload.entry();
        }
        self.data(Upload::entry).await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.bytes(data, move |upload, data| upload.write_at(at, data).map(drop))
            .await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.bytes(data, Upload::append).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        if !self.read_back {
            return Err(
                FsError::new(FsErrorKind::Unsupported).context("the file was opened for writing alone")
            );
        }
        self.data(move |upload| {
            upload.open()?;
            read::read_at(upload.file(), at, len, 0, into)
        })
        .await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.data(move |upload| {
            let _turn = upload.turn.read();
            upload.set_attrs(attrs)
        })
        .await
    }

    async fn sync(&self) -> FsResult<()> {
        self.data(|upload| {
            upload.open()?;
            upload.flush()
        })
        .await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        let to = to.clone();
        self.data(move |upload| upload.retarget(&to, how)).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        self.data(Upload::commit).await
    }

    async fn keep(&self) -> FsResult<u64> {
        self.data(Upload::keep).await
    }

    async fn discard(&self) -> FsResult<()> {
        self.data(Upload::discard).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Two or three metadata calls; an fsync is not owed to anybody who did not ask for it.
        if !self.ended.load(Ordering::Acquire)
            && let Err(error) = self.leave()
        {
            tracing::warn!(%error, "an upload that was dropped could not be kept");
        }
    }
}

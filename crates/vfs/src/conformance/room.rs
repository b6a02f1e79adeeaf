//! What a case works in: one fresh storage, two people, and short words for what every case does.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use bytes::Bytes;
use portreeve_model::{Name, SessionId, VPath};
use tokio_util::sync::CancellationToken;

use super::{Stage, Stop};
use crate::{
    Attrs, Capabilities, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, OpCx, OpenWrite, Owner,
    ReadFile, WriteAccess, WriteFile, WriteMode,
};

/// The room of one case.
pub struct Room {
    stage: Box<dyn Stage>,
    /// The storage.
    pub fs: Arc<dyn FileSystem>,
    /// What it can do.
    pub caps: Capabilities,
    /// One person.
    pub cx: OpCx,
    /// Another person.
    pub other: OpCx,
    /// Where the case works.
    pub base: VPath,
}

impl Room {
    pub(super) fn new(stage: Box<dyn Stage>) -> Self {
        let fs = stage.fs();
        Self {
            caps: fs.capabilities().clone(),
            base: stage.base(),
            cx: person("conformance-alice"),
            other: person("conformance-bob"),
            fs,
            stage,
        }
    }

    /// The same person in another session.
    pub fn same_person_later(&self) -> OpCx {
        OpCx::new(
            SessionId::fresh(),
            self.cx.owner.clone(),
            CancellationToken::new(),
        )
    }

    pub(super) fn stage(&self) -> &dyn Stage {
        &*self.stage
    }

    /// Skips the case where the storage `can` not.
    pub fn need(&self, can: bool, what: &'static str) -> Result<(), Stop> {
        if can { Ok(()) } else { Err(Stop::Skip(what)) }
    }

    /// Skips the case on a read-only storage.
    pub fn need_write(&self) -> Result<(), Stop> {
        self.need(self.caps.write != WriteAccess::None, "write")
    }

    /// Skips the case where writes at any offset are not possible.
    pub fn need_random(&self) -> Result<(), Stop> {
        self.need(self.caps.write == WriteAccess::Random, "random writes")
    }

    /// `name` below the base; slashes make it deeper.
    #[track_caller]
    pub fn path(&self, name: impl AsRef<[u8]>) -> Result<VPath, Stop> {
        self.base.resolve(name).map_err(Stop::fail)
    }

    /// Opens for writing.
    pub async fn writer(&self, path: &VPath, mode: WriteMode) -> FsResult<Arc<dyn WriteFile>> {
        self.fs.open_write(&self.cx, path, OpenWrite::new(mode)).await
    }

    /// Makes a file with this content.
    pub async fn put(&self, path: &VPath, content: &[u8]) -> FsResult<Entry> {
        let file = self.writer(path, WriteMode::Replace).await?;
        file.write(0, bytes(content)).await?;
        file.commit().await
    }

    /// Leaves `content` as a kept partial.
    pub async fn leave(&self, path: &VPath, content: &[u8]) -> Result<(), Stop> {
        let file = self.writer(path, WriteMode::Replace).await?;
        file.write(0, bytes(content)).await?;
        same(file.keep().await?, content.len() as u64, "length kept")
    }

    /// Makes a directory.
    pub async fn make_dir(&self, path: &VPath) -> FsResult<()> {
        self.fs.make_dir(&self.cx, path, Attrs::default()).await
    }

    /// The content of a file, read from the start on.
    pub async fn get(&self, path: &VPath) -> FsResult<Vec<u8>> {
        self.get_as(&self.cx, path).await
    }

    /// The content of a file, as seen by somebody.
    pub async fn get_as(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        read_all(&*self.fs.open_read(cx, path).await?, 70_001).await
    }

    /// That the file has this content, by stat and by reading.
    pub async fn holds(&self, path: &VPath, content: &[u8]) -> Result<(), Stop> {
        let entry = self.fs.stat(&self.cx, path, Links::Follow).await?;
        same(entry.size, Some(content.len() as u64), "size by stat")?;
        same_bytes(&self.get(path).await?, content)
    }

    /// That nothing is there, for both people.
    pub async fn absent(&self, path: &VPath) -> Result<(), Stop> {
        for cx in [&self.cx, &self.other] {
            for links in [Links::Follow, Links::Keep] {
                fails(self.fs.stat(cx, path, links).await, &[FsErrorKind::NotFound])?;
            }
        }
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        match self.list(&self.other, &parent).await {
            Ok(names) if path.file_name().is_some_and(|name| names.contains_key(&name)) => {
                Err(Stop::fail(format_args!("{path} is listed")))
            }
            Ok(_) => Ok(()),
            Err(e) if e.kind() == FsErrorKind::NotFound => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// What a directory holds, by name.
    pub async fn list(&self, cx: &OpCx, dir: &VPath) -> FsResult<BTreeMap<Name, Entry>> {
        let mut listing = self.fs.list(cx, dir, None).await?;
        let mut found = BTreeMap::new();
        loop {
            let page = listing.next(100).await?;
            if page.is_empty() {
                return Ok(found);
            }
            for entry in page {
                let name = entry.name.clone().ok_or(FsErrorKind::Backend)?;
                if found.insert(name, entry).is_some() {
                    return Err(FsError::new(FsErrorKind::Backend).context("a name is listed twice"));
                }
            }
        }
    }

    /// A directory to list in: a fresh one where the storage has directories, else the base.
    pub async fn a_dir(&self, name: &str) -> Result<VPath, Stop> {
        if !self.caps.directories {
            return Ok(self.base.clone());
        }
        let dir = self.path(name)?;
        self.make_dir(&dir).await?;
        Ok(dir)
    }
}

fn person(name: &str) -> OpCx {
    OpCx::new(SessionId::fresh(), Owner(name.into()), CancellationToken::new())
}

/// `content` as the pieces of one write.
pub(super) fn bytes(content: &[u8]) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(content)]
}

/// Bytes that repeat late, so that a piece in the wrong place is seen.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i ^ (i >> 8).wrapping_mul(31) ^ (i >> 16)).to_le_bytes()[0])
        .collect()
}

/// Reads to the end, `step` bytes at a time.
pub(super) async fn read_all(file: &dyn ReadFile, step: usize) -> FsResult<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let before = content.len();
        content = file.read(before as u64, step, content).await?;
        if content.len() == before {
            return Ok(content);
        }
    }
}

/// That the two are equal.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "cases compare values made on the spot"
)]
pub(super) fn same<T: PartialEq + Debug>(got: T, want: T, what: &str) -> Result<(), Stop> {
    if got == want {
        return Ok(());
    }
    Err(Stop::fail(format_args!("{what}: {got:?}, not {want:?}")))
}

/// That the contents are equal; tells the first difference rather than both.
#[track_caller]
pub(super) fn same_bytes(got: &[u8], want: &[u8]) -> Result<(), Stop> {
    if got == want {
        return Ok(());
    }
    let differs = got.iter().zip(want).position(|(a, b)| a != b);
    let (has, wants) = (got.len(), want.len());
    Err(Stop::fail(format_args!(
        "content: {has} bytes, not {wants}; first difference at {differs:?}"
    )))
}

/// That it fails in one of these ways; gives the error.
#[track_caller]
pub(super) fn fails<T>(got: FsResult<T>, kinds: &[FsErrorKind]) -> Result<FsError, Stop> {
    match got {
        Err(e) if kinds.contains(&e.kind()) => Ok(e),
        Err(e) => Err(Stop::fail(format_args!("{:?} ({e}), not {kinds:?}", e.kind()))),
        Ok(_) => Err(Stop::fail(format_args!("it went well, instead of {kinds:?}"))),
    }
}

/// That it fails, however.
#[track_caller]
pub(super) fn fails_somehow<T>(got: FsResult<T>, what: &str) -> Result<FsError, Stop> {
    match got {
        Err(e) => Ok(e),
        Ok(_) => Err(Stop::fail(format_args!("{what} went well"))),
    }
}

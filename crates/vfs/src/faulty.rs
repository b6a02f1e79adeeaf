//! A layer that fails the n-th call, or lets calls wait: how everything above a storage is tested for
//! what it does then.
//!
//! Invariant: a call that fails or waits here has not reached what lies below.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{Name, VPath};
use tokio::sync::Semaphore;

use crate::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, Space, WriteFile,
};

/// One call of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`FileSystem::stat`].
    Stat,
    /// [`FileSystem::list`].
    List,
    /// [`Listing::next`].
    Next,
    /// [`FileSystem::open_read`].
    OpenRead,
    /// [`ReadFile::read`].
    Read,
    /// [`FileSystem::open_write`].
    OpenWrite,
    /// [`WriteFile::entry`].
    Entry,
    /// [`WriteFile::write`].
    Write,
    /// [`WriteFile::append`].
    Append,
    /// [`WriteFile::read`].
    ReadBack,
    /// [`WriteFile::set_attrs`].
    SetAttrsOpen,
    /// [`WriteFile::sync`].
    Sync,
    /// [`WriteFile::retarget`].
    Retarget,
    /// [`WriteFile::commit`].
    Commit,
    /// [`WriteFile::keep`].
    Keep,
    /// [`WriteFile::discard`].
    Discard,
    /// [`FileSystem::partial`].
    Partial,
    /// [`FileSystem::partials`].
    Partials,
    /// [`FileSystem::make_dir`].
    MakeDir,
    /// [`FileSystem::remove`].
    Remove,
    /// [`FileSystem::rename`].
    Rename,
    /// [`FileSystem::set_attrs`].
    SetAttrs,
    /// [`FileSystem::copy`].
    Copy,
    /// [`FileSystem::space`].
    Space,
    /// [`FileSystem::link`].
    Link,
    /// [`FileSystem::read_link`].
    ReadLink,
}

/// Which calls fail, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only calls of this kind count and fail; all of them where none is named.
    pub call: Option<Call>,
    /// The first to fail, counted from 1 and from the moment the fault is set.
    pub nth: u64,
    /// How many fail from there on.
    pub times: u64,
    /// With what.
    pub error: FsError,
}

#[derive(Default)]
struct Script {
    calls: u64,
    counted: u64,
    fault: Option<Fault>,
    held: Option<(Call, Arc<Hold>)>,
}

/// A storage that can be told to fail, or to wait.
pub struct Faulty {
    inner: Arc<dyn FileSystem>,
    script: Arc<Mutex<Script>>,
}

/// Where calls of one kind wait.
pub struct Hold {
    arrived: AtomicUsize,
    passes: Semaphore,
}

impl Hold {
    /// How many calls have come so far, gone on or not.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.arrived.load(Ordering::Acquire)
    }

    /// Lets so many calls go on, now or when they come.
    pub fn let_go(&self, calls: usize) {
        self.passes.add_permits(calls);
    }

    async fn wait(&self) -> FsResult<()> {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let pass = self.passes.acquire().await;
        pass.map_err(|_| FsErrorKind::Cancelled)?.forget();
        Ok(())
    }
}

impl Faulty {
    /// A layer over `inner` that fails nothing yet.
    #[must_use]
    pub fn over(inner: Arc<dyn FileSystem>) -> Self {
        Self {
            inner,
            script: Arc::default(),
        }
    }

    /// Fails the `n`-th call from now on, whichever it is, once.
    pub fn fail_nth(&self, n: u64, kind: FsErrorKind) {
        self.set(Fault {
            call: None,
            nth: n,
            times: 1,
            error: kind.into(),
        });
    }

    /// Sets the fault; what was set before is forgotten.
    pub fn set(&self, fault: Fault) {
        let mut script = self.script.lock();
        script.counted = 0;
        script.fault = Some(fault);
    }

    /// Lets every call of this kind wait. What waits already goes on waiting for its own hold.
    pub fn hold(&self, call: Call) -> Arc<Hold> {
        let hold = Arc::new(Hold {
            arrived: AtomicUsize::new(0),
            passes: Semaphore::new(0),
        });
        self.script.lock().held = Some((call, Arc::clone(&hold)));
        hold
    }

    /// Fails nothing any more.
    pub fn heal(&self) {
        self.script.lock().fault = None;
    }

    /// How many calls there were, those that failed included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.script.lock().calls
    }
}

async fn pass(script: &Mutex<Script>, call: Call) -> FsResult<()> {
    let hold = script.lock().judge(call)?;
    match hold {
        Some(hold) => hold.wait().await,
        None => Ok(()),
    }
}

impl Script {
    /// Whether a call fails; what it has to wait for, where it does not.
    fn judge(&mut self, call: Call) -> FsResult<Option<Arc<Hold>>> {
        self.calls += 1;
        if let Some(fault) = self
            .fault
            .as_ref()
            .filter(|fault| fault.call.is_none_or(|only| only == call))
        {
            self.counted += 1;
            if self.counted >= fault.nth && self.counted - fault.nth < fault.times {
                return Err(fault.error.clone());
            }
        }
        let held = self.held.as_ref().filter(|(held, _)| *held == call);
        Ok(held.map(|(_, hold)| Arc::clone(hold)))
    }
}

#[async_trait]
impl FileSystem for Faulty {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        pass(&self.script, Call::Stat).await?;
        self.inner.stat(cx, path, links).await
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        pass(&self.script, Call::List).await?;
        let inner = self.inner.list(cx, dir, from).await?;
        Ok(Box::new(FaultyListing {
            inner,
            script: self.script.clone(),
        }))
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        pass(&self.script, Call::OpenRead).await?;
        let inner = self.inner.open_read(cx, file).await?;
        Ok(Arc::new(FaultyRead {
            inner,
            script: self.script.clone(),
        }))
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        pass(&self.script, Call::OpenWrite).await?;
        let inner = self.inner.open_write(cx, file, how).await?;
        Ok(Arc::new(FaultyWrite {
            inner,
            script: self.script.clone(),
        }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        pass(&self.script, Call::Partial).await?;
        self.inner.partial(cx, file).await
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        pass(&self.script, Call::Partials).await?;
        self.inner.partials(cx, dir).await
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        pass(&self.script, Call::MakeDir).await?;
        self.inner.make_dir(cx, dir, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        pass(&self.script, Call::Remove).await?;
        self.inner.remove(cx, path, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        pass(&self.script, Call::Rename).await?;
        self.inner.rename(cx, from, to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        pass(&self.script, Call::SetAttrs).await?;
        self.inner.set_attrs(cx, path, attrs, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        pass(&self.script, Call::Copy).await?;
        self.inner.copy(cx, from, to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        pass(&self.script, Call::Space).await?;
        self.inner.space(cx, path).await
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        pass(&self.script, Call::Link).await?;
        self.inner.link(cx, existing, new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        pass(&self.script, Call::ReadLink).await?;
        self.inner.read_link(cx, path).await
    }
}

struct FaultyListing {
    inner: Box<dyn Listing>,
    script: Arc<Mutex<Script>>,
}

#[async_trait]
impl Listing for FaultyListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        pass(&self.script, Call::Next).await?;
        self.inner.next(max).await
    }

    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

struct FaultyRead {
    inner: Arc<dyn ReadFile>,
    script: Arc<Mutex<Script>>,
}

#[async_trait]
impl ReadFile for FaultyRead {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        pass(&self.script, Call::Read).await?;
        self.inner.read(at, len, into).await
    }
}

struct FaultyWrite {
    inner: Arc<dyn WriteFile>,
    script: Arc<Mutex<Script>>,
}

#[async_trait]
impl WriteFile for FaultyWrite {
    async fn entry(&self) -> FsResult<Entry> {
        pass(&self.script, Call::Entry).await?;
        self.inner.entry().await
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        pass(&self.script, Call::Write).await?;
        self.inner.write(at, data).await
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        pass(&self.script, Call::Append).await?;
        self.inner.append(data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        pass(&self.script, Call::ReadBack).await?;
        self.inner.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        pass(&self.script, Call::SetAttrsOpen).await?;
        self.inner.set_attrs(attrs).await
    }

    async fn sync(&self) -> FsResult<()> {
        pass(&self.script, Call::Sync).await?;
        self.inner.sync().await
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        pass(&self.script, Call::Retarget).await?;
        self.inner.retarget(to, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        pass(&self.script, Call::Commit).await?;
        self.inner.commit().await
    }

    async fn keep(&self) -> FsResult<u64> {
        pass(&self.script, Call::Keep).await?;
        self.inner.keep().await
    }

    async fn discard(&self) -> FsResult<()> {
        pass(&self.script, Call::Discard).await?;
        self.inner.discard().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, WriteMode, testing::*};

    /// What a door does in one sitting; any call of it may fail.
    async fn sitting(fs: &dyn FileSystem) -> FsResult<()> {
        let cx = cx("alice");
        fs.make_dir(&cx, &path("/in"), Attrs::default()).await?;
        let how = OpenWrite::new(WriteMode::CreateNew);
        let file = fs.open_write(&cx, &path("/in/part"), how).await?;
        let written = async {
            file.write(0, vec![Bytes::from_static(b"0123456789")]).await?;
            file.sync().await?;
            file.commit().await
        };
        if let Err(e) = written.await {
            file.keep().await?;
            return Err(e);
        }
        fs.rename(&cx, &path("/in/part"), &path("/in/whole"), Rename::NoReplace)
            .await?;
        let mut listing = fs.list(&cx, &path("/in"), None).await?;
        while !listing.next(10).await?.is_empty() {}
        let file = fs.open_read(&cx, &path("/in/whole")).await?;
        file.read(0, 100, Vec::new()).await?;
        fs.remove(&cx, &path("/in/whole"), Removal::File).await?;
        fs.remove(&cx, &path("/in"), Removal::Dir).await
    }

    #[tokio::test]
    async fn whichever_call_fails_no_half_file_is_seen() {
        let kinds = [FsErrorKind::NoSpace, FsErrorKind::Backend, FsErrorKind::TimedOut];
        for kind in kinds {
            let mut n = 0;
            loop {
                n += 1;
                let memory = Memory::new();
                let faulty = Faulty::over(Arc::new(memory.clone()));
                faulty.fail_nth(n, kind);
                let end = sitting(&faulty).await;
                for name in ["/in/part", "/in/whole"] {
                    if let Ok(entry) = memory.stat(&cx("bob"), &path(name), Links::Keep).await {
                        assert_eq!(entry.size, Some(10), "{name} after call {n} failed");
                    }
                }
                match end {
                    Err(e) => assert_eq!(e.kind(), kind, "call {n}"),
                    Ok(()) => break,
                }
                // Nothing is stuck: a storage that works again can be tidied up and used.
                for name in ["/in/part", "/in/whole"] {
                    let _ = memory.remove(&cx("alice"), &path(name), Removal::File).await;
                }
                let _ = memory.remove(&cx("alice"), &path("/in"), Removal::Dir).await;
                sitting(&memory).await.unwrap();
            }
            assert!(n > 12, "the script makes more than {n} calls");
        }
    }

    #[tokio::test]
    async fn counts_only_the_call_that_is_named() {
        let faulty = Faulty::over(Arc::new(Memory::new()));
        faulty.set(Fault {
            call: Some(Call::Stat),
            nth: 2,
            times: 2,
            error: FsErrorKind::Throttled.into(),
        });
        let mut ends = Vec::new();
        for _ in 0..5 {
            drop(faulty.list(&cx("a"), &path("/"), None).await.unwrap());
            ends.push(faulty.stat(&cx("a"), &path("/"), Links::Follow).await.is_ok());
        }
        assert_eq!(ends, [true, false, false, true, true]);
        assert_eq!(faulty.calls(), 10);
    }
}

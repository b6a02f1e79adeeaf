//! Fetches that many readers share, and what is kept of them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_vfs::{FsErrorKind, FsResult, SpoolArea, SpoolFile};
use tokio::{sync::Mutex as Gate, time::Instant};

use super::{Source, stream::Fetch};
use crate::Content;

/// How many parts are kept after their last reader has gone.
const MAX_IDLE: usize = 4096;
/// Bytes that parts in memory may take after their last reader has gone.
const MAX_IDLE_MEMORY: u64 = 64 << 20;
/// How often it is looked whether something has been kept long enough.
const SWEEP: Duration = Duration::from_secs(5);

/// All fetches of the process, each under the name of its part.
pub(crate) struct Fetches {
    area: Arc<SpoolArea>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    parts: HashMap<Arc<str>, Kept>,
    /// Who opens a part holds its gate, so that two do not open it at once.
    gates: HashMap<Arc<str>, Weak<Gate<()>>>,
    /// A task looks after what is kept.
    swept: bool,
}

struct Kept {
    fetch: Arc<Fetch>,
    size: u64,
    readers: usize,
    used: Instant,
    keep: Duration,
}

impl Kept {
    fn is_idle(&self) -> bool {
        self.readers == 0
    }
}

impl Fetches {
    pub(crate) fn new(area: Arc<SpoolArea>) -> Self {
        Self {
            area,
            held: Mutex::default(),
        }
    }

    /// The part that `key` names (its mailbox, message and part: unique in the process, and its content
    /// never changes), shared with whoever reads it too, and kept for `keep` after its last reader has
    /// gone. Small parts, and those whose length the store does not promise, are there as a whole when
    /// this answers; dropped before that, or while a large part still comes, the fetch is ended.
    ///
    /// # Errors
    /// What `source` says; `TooLarge` and `NoSpace` by the limits of the spool.
    pub(crate) async fn open(
        self: &Arc<Self>,
        key: &str,
        keep: Duration,
        source: Box<dyn Source>,
    ) -> FsResult<Arc<dyn Content>> {
        let key: Arc<str> = key.into();
        if let Some(reader) = self.join(&key) {
            return Ok(Arc::new(reader));
        }
        let gate = self.gate(&key);
        let _alone = gate.lock().await;
        if let Some(reader) = self.join(&key) {
            return Ok(Arc::new(reader));
        }
        let (fetch, size) = Fetch::begin(self, source).await?;
        let fetch = Arc::new(fetch);
        let kept = Kept {
            fetch: Arc::clone(&fetch),
            size,
            readers: 1,
            used: Instant::now(),
            keep,
        };
        self.held.lock().parts.insert(Arc::clone(&key), kept);
        Ok(Arc::new(self.reader(key, fetch, size)))
    }

    /// One more reader of a part that is there or coming.
    fn join(self: &Arc<Self>, key: &Arc<str>) -> Option<Fetched> {
        let (fetch, size) = {
            let mut held = self.held.lock();
            let kept = held.parts.get_mut(key).filter(|kept| kept.fetch.is_sound())?;
            kept.readers += 1;
            (Arc::clone(&kept.fetch), kept.size)
        };
        Some(self.reader(Arc::clone(key), fetch, size))
    }

    fn reader(self: &Arc<Self>, key: Arc<str>, fetch: Arc<Fetch>, size: u64) -> Fetched {
        Fetched {
            fetches: Arc::clone(self),
            key,
            fetch,
            size,
        }
    }

    fn gate(&self, key: &Arc<str>) -> Arc<Gate<()>> {
        let mut held = self.held.lock();
        if let Some(gate) = held.gates.get(key).and_then(Weak::upgrade) {
            return gate;
        }
        held.gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(()));
        held.gates.insert(Arc::clone(key), Arc::downgrade(&gate));
        gate
    }

    /// A reader has gone.
    fn left(self: &Arc<Self>, key: &Arc<str>, fetch: &Arc<Fetch>) {
        // What is let go of is dropped when the lock is not held any more.
        let mut gone = Vec::new();
        let mut held = self.held.lock();
        // Another fetch may have taken the place of one that failed.
        let mine = held
            .parts
            .get_mut(key)
            .filter(|kept| Arc::ptr_eq(&kept.fetch, fetch));
        let Some(kept) = mine else {
            return;
        };
        kept.readers = kept.readers.saturating_sub(1);
        kept.used = Instant::now();
        if kept.is_idle() && (!kept.fetch.is_whole() || kept.keep.is_zero()) {
            gone.extend(held.parts.remove(key));
        }
        gone.extend(held.trim());
        let sweeper = (!held.swept && !held.parts.is_empty()).then(tokio::runtime::Handle::try_current);
        if let Some(Ok(runtime)) = sweeper {
            held.swept = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
        drop(held);
    }

    /// A file in the spool, with room for `length` bytes; what was kept longest makes room.
    pub(super) async fn spool_file(&self, length: Option<u64>) -> FsResult<SpoolFile> {
        let file = SpoolFile::create(Arc::clone(&self.area)).await?;
        let Some(length) = length else {
            return Ok(file);
        };
        loop {
            match file.resize(length).await {
                Err(error) if error.kind() == FsErrorKind::NoSpace && self.make_room() => {}
                other => return other.map(|()| file),
            }
        }
    }

    pub(super) async fn write(&self, file: &SpoolFile, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        loop {
            match file.write(Some(at), data.clone()).await {
                Err(error) if error.kind() == FsErrorKind::NoSpace && self.make_room() => {}
                other => return other.map(drop),
            }
        }
    }

    /// That a part of `length` bytes can be fetched at all.
    pub(super) fn check(&self, length: u64) -> FsResult<()> {
        self.area.check(length)
    }

    /// Lets go of what nobody has read for longest; false where there is nothing.
    fn make_room(&self) -> bool {
        let gone = self.held.lock().drop_oldest();
        gone.is_some()
    }

    /// How many parts are there or coming.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.lock().parts.len()
    }
}

impl Held {
    /// What is beyond the bounds.
    fn trim(&mut self) -> Vec<Kept> {
        let idle = || self.parts.values().filter(|kept| kept.is_idle());
        let mut count = idle().count();
        let mut memory: u64 = idle().map(|kept| kept.fetch.in_memory()).sum();
        let mut gone = Vec::new();
        while count > MAX_IDLE || memory > MAX_IDLE_MEMORY {
            let Some(kept) = self.drop_oldest() else {
                break;
            };
            count -= 1;
            memory = memory.saturating_sub(kept.fetch.in_memory());
            gone.push(kept);
        }
        gone
    }

    fn drop_oldest(&mut self) -> Option<Kept> {
        let idle = self.parts.iter().filter(|(_, kept)| kept.is_idle());
        let oldest = idle
            .min_by_key(|(_, kept)| kept.used)
            .map(|(key, _)| Arc::clone(key))?;
        self.parts.remove(&oldest)
    }

    /// What has been kept long enough.
    fn expired(&mut self, now: Instant) -> Vec<Kept> {
        let over = |kept: &mut Kept| kept.is_idle() && now.duration_since(kept.used) >= kept.keep;
        self.parts
            .extract_if(|_, kept| over(kept))
            .map(|(_, kept)| kept)
            .collect()
    }
}

/// Lets go of what has been kept long enough, until nothing is left.
async fn sweep(fetches: Weak<Fetches>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(fetches) = fetches.upgrade() else {
            return;
        };
        let mut held = fetches.held.lock();
        let gone = held.expired(Instant::now());
        let done = held.parts.is_empty();
        held.swept = !done;
        drop(held);
        drop(gone);
        if done {
            return;
        }
    }
}

/// A reader of a part.
struct Fetched {
    fetches: Arc<Fetches>,
    key: Arc<str>,
    fetch: Arc<Fetch>,
    size: u64,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.fetches.left(&self.key, &self.fetch);
    }
}

#[async_trait]
impl Content for Fetched {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.fetch.read(at, len, self.size, into).await
    }
}

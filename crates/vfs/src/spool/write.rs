//! A file that its storage writes from the start to the end, written in any order.
//!
//! Invariants: the storage gets the content at commit, once, in order; after that nothing can be
//! written any more, but another name can still be given where commit itself failed.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_model::VPath;
use tokio::sync::RwLock;

use super::file::SpoolFile;
use crate::{Attrs, Entry, FsError, FsErrorKind, FsResult, Rename, WriteFile, refusal};

/// How much is handed over at a time.
const PIECE: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The storage has it all: only its commit is missing.
    Handed,
    /// The storage has some of it, and nobody knows how much.
    Broken,
    Ended,
}

pub(super) struct SpoolWrite {
    inner: Arc<dyn WriteFile>,
    spool: SpoolFile,
    /// Held shared by what may run at once, alone by what ends the file.
    phase: RwLock<Phase>,
    only_append: bool,
    read_back: bool,
}

impl SpoolWrite {
    pub(super) fn new(
        inner: Arc<dyn WriteFile>,
        spool: SpoolFile,
        only_append: bool,
        read_back: bool,
    ) -> Self {
        Self {
            inner,
            spool,
            phase: RwLock::new(Phase::Open),
            only_append,
            read_back,
        }
    }

    async fn hand_over(&self) -> FsResult<()> {
        let mut at = 0;
        loop {
            let piece = self.spool.read(at, PIECE, Vec::with_capacity(PIECE)).await?;
            if piece.is_empty() {
                return Ok(());
            }
            let count = piece.len() as u64;
            self.inner.write(at, vec![Bytes::from(piece)]).await?;
            at += count;
        }
    }
}

fn open(phase: Phase) -> FsResult<()> {
    let why = match phase {
        Phase::Open => return Ok(()),
        Phase::Handed => "the file is with the storage already: it can be committed or given up",
        Phase::Broken => "the storage failed while it took the file: it can only be given up",
        Phase::Ended => "the file is closed already",
    };
    Err(FsError::new(FsErrorKind::Conflict).context(why))
}

#[async_trait]
impl WriteFile for SpoolWrite {
    async fn entry(&self) -> FsResult<Entry> {
        let mut entry = self.inner.entry().await?;
        entry.size = Some(self.spool.len());
        Ok(entry)
    }

    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        let phase = self.phase.read().await;
        open(*phase)?;
        let at = (!self.only_append).then_some(at);
        self.spool.write(at, data).await.map(drop)
    }

    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        let phase = self.phase.read().await;
        open(*phase)?;
        self.spool.write(None, data).await
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        refusal::unless(self.read_back, "read a file that was opened for writing alone")?;
        let phase = self.phase.read().await;
        open(*phase)?;
        self.spool.read(at, len, into).await
    }

    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        let phase = self.phase.write().await;
        open(*phase)?;
        let rest = Attrs { size: None, ..attrs };
        if !rest.is_empty() {
            self.inner.set_attrs(rest).await?;
        }
        match attrs.size {
            Some(size) => self.spool.resize(size).await,
            None => Ok(()),
        }
    }

    async fn sync(&self) -> FsResult<()> {
        // The spool is gone with the process: only commit makes a file of this storage durable.
        let phase = self.phase.read().await;
        open(*phase)
    }

    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        let phase = self.phase.write().await;
        if *phase == Phase::Ended {
            return open(*phase);
        }
        self.inner.retarget(to, how).await
    }

    async fn commit(&self) -> FsResult<Entry> {
        let mut phase = self.phase.write().await;
        if *phase != Phase::Handed {
            open(*phase)?;
            // Until it ends well: a call that is cut off has handed over who knows how much.
            *phase = Phase::Broken;
            self.hand_over().await?;
            *phase = Phase::Handed;
        }
        let entry = self.inner.commit().await?;
        *phase = Phase::Ended;
        Ok(entry)
    }

    async fn keep(&self) -> FsResult<u64> {
        self.discard().await.map(|()| 0)
    }

    async fn discard(&self) -> FsResult<()> {
        let mut phase = self.phase.write().await;
        if *phase == Phase::Ended {
            return open(*phase);
        }
        self.inner.discard().await?;
        *phase = Phase::Ended;
        Ok(())
    }
}

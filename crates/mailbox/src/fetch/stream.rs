//! One fetch: the task that fills it, and readers that wait for their range.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Retry, SpoolFile};
use tokio::{sync::watch, task::AbortHandle};

use super::{Opened, SMALL, Source, shared::Fetches};

/// How often a stream that broke is asked to go on without having brought a byte in between.
const BARREN_TRIES: u32 = 4;
/// How often in all.
const TRIES: u32 = 32;
/// First pause before another try; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause that a store may ask for in the middle of a part.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// A part being fetched, or fetched.
pub(super) struct Fetch {
    body: Arc<Body>,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far a fetch has come.
#[derive(Clone)]
enum Progress {
    /// These many bytes are there.
    Got(u64),
    /// All are, and these many they are.
    Whole(u64),
    /// It failed.
    Failed(FsError),
}

/// What has come so far: in memory, or in the spool.
#[derive(Default)]
struct Body {
    /// Emptied when the spool takes over.
    head: Mutex<Vec<u8>>,
    /// Set with `head` locked.
    spool: OnceLock<SpoolFile>,
}

impl Body {
    async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
        let spool = {
            let head = self.head.lock();
            match self.spool.get() {
                Some(spool) => spool,
                None => {
                    let start = usize::try_from(at).unwrap_or(usize::MAX).min(head.len());
                    let end = start.saturating_add(len).min(head.len());
                    into.extend_from_slice(head.get(start..end).unwrap_or_default());
                    return Ok(into);
                }
            }
        };
        spool.read(at, len, into).await
    }

    /// Goes on in the spool, with room for `length` bytes where that is known.
    async fn spill(&self, fetches: &Fetches, length: Option<u64>) -> FsResult<()> {
        let spool = fetches.spool_file(length).await?;
        let head = self.head.lock().clone();
        fetches.write(&spool, 0, vec![head.into()]).await?;
        let mut head = self.head.lock();
        let _ = self.spool.set(spool);
        *head = Vec::new();
        Ok(())
    }

    async fn put(&self, fetches: &Fetches, at: u64, piece: Bytes) -> FsResult<()> {
        if self.spool.get().is_none() && at.saturating_add(piece.len() as u64) > SMALL {
            self.spill(fetches, None).await?;
        }
        match self.spool.get() {
            Some(spool) => fetches.write(spool, at, vec![piece]).await,
            None => {
                self.head.lock().extend_from_slice(&piece);
                Ok(())
            }
        }
    }
}

impl Fetch {
    /// Begins, and tells the exact length: answers when the store has opened the part, and for small parts
    /// and those of unknown length when all is there.
    pub(super) async fn begin(fetches: &Arc<Fetches>, mut source: Box<dyn Source>) -> FsResult<(Self, u64)> {
        let opened = source.open(0).await?;
        let body = Arc::new(Body::default());
        if let Some(length) = opened.length {
            fetches.check(length)?;
            if length > SMALL {
                body.spill(fetches, Some(length)).await?;
            }
        }
        let (told, progress) = watch::channel(Progress::Got(0));
        let large = opened.length.filter(|length| *length > SMALL);
        let filling = Filling {
            fetches: Arc::clone(fetches),
            source,
            length: opened.length,
            body: Arc::clone(&body),
            told,
            got: 0,
        };
        let task = tokio::spawn(filling.run(opened)).abort_handle();
        let fetch = Self { body, progress, task };
        let size = match large {
            Some(length) => length,
            None => fetch.whole().await?,
        };
        Ok((fetch, size))
    }

    /// The exact length, once it is all there.
    pub(super) async fn whole(&self) -> FsResult<u64> {
        let reached = |progress: &Progress| !matches!(progress, Progress::Got(_));
        match self.wait(reached).await? {
            Progress::Whole(size) => Ok(size),
            Progress::Failed(error) => Err(error),
            Progress::Got(_) => Err(FsErrorKind::Cancelled.into()),
        }
    }

    /// Whether all is there.
    pub(super) fn is_whole(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Whole(_))
    }

    /// Whether it can still be of use.
    pub(super) fn is_sound(&self) -> bool {
        match &*self.progress.borrow() {
            Progress::Got(_) => self.progress.has_changed().is_ok(),
            Progress::Whole(_) => true,
            Progress::Failed(_) => false,
        }
    }

    /// Bytes that it takes in memory.
    pub(super) fn in_memory(&self) -> u64 {
        self.body.head.lock().len() as u64
    }

    async fn wait(&self, reached: impl FnMut(&Progress) -> bool) -> FsResult<Progress> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(reached).await;
        reached.map(|progress| progress.clone()).map_err(|_| {
            FsError::new(FsErrorKind::Backend)
                .context("fetching it from the mailbox was broken off; try again")
        })
    }

    /// Bytes from `at` on, as soon as they are there: fewer than `len` only at the end, which is `size`.
    pub(super) async fn read(&self, at: u64, len: usize, size: u64, into: Vec<u8>) -> FsResult<Vec<u8>> {
        let end = at.saturating_add(len as u64).min(size);
        if at >= end {
            return Ok(into);
        }
        let reached = |progress: &Progress| match progress {
            // The end is believed when the stream has ended there.
            Progress::Got(got) => *got >= end && end < size,
            Progress::Whole(_) | Progress::Failed(_) => true,
        };
        if let Progress::Failed(error) = self.wait(reached).await? {
            return Err(error);
        }
        let want = usize::try_from(end - at).unwrap_or(len);
        let there = into.len();
        let into = self.body.read(at, want, into).await?;
        if into.len() - there < want {
            return Err(FsError::new(FsErrorKind::Backend).context("what was fetched is no longer whole"));
        }
        Ok(into)
    }
}

/// What the task works with.
struct Filling {
    fetches: Arc<Fetches>,
    source: Box<dyn Source>,
    length: Option<u64>,
    body: Arc<Body>,
    told: watch::Sender<Progress>,
    got: u64,
}

impl Filling {
    async fn run(mut self, opened: Opened) {
        let end = match self.fill(opened).await {
            Ok(()) => Progress::Whole(self.got),
            Err(error) => Progress::Failed(error),
        };
        self.told.send_replace(end);
    }

    /// Goes on until all is there, over broken streams.
    async fn fill(&mut self, first: Opened) -> FsResult<()> {
        let mut next = Ok(first);
        let (mut barren, mut tries) = (0, 0);
        loop {
            let before = self.got;
            let error = match next {
                Ok(opened) => match self.pour(opened).await {
                    Ok(()) => return Ok(()),
                    Err(Broken::For(error)) => return Err(error),
                    Err(Broken::Off(error)) => error,
                },
                Err(error) => error,
            };
            barren = if self.got > before { 0 } else { barren + 1 };
            tries += 1;
            if barren > BARREN_TRIES || tries > TRIES || is_final(error.kind()) {
                return Err(error);
            }
            tracing::debug!(at = self.got, %error, "a part's stream broke off: going on");
            let pause = match error.retry() {
                Retry::After(pause) => pause.min(LONGEST_PAUSE),
                Retry::Soon | Retry::Never => PAUSE * 2_u32.pow(barren),
            };
            tokio::time::sleep(pause).await;
            next = self.source.open(self.got).await;
        }
    }

    /// One stream to its end.
    async fn pour(&mut self, mut stream: Opened) -> Result<(), Broken> {
        if stream.at > self.got {
            return Err(Broken::For(torn("its stream leaves a gap")));
        }
        if let (Some(length), Some(now)) = (self.length, stream.length)
            && length != now
        {
            return Err(Broken::For(torn("its length changed while it was read")));
        }
        self.length = self.length.or(stream.length);
        let mut at = stream.at;
        while let Some(mut piece) = stream.pieces.next().await.map_err(Broken::Off)? {
            let known = usize::try_from(self.got - at)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            if known > 0 {
                let again = piece.split_to(known);
                let there = Vec::with_capacity(known);
                let there = self.body.read(at, known, there).await.map_err(Broken::For)?;
                if *again != *there {
                    return Err(Broken::For(torn("its content changed while it was read")));
                }
                at += known as u64;
            }
            if piece.is_empty() {
                continue;
            }
            let end = at.saturating_add(piece.len() as u64);
            if self.length.is_some_and(|length| end > length) {
                return Err(Broken::For(torn("it is longer than announced")));
            }
            self.body
                .put(&self.fetches, at, piece)
                .await
                .map_err(Broken::For)?;
            (at, self.got) = (end, end);
            self.told.send_replace(Progress::Got(end));
        }
        match self.length {
            Some(length) if self.got < length => {
                Err(Broken::Off(torn("it ended before its announced length")))
            }
            // Begun again without a promise of the length, and shorter than before.
            None if at < self.got => Err(Broken::For(torn("its content changed while it was read"))),
            _ => Ok(()),
        }
    }
}

/// Why a stream ended too early.
enum Broken {
    /// It can be gone on with.
    Off(FsError),
    /// It cannot.
    For(FsError),
}

fn torn(what: &str) -> FsError {
    FsError::new(FsErrorKind::Backend).context(format!("the mailbox did not deliver the file whole: {what}"))
}

/// Whether asking again cannot help.
const fn is_final(kind: FsErrorKind) -> bool {
    matches!(
        kind,
        FsErrorKind::NotFound
            | FsErrorKind::Denied
            | FsErrorKind::Refused
            | FsErrorKind::TooLarge
            | FsErrorKind::NoSpace
            | FsErrorKind::Unsupported
    )
}

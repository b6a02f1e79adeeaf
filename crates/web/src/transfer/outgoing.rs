//! The body of a download: parts of a file, read ahead while the client takes what is there.
//!
//! Invariants: at most [`AHEAD`] reads are in flight, and one small one for a client that takes its
//! time; a file that turns out shorter than it was breaks the connection instead of ending the answer
//! as if it were whole; the end of the session does the same.

use std::{
    collections::VecDeque,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use portreeve_session::{Download, FsError, FsErrorKind, FsResult, Session};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::pool::{CHUNK, Pool};

/// Reads in flight at once.
const AHEAD: usize = 2;
/// One step for a slow client, or when all buffers are out.
const STEP: usize = 64 << 10;
/// A client that takes longer than this for one piece is slow.
const SLOW: Duration = Duration::from_millis(500);

/// A part of the answer.
#[derive(Debug)]
pub(crate) enum Part {
    /// What stands between ranges.
    Text(Bytes),
    /// A range of the file.
    File(Range<u64>),
}

type Reading = Pin<Box<dyn Future<Output = FsResult<Bytes>> + Send>>;

enum Slot {
    Reading(Reading),
    Ready(FsResult<Bytes>),
}

/// The body.
pub(crate) struct Outgoing {
    download: Arc<Download>,
    pool: Arc<Pool>,
    parts: VecDeque<Part>,
    slots: VecDeque<Slot>,
    /// Bytes that have not been handed out.
    left: u64,
    /// Whether reads wait for something: only then is there a point in reading ahead.
    waits: bool,
    slow: bool,
    handed_at: Option<Instant>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    broken: bool,
    _session: Session,
}

impl Outgoing {
    /// Of `parts`, in their order.
    pub(crate) fn new(download: Arc<Download>, parts: Vec<Part>, pool: Arc<Pool>, session: Session) -> Self {
        let left = parts.iter().map(Part::len).sum();
        Self {
            download,
            pool,
            parts: parts.into(),
            slots: VecDeque::with_capacity(AHEAD),
            left,
            waits: false,
            slow: false,
            handed_at: None,
            ended: Box::pin(session.ended().clone().cancelled_owned()),
            broken: false,
            _session: session,
        }
    }

    /// The next piece to be read, where there is one.
    fn next_slot(&mut self) -> Option<Slot> {
        match self.parts.front_mut()? {
            Part::Text(_) => match self.parts.pop_front()? {
                Part::Text(text) => Some(Slot::Ready(Ok(text))),
                Part::File(_) => None,
            },
            Part::File(range) => {
                let lease = if self.slow { None } else { self.pool.take() };
                let most = if lease.is_some() { CHUNK } else { STEP };
                let len = usize::try_from(range.end - range.start)
                    .unwrap_or(usize::MAX)
                    .min(most);
                let at = range.start;
                range.start += len as u64;
                if range.start >= range.end {
                    self.parts.pop_front();
                }
                let download = Arc::clone(&self.download);
                Some(Slot::Reading(Box::pin(async move {
                    let bytes = match lease {
                        Some(mut lease) => {
                            let filled = download.read(at, len, lease.lend()).await?;
                            lease.into_bytes(filled)
                        }
                        None => Bytes::from(download.read(at, len, Vec::with_capacity(len)).await?),
                    };
                    if bytes.len() == len {
                        return Ok(bytes);
                    }
                    Err(FsError::new(FsErrorKind::Conflict)
                        .context("the file became shorter while it was being read"))
                })))
            }
        }
    }

    fn ahead(&self) -> usize {
        if self.waits && !self.slow { AHEAD } else { 1 }
    }

    /// Starts reads up to what may be in flight and polls them; what is ready stays in its slot.
    fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            for slot in &mut self.slots {
                if let Slot::Reading(reading) = slot
                    && let Poll::Ready(result) = reading.as_mut().poll(cx)
                {
                    *slot = Slot::Ready(result);
                }
            }
            if self.slots.iter().any(|slot| matches!(slot, Slot::Reading(_))) {
                self.waits = true;
            }
            if self.slots.len() >= self.ahead() {
                return;
            }
            match self.next_slot() {
                Some(slot) => self.slots.push_back(slot),
                None => return,
            }
        }
    }
}

impl Part {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(range) => range.end.saturating_sub(range.start),
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = FsError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FsResult<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 || this.broken {
            return Poll::Ready(None);
        }
        if this.ended.as_mut().poll(cx).is_ready() {
            this.broken = true;
            let over = FsError::new(FsErrorKind::Cancelled).context("the session is over");
            this.download.fail(&over);
            return Poll::Ready(Some(Err(over)));
        }
        if let Some(at) = this.handed_at.take() {
            this.slow = at.elapsed() > SLOW;
        }
        this.advance(cx);
        match this.slots.pop_front() {
            Some(Slot::Ready(Ok(bytes))) => {
                this.left = this.left.saturating_sub(bytes.len() as u64);
                this.handed_at = Some(Instant::now());
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Slot::Ready(Err(error))) => {
                this.broken = true;
                this.download.fail(&error);
                Poll::Ready(Some(Err(error)))
            }
            Some(waiting) => {
                this.slots.push_front(waiting);
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.left > 0 && !self.broken {
            let gone = FsError::new(FsErrorKind::Cancelled)
                .context(format!("the client went with {} bytes to go", self.left));
            self.download.fail(&gone);
        }
    }
}

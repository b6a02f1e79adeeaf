//! Receives a file.
//!
//! Invariants: two gathered blocks are held at most; whatever broke off, all that had come is written
//! before the error is answered (V2); without a true end there is no `Ok` (V5); the client has our
//! close_notify before the caller commits, for clients that wait for it before they listen for the 226.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, future::try_join};
use portreeve_session::{FsResult, Upload};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    linger::LONG,
    outcome::{Broken, Pace, Progress},
    socket::Wire,
    stream::{Came, DataStream},
    text::{Inward, Text},
};
use crate::CloseNotify;

/// Gathered before it is written.
const BLOCK: usize = 256 << 10;
/// The first block: most files are small.
const FIRST: usize = 32 << 10;
/// How long the client may take to take our farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long after the end of its time a transfer waits for a storage to write what had come.
const GRACE: Duration = Duration::from_secs(60);

/// Receives into `file` from `at` on, or at its end, until the client says that this was all. Answers how
/// many bytes were written. The caller commits, or keeps what came.
///
/// # Errors
/// See [`Broken`].
pub(crate) async fn receive<S: Wire>(
    mut stream: DataStream<S>,
    file: &Upload,
    at: Option<u64>,
    how: Text,
    pace: &Pace,
    end: CloseNotify,
    progress: &Progress,
) -> Result<u64, Broken> {
    let until = Instant::now() + pace.transfer;
    stream.watch(pace.stall, until);
    stream.take_in();
    let mut writing = Writing {
        file,
        at,
        text: (how == Text::Convert).then(Inward::default),
        bytes: 0,
    };
    let source = Source {
        stream: &mut stream,
        end,
        until,
        progress,
    };
    let received = timeout_at(until + GRACE, run(source, &mut writing)).await;
    match received.map_err(|_| Broken::TooLong)? {
        Ok(()) => {}
        Err(refused @ Broken::Storage(_)) => {
            stream.linger(LONG);
            return Err(refused);
        }
        Err(broken) => return Err(broken),
    }
    // The client may have gone already: it has said what it had to say.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
    Ok(writing.bytes)
}

async fn run<S: Wire>(mut source: Source<'_, S>, writing: &mut Writing<'_>) -> Result<(), Broken> {
    let (mut block, mut spare) = (BytesMut::new(), BytesMut::new());
    let mut gathered = source.gather(&mut block, FIRST).await;
    loop {
        let more = match gathered {
            Ok(more) => more,
            Err(broken) => {
                // What broke counts for more than what the storage says to the rest.
                let _ = writing.write(block.split().freeze(), true).await;
                return Err(broken);
            }
        };
        let mut written = pin!(writing.write(block.split().freeze(), !more));
        gathered = match (more, written.as_mut().now_or_never()) {
            (false, Some(written)) => return Ok(written?),
            (false, None) => return Ok(written.await?),
            // The storage took it at once: the same block again, while it is in the cache.
            (true, Some(written)) => {
                written?;
                source.gather(&mut block, BLOCK).await
            }
            // It takes its time: the client goes on meanwhile.
            (true, None) => {
                let gather = async { Ok(source.gather(&mut spare, BLOCK).await) };
                let ((), gathered) = try_join(written, gather).await?;
                std::mem::swap(&mut block, &mut spare);
                gathered
            }
        };
    }
}

/// The client's side.
struct Source<'a, S> {
    stream: &'a mut DataStream<S>,
    end: CloseNotify,
    until: Instant,
    progress: &'a Progress,
}

impl<S: Wire> Source<'_, S> {
    /// Fills `block`, and answers whether there may be more. What came before an error is in it too.
    async fn gather(&mut self, block: &mut BytesMut, size: usize) -> Result<bool, Broken> {
        if !block.try_reclaim(size) {
            *block = BytesMut::with_capacity(size);
        }
        while block.len() < size {
            let before = block.len();
            let came = unless_stopped(self.progress, self.stream.read(block, size - before)).await?;
            self.progress.add((block.len() - before) as u64);
            match came {
                Came::More => {}
                Came::End => return Ok(false),
                Came::Closed if self.end == CloseNotify::Lenient => return Ok(false),
                Came::Closed => return Err(Broken::CutShort),
            }
        }
        if Instant::now() >= self.until {
            return Err(Broken::TooLong);
        }
        Ok(true)
    }
}

/// What `read` answers, unless the transfer is stopped.
async fn unless_stopped(
    progress: &Progress,
    read: impl Future<Output = Result<Came, Broken>>,
) -> Result<Came, Broken> {
    let mut read = pin!(read);
    poll_fn(|cx| {
        if progress.is_stopped() {
            return Poll::Ready(Err(Broken::Stopped));
        }
        read.as_mut().poll(cx)
    })
    .await
}

/// The storage's side.
struct Writing<'a> {
    file: &'a Upload,
    /// At the end of the file where there is none.
    at: Option<u64>,
    text: Option<Inward>,
    bytes: u64,
}

impl Writing<'_> {
    async fn write(&mut self, block: Bytes, last: bool) -> FsResult<()> {
        let block = self.converted(block, last);
        if block.is_empty() {
            return Ok(());
        }
        let len = block.len() as u64;
        match &mut self.at {
            Some(at) => {
                self.file.write(*at, vec![block]).await?;
                *at = at.saturating_add(len);
            }
            None => {
                self.file.append(vec![block]).await?;
            }
        }
        self.bytes += len;
        Ok(())
    }

    fn converted(&mut self, block: Bytes, last: bool) -> Bytes {
        let Some(text) = &mut self.text else {
            return block;
        };
        let mut out = Vec::with_capacity(block.len() + 1);
        text.convert(&block, &mut out);
        if last {
            text.end(&mut out);
        }
        out.into()
    }
}

//! Sends a file.
//!
//! Invariants: two blocks are held at most; a file that turns out shorter than it was when it was opened
//! ends as broken, not as sent; a broken transfer is closed without close_notify, so that no client takes
//! it for the whole.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use portreeve_session::{Download, FsError, FsErrorKind, FsResult};
use tokio::time::{Instant, timeout_at};

use super::{
    outcome::{Broken, Pace, Progress},
    socket::Wire,
    stream::DataStream,
    text::{Outward, Text},
};

/// Read at once.
const BLOCK: usize = 256 << 10;

/// Sends `file` from `at` on to its end, and says the end. Answers how many bytes went over the wire.
///
/// # Errors
/// See [`Broken`]; whoever asked notes it with [`Download::fail`].
pub(crate) async fn send<S: Wire>(
    mut stream: DataStream<S>,
    file: &Download,
    at: u64,
    how: Text,
    pace: &Pace,
    progress: &Progress,
) -> Result<u64, Broken> {
    let until = Instant::now() + pace.transfer;
    stream.watch(pace.stall, until);
    let sending = Sending {
        blocks: Blocks {
            file,
            at,
            end: file.entry().size,
            waits: false,
        },
        out: Out {
            stream,
            progress,
            text: (how == Text::Convert).then(Outward::default),
            converted: Vec::new(),
            bytes: 0,
        },
    };
    timeout_at(until, sending.run())
        .await
        .map_err(|_| Broken::TooLong)?
}

struct Sending<'a, S> {
    blocks: Blocks<'a>,
    out: Out<'a, S>,
}

impl<S: Wire> Sending<'_, S> {
    async fn run(mut self) -> Result<u64, Broken> {
        let mut block = self.blocks.next(Vec::new()).await?;
        let mut spare = Vec::new();
        while !block.is_last {
            (block, spare) = if self.blocks.waits {
                // The storage takes its time: it works while the client takes what there is.
                let (sent, next) =
                    futures::future::join(self.out.send(&block.bytes), self.blocks.next(spare)).await;
                sent?;
                (next?, block.bytes)
            } else {
                self.out.send(&block.bytes).await?;
                (self.blocks.next(block.bytes).await?, spare)
            };
        }
        self.out.finish(&block.bytes).await
    }
}

/// The file, block by block.
struct Blocks<'a> {
    file: &'a Download,
    at: u64,
    end: Option<u64>,
    /// Whether a read had to wait: then there is a point in reading ahead.
    waits: bool,
}

struct Block {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Blocks<'_> {
    async fn next(&mut self, mut buffer: Vec<u8>) -> FsResult<Block> {
        buffer.clear();
        let left = self.end.map(|end| end.saturating_sub(self.at));
        let want = left.map_or(BLOCK, |left| usize::try_from(left).unwrap_or(BLOCK).min(BLOCK));
        if want == 0 {
            return Ok(Block {
                bytes: buffer,
                is_last: true,
            });
        }
        buffer.reserve_exact(want);
        let mut read = pin!(self.file.read(self.at, want, buffer));
        let mut waited = false;
        let bytes = poll_fn(|cx| {
            let polled = read.as_mut().poll(cx);
            waited |= polled.is_pending();
            polled
        })
        .await?;
        self.waits |= waited;
        self.at += bytes.len() as u64;
        let is_last = match self.end {
            Some(_) if bytes.len() < want => {
                return Err(FsError::new(FsErrorKind::Conflict)
                    .context("the file became shorter while it was being read"));
            }
            Some(end) => self.at >= end,
            None => bytes.len() < want,
        };
        Ok(Block { bytes, is_last })
    }
}

/// The wire.
struct Out<'a, S> {
    stream: DataStream<S>,
    progress: &'a Progress,
    text: Option<Outward>,
    converted: Vec<u8>,
    bytes: u64,
}

impl<S: Wire> Out<'_, S> {
    async fn send(&mut self, block: &[u8]) -> Result<(), Broken> {
        let block = converted(&mut self.text, &mut self.converted, block);
        self.stream.write(block).await?;
        self.bytes += block.len() as u64;
        self.progress.add(block.len() as u64);
        Ok(())
    }

    async fn finish(mut self, block: &[u8]) -> Result<u64, Broken> {
        let block = converted(&mut self.text, &mut self.converted, block);
        self.stream.finish(block).await?;
        self.progress.add(block.len() as u64);
        Ok(self.bytes + block.len() as u64)
    }
}

fn converted<'a>(text: &mut Option<Outward>, into: &'a mut Vec<u8>, block: &'a [u8]) -> &'a [u8] {
    match text {
        None => block,
        Some(text) => {
            into.clear();
            text.convert(block, into);
            into
        }
    }
}

//! A listing on its way to the client: one buffer, filled and sent, filled and sent.
//!
//! Invariant: no more is held than [`FULL`] and what is appended at once.

use tokio::time::Instant;

use super::{
    outcome::{Broken, Pace, Progress},
    socket::Wire,
    stream::DataStream,
};

/// Sent as soon as so much is there.
const FULL: usize = 128 << 10;
/// What most listings need.
const FIRST: usize = 4 << 10;

/// Lines on their way.
pub(crate) struct Sheet<'a, S = tokio::net::TcpStream> {
    stream: DataStream<S>,
    progress: &'a Progress,
    until: Instant,
    lines: Vec<u8>,
    bytes: u64,
}

impl<'a, S: Wire> Sheet<'a, S> {
    pub(crate) fn new(mut stream: DataStream<S>, pace: &Pace, progress: &'a Progress) -> Self {
        let until = Instant::now() + pace.transfer;
        stream.watch(pace.stall, until);
        Self {
            stream,
            progress,
            until,
            lines: Vec::with_capacity(FIRST),
            bytes: 0,
        }
    }

    /// Where to append lines.
    pub(crate) const fn room(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// To be asked after each line or each page of lines.
    ///
    /// # Errors
    /// See [`Broken`].
    pub(crate) async fn flush_if_full(&mut self) -> Result<(), Broken> {
        if self.lines.len() < FULL {
            return Ok(());
        }
        if Instant::now() >= self.until {
            return Err(Broken::TooLong);
        }
        self.stream.write(&self.lines).await?;
        self.count();
        self.lines.clear();
        Ok(())
    }

    /// Sends the rest and the end, and answers how many bytes there were.
    ///
    /// # Errors
    /// See [`Broken`].
    pub(crate) async fn finish(mut self) -> Result<u64, Broken> {
        self.count();
        self.stream.finish(&self.lines).await?;
        Ok(self.bytes)
    }

    fn count(&mut self) {
        let bytes = self.lines.len() as u64;
        self.progress.add(bytes);
        self.bytes += bytes;
    }
}

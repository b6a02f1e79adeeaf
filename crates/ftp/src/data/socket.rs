//! A socket that is watched: a wait on which nothing moves ends after a while.
//!
//! Invariant: the time counts from the beginning of a wait for the client and begins anew whenever a byte
//! moves; the time in which nobody waits for the client does not count.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// What carries bytes: a socket, or what a test puts in its place.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Acknowledges at once what has come and what comes next.
    fn acknowledge(&self) {}
}

impl Wire for TcpStream {
    /// TCP delays acknowledgements for 40 ms where it takes the exchange for a dialogue, as it does after a
    /// handshake. A client with Nagle's algorithm (most have it) holds a small file, and then its farewell,
    /// for as long: 22 files a second in place of 900.
    fn acknowledge(&self) {
        // Nothing is lost where this fails, but time.
        let _ = self.set_quickack(true);
    }
}

/// A watched socket, which may read ahead.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    wire: S,
    limits: Option<Limits>,
    /// Runs on from wait to wait and is moved only when it fires: moving it costs more than looking.
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    overdue: Option<Overdue>,
    ahead: Option<Ahead>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    stall: Duration,
    until: Instant,
}

/// How a wait was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing moved for too long.
    Stalled,
    /// The time for all of it is over.
    TooLong,
}

/// Bytes that were read before they were asked for.
#[derive(Debug)]
struct Ahead {
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl<S> Socket<S> {
    pub(super) fn new(wire: S) -> Self {
        Self {
            wire,
            limits: None,
            timer: None,
            waiting_since: None,
            overdue: None,
            ahead: None,
        }
    }

    /// From now on a wait takes `stall` at most, and none goes on after `until`.
    pub(super) const fn watch(&mut self, stall: Duration, until: Instant) {
        self.limits = Some(Limits { stall, until });
    }

    /// From now on so much is read from the socket at once: rustls asks for 4 to 16 KiB.
    pub(super) fn read_ahead(&mut self, bytes: usize) {
        if self.ahead.is_none() {
            self.ahead = Some(Ahead {
                buffer: vec![0; bytes].into_boxed_slice(),
                at: 0,
                end: 0,
            });
        }
    }

    /// Whether the watch ended a wait.
    pub(super) const fn overdue(&self) -> Option<Overdue> {
        self.overdue
    }

    /// Passes on what became of a read or write, unless it waits for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting_since = None;
            return done;
        }
        let Some(Limits { stall, until }) = self.limits else {
            return done;
        };
        let due = (*self.waiting_since.get_or_insert_with(Instant::now) + stall).min(until);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                self.overdue = Some(if due == until {
                    Overdue::TooLong
                } else {
                    Overdue::Stalled
                });
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(due);
        }
    }
}

impl<S: Wire> Socket<S> {
    /// See [`Wire::acknowledge`].
    pub(super) fn acknowledge(&self) {
        self.wire.acknowledge();
    }
}

impl<S: Wire> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(ahead) = this
            .ahead
            .as_mut()
            .filter(|ahead| ahead.is_wanted(buf.remaining()))
        else {
            let done = Pin::new(&mut this.wire).poll_read(cx, buf);
            return this.watched(cx, done);
        };
        if ahead.at == ahead.end {
            let mut fresh = ReadBuf::new(&mut ahead.buffer);
            let done = Pin::new(&mut this.wire).poll_read(cx, &mut fresh);
            (ahead.at, ahead.end) = (0, fresh.filled().len());
            ready!(this.watched(cx, done))?;
        }
        if let Some(ahead) = &mut this.ahead {
            ahead.give(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl Ahead {
    /// Whoever asks for more than the buffer holds is better served without it.
    fn is_wanted(&self, asked: usize) -> bool {
        self.at < self.end || asked < self.buffer.len()
    }

    fn give(&mut self, to: &mut ReadBuf<'_>) {
        let end = self.end.min(self.at + to.remaining());
        to.put_slice(self.buffer.get(self.at..end).unwrap_or_default());
        self.at = end;
    }
}

impl<S: Wire> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.wire).poll_write(cx, buf);
        this.watched(cx, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.wire).poll_write_vectored(cx, bufs);
        this.watched(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.wire).poll_flush(cx);
        this.watched(cx, done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.wire).poll_shutdown(cx);
        this.watched(cx, done)
    }
}

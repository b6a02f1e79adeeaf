//! The socket as russh sees it: read in large pieces, watched, and cut from outside when need be.
//!
//! russh reads the four bytes of a packet's length and then the rest, each with a system call of its
//! own; here both come out of one. A socket that waits holds no buffer.
//!
//! russh writes to the end before it reads again, so a client that does not read would keep it from
//! hearing the very message that lets it go on. What the kernel does not take is therefore put aside
//! here and written while reading. Invariant: replies are bounded by [`Traffic`], which counts what is
//! put aside as not written; beyond [`ASIDE`] russh waits after all.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    flow::Traffic,
    pool::{Pool, SOCKET},
};

/// Most bytes put aside: all channels' replies, and what belongs to no channel.
const ASIDE: usize = 8 * 1024 * 1024;

/// A stream with a read buffer that exists only while there is something in it.
pub(crate) struct Socket<S> {
    inner: S,
    traffic: Arc<Traffic>,
    pool: Arc<Pool>,
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    /// Accepted from russh, not yet taken by the kernel.
    aside: VecDeque<u8>,
}

impl<S> Socket<S> {
    pub(crate) fn new(inner: S, traffic: Arc<Traffic>, pool: Arc<Pool>) -> Self {
        Self {
            inner,
            traffic,
            pool,
            buffer: None,
            start: 0,
            end: 0,
            aside: VecDeque::new(),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.traffic.killed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn give_back(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.put_socket(buffer);
        }
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes what was put aside.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.aside.is_empty() {
            let (front, _) = self.aside.as_slices();
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, front))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.aside.drain(..n);
        }
        self.aside = VecDeque::new();
        self.traffic.flushed();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.start == me.end {
            me.traffic.reader.register(cx.waker());
            me.check()?;
            if !me.aside.is_empty() {
                // Pending or not: what matters here is reading.
                let _ = me.poll_aside(cx)?;
            }
            if into.remaining() >= SOCKET {
                return Pin::new(&mut me.inner).poll_read(cx, into);
            }
            let mut buffer = me.buffer.take().unwrap_or_else(|| me.pool.take_socket());
            let mut space = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut me.inner).poll_read(cx, &mut space);
            (me.start, me.end) = (0, space.filled().len());
            me.buffer = Some(buffer);
            if polled.is_pending() {
                me.give_back();
            }
            ready!(polled)?;
        }
        let n = into.remaining().min(me.end - me.start);
        let ready = me
            .buffer
            .as_ref()
            .and_then(|buffer| buffer.get(me.start..me.start + n));
        into.put_slice(ready.unwrap_or_default());
        me.start += n;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        if me.aside.is_empty() {
            if let Poll::Ready(written) = Pin::new(&mut me.inner).poll_write(cx, bytes) {
                return Poll::Ready(written);
            }
        } else if me.aside.len() >= ASIDE && me.poll_aside(cx)?.is_pending() && me.aside.len() >= ASIDE {
            me.traffic.writer.register(cx.waker());
            me.check()?;
            return Poll::Pending;
        }
        me.aside.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.aside.is_empty() {
            // Said to be done: the next read goes on with it.
            let _ = me.poll_aside(cx)?;
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut me.inner).poll_flush(cx))?;
        me.traffic.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        me.traffic.writer.register(cx.waker());
        me.check()?;
        ready!(me.poll_aside(cx))?;
        Pin::new(&mut me.inner).poll_shutdown(cx)
    }
}

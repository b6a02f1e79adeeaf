//! The socket as russh sees it: read in large pieces, watched, and cut from outside when need be.
//!
//! russh reads the four bytes of a packet's length and then the rest, each with a system call of its
//! own; here both come out of one. A socket that waits holds no buffer.

use std::{
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

/// A stream with a read buffer that exists only while there is something in it.
pub(crate) struct Socket<S> {
    inner: S,
    traffic: Arc<Traffic>,
    pool: Arc<Pool>,
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
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

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.start == me.end {
            me.traffic.reader.register(cx.waker());
            me.check()?;
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
        let polled = Pin::new(&mut me.inner).poll_write(cx, bytes);
        if polled.is_pending() {
            me.traffic.writer.register(cx.waker());
            me.check()?;
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        ready!(Pin::new(&mut me.inner).poll_flush(cx))?;
        me.traffic.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

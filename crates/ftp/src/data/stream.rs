//! A data connection ready for bytes, in clear text or over TLS.
//!
//! Invariants: TLS records are full wherever there are bytes enough: rustls gets the next bytes when the
//! last record has left; no more of what is sent is held than [`SLICE`].

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use rustls::ProtocolVersion;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

use super::{
    linger::{Patience, SHORT, linger},
    outcome::Broken,
    socket::{Overdue, Socket, Wire},
};

/// Encrypted and written at once: whole records (RFC 8446, section 5.1), small enough for the cache.
const SLICE: usize = 64 << 10;
/// The plaintext of a full record.
const RECORD: usize = 16 << 10;
/// Read from the socket at once.
const AHEAD: usize = 64 << 10;
/// Records that one key of AES-GCM in TLS 1.2 may protect, less some for what is no file. rustls closes
/// the connection beyond 2^24, as if that were the end; TLS 1.3 changes its keys.
const RECORDS_OF_A_KEY: u64 = (1 << 24) - 1024;

/// What bytes pass over.
pub(crate) struct DataStream<S = TcpStream> {
    kind: Kind<S>,
    reused: Option<bool>,
    records: u64,
}

enum Kind<S> {
    Plain(Socket<S>),
    Tls(Box<TlsStream<Socket<S>>>),
}

/// How what comes in went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// There may be more.
    More,
    /// The client said that this was all: over TLS by close_notify.
    End,
    /// The connection was closed without that.
    Closed,
}

impl<S> DataStream<S> {
    pub(super) const fn plain(socket: Socket<S>) -> Self {
        Self {
            kind: Kind::Plain(socket),
            reused: None,
            records: 0,
        }
    }

    pub(super) fn tls(stream: Box<TlsStream<Socket<S>>>, reused: bool) -> Self {
        Self {
            kind: Kind::Tls(stream),
            reused: Some(reused),
            records: 0,
        }
    }

    /// Whether it resumed the TLS session of its control connection; nothing where it has no TLS.
    pub(crate) const fn reused(&self) -> Option<bool> {
        self.reused
    }

    fn socket(&mut self) -> &mut Socket<S> {
        match &mut self.kind {
            Kind::Plain(socket) => socket,
            Kind::Tls(stream) => stream.get_mut().0,
        }
    }

    /// From now on waits for the client are limited.
    pub(super) fn watch(&mut self, stall: Duration, until: Instant) {
        self.socket().watch(stall, until);
    }

    /// What an error of the connection means.
    fn broken(&mut self, error: &io::Error) -> Broken {
        match self.socket().overdue() {
            Some(Overdue::Stalled) => Broken::Stalled,
            Some(Overdue::TooLong) => Broken::TooLong,
            None => Broken::io(error),
        }
    }
}

impl<S: Wire> DataStream<S> {
    /// Sends all of `bytes`: they have left us when this returns.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for slice in bytes.chunks(SLICE) {
            self.queue(slice).await?;
            if let Kind::Tls(stream) = &mut self.kind {
                let flushed = stream.flush().await;
                flushed.map_err(|error| self.broken(&error))?;
            }
        }
        Ok(())
    }

    /// Sends the last bytes and the end: over TLS the last records and close_notify leave in one call.
    /// Then lingers in the background.
    pub(super) async fn finish(mut self, last: &[u8]) -> Result<(), Broken> {
        // So that something is left for that one call.
        let head = last.len().saturating_sub(1) / SLICE * SLICE;
        let (head, tail) = last.split_at(head);
        self.write(head).await?;
        self.queue(tail).await?;
        let closed = self.shutdown().await;
        closed.map_err(|error| self.broken(&error))?;
        self.linger(SHORT);
        Ok(())
    }

    /// Hands rustls what is left of a transfer, or writes it where there is no TLS.
    async fn queue(&mut self, slice: &[u8]) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Plain(socket) => {
                let written = socket.write_all(slice).await;
                written.map_err(|error| self.broken(&error))
            }
            Kind::Tls(stream) => {
                let session = stream.get_mut().1;
                self.records += slice.len().div_ceil(RECORD) as u64;
                let one_key = session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
                if one_key && self.records > RECORDS_OF_A_KEY {
                    return Err(Broken::Reset(
                        "TLS 1.2 carries no more than 256 GiB over one connection; use TLS 1.3".to_owned(),
                    ));
                }
                session
                    .writer()
                    .write_all(slice)
                    .map_err(|error| Broken::io(&error))
            }
        }
    }

    /// Over TLS: whatever is queued, then close_notify; then the end of our side.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Plain(socket) => socket.shutdown().await,
            Kind::Tls(stream) => stream.shutdown().await,
        }
    }

    /// Gets ready for an upload: from now on reads ahead, and acknowledges at once.
    pub(super) fn take_in(&mut self) {
        self.socket().acknowledge();
        if let Kind::Tls(stream) = &mut self.kind {
            stream.get_mut().0.read_ahead(AHEAD);
        }
    }

    /// Appends what came to `into`, up to `room` bytes.
    pub(super) async fn read(&mut self, into: &mut BytesMut, room: usize) -> Result<Came, Broken> {
        let mut into = into.limit(room);
        let (done, tls) = match &mut self.kind {
            Kind::Plain(socket) => (socket.read_buf(&mut into).await, false),
            Kind::Tls(stream) => (stream.read_buf(&mut into).await, true),
        };
        match done {
            Ok(0) => Ok(Came::End),
            Ok(_) => Ok(Came::More),
            Err(error) if tls && error.kind() == io::ErrorKind::UnexpectedEof => Ok(Came::Closed),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Leaves the socket to the background.
    pub(super) fn linger(self, patience: Patience) {
        let socket = match self.kind {
            Kind::Plain(socket) => socket,
            Kind::Tls(stream) => stream.into_inner().0,
        };
        linger(socket, patience);
    }
}

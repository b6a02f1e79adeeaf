//! The bytes of a control connection: lines in, replies out, in clear text or over TLS.
//!
//! Invariants: nothing that came before the TLS handshake is read after it; a client that does not read
//! its replies holds nothing for longer than [`PATIENCE`].

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::OVERLONG;
use crate::wire::{Line, Lines, Reply};

/// How long a reply may wait for its client, and a TLS handshake for its end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that are thrown away after the goodbye.
const UNHEARD: usize = 256 << 10;
/// Read at once: no command is longer by much.
const READ: usize = 4 << 10;
/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed.
    Gone,
}

/// Why no further line comes.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The client closed the connection, or it broke.
    Closed,
    /// It began a TLS handshake without asking for one.
    UnaskedTls,
}

/// A control connection.
pub(crate) struct Talk {
    stream: Stream,
    lines: Lines,
    heard: bool,
}

impl Talk {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            lines: Lines::default(),
            heard: false,
        }
    }

    pub(crate) const fn has_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The version and cipher of its TLS, for `STAT`.
    pub(crate) fn tls_text(&self) -> String {
        let Stream::Tls(stream) = &self.stream else {
            return "none".to_owned();
        };
        let (_, session) = stream.get_ref();
        let version = session.protocol_version().and_then(|version| version.as_str());
        let suite = session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str());
        format!("{} {}", version.unwrap_or("?"), suite.unwrap_or("?"))
    }

    /// Bytes of overlong lines that were thrown away so far.
    pub(crate) fn discarded(&self) -> u64 {
        self.lines.discarded()
    }

    /// The next line. Nothing is lost when the call is dropped.
    ///
    /// # Errors
    /// [`Lost`].
    pub(crate) async fn line(&mut self) -> Result<Line, Lost> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(line);
            }
            let first = poll_fn(|cx| self.poll_bytes(cx)).await.ok_or(Lost::Closed)?;
            if !self.heard && !self.has_tls() && first == HANDSHAKE {
                return Err(Lost::UnaskedTls);
            }
            self.heard = true;
            // A line without an end is told once and dropped from then on: somebody has to end it.
            if self.lines.discarded() > OVERLONG {
                return Ok(Line::TooLong);
            }
        }
    }

    /// Takes what came, and answers its first byte; none at the end. The buffer lives no longer than this
    /// call: a connection on which nobody speaks has none.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<u8>> {
        let mut buffer = [0; READ];
        let mut came = ReadBuf::new(&mut buffer);
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut came),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut came),
            Stream::Gone => return Poll::Ready(None),
        };
        if ready!(read).is_err() {
            return Poll::Ready(None);
        }
        self.lines.feed(came.filled());
        Poll::Ready(came.filled().first().copied())
    }

    /// Sends a reply.
    ///
    /// # Errors
    /// The connection broke, or its client does not read.
    pub(crate) async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let mut out = Vec::with_capacity(128);
        reply.append_to(&mut out);
        tracing::trace!(code = reply.code, "reply");
        self.send(&out).await
    }

    /// Sends what is encoded already.
    ///
    /// # Errors
    /// As [`Talk::say`].
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(bytes).await,
                Stream::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        timeout(PATIENCE, sent).await?
    }

    /// Does the server's part of a TLS handshake. What came before it is thrown away: it may be somebody
    /// else's (RFC 4217, section 12.2; CVE-2011-0411).
    ///
    /// # Errors
    /// It failed, or took too long; the connection is of no more use.
    pub(crate) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.lines.clear();
        let stream = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => stream,
            Stream::Tls(_) | Stream::Gone => return Err(io::ErrorKind::NotConnected.into()),
        };
        let accepted = timeout(PATIENCE, TlsAcceptor::from(config).accept(stream));
        self.stream = Stream::Tls(Box::new(accepted.await??));
        Ok(())
    }

    /// Closes it: TLS's farewell, then the end of the stream, as long as the client lets us.
    pub(crate) async fn close(self) {
        let socket = match self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(mut stream) => {
                let _ = timeout(FAREWELL, stream.shutdown()).await;
                stream.into_inner().0
            }
            Stream::Gone => return,
        };
        let _ = timeout(FAREWELL, Box::pin(linger(socket))).await;
    }
}

/// Ends the stream and throws away what still comes: closed over unread bytes the kernel would reset the
/// connection, and the last reply would be lost.
async fn linger(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    let (mut bin, mut left) = ([0; 1024], UNHEARD);
    while let n @ 1.. = socket.read(&mut bin).await? {
        left = left.saturating_sub(n);
        if left == 0 {
            break;
        }
    }
    Ok(())
}

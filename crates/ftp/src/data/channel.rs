//! An open data connection that carries nothing yet, and the TLS on it.
//!
//! Invariant: whether the control session was resumed is asked before any byte of a file passes.

use std::{sync::Arc, time::Duration};

use rustls::{HandshakeKind, ServerConfig};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    linger::{SHORT, linger},
    outcome::said,
    socket::{Socket, Wire},
    stream::DataStream,
};
use crate::SessionReuse;

/// How long a refused client is given to take our farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection of the client's.
pub(crate) struct Channel<S = TcpStream> {
    wire: S,
}

/// Why it has no TLS.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unprotected {
    /// The listener demands that the control connection's session is resumed.
    #[error(
        "the data connection does not resume the TLS session of the control connection, which this server \
         demands; set your client to reuse TLS sessions"
    )]
    NotReused,
    /// The handshake failed.
    #[error("the TLS handshake of the data connection failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("the TLS handshake of the data connection took too long")]
    TimedOut,
}

impl<S: Wire> Channel<S> {
    pub(super) const fn new(wire: S) -> Self {
        Self { wire }
    }

    /// Leaves it to the background, since what it was for is refused. Closed now it would be reset (the
    /// client's hello lies in it unread), and the reset would come before the reply that says why: curl
    /// then tries another way and takes that reply for the answer to its next command.
    pub(crate) fn leave(self) {
        linger(Socket::new(self.wire), SHORT);
    }

    /// Makes the handshake, where there is to be TLS; that may take as long as `patience`.
    ///
    /// # Errors
    /// See [`Unprotected`].
    pub(crate) async fn protect(
        self,
        tls: Option<Arc<ServerConfig>>,
        reuse: SessionReuse,
        patience: Duration,
    ) -> Result<DataStream<S>, Unprotected> {
        let socket = Socket::new(self.wire);
        let Some(tls) = tls else {
            return Ok(DataStream::plain(socket));
        };
        // We hand rustls whole slices and let them leave before the next one: its own limit would make
        // small records of what is left.
        let handshake = TlsAcceptor::from(tls).accept_with(socket, |session| session.set_buffer_limit(None));
        let stream = match timeout(patience, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                metrics::counter!("portreeve_tls_handshakes_failed_total").increment(1);
                return Err(Unprotected::Failed(said(&error)));
            }
            Err(_) => {
                metrics::counter!("portreeve_tls_handshakes_failed_total").increment(1);
                return Err(Unprotected::TimedOut);
            }
        };
        let reused = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let mut stream = DataStream::tls(Box::new(stream), reused);
        if reuse == SessionReuse::Require && !reused {
            if let Ok(Ok(())) = timeout(FAREWELL, stream.shutdown()).await {
                stream.linger(SHORT);
            }
            return Err(Unprotected::NotReused);
        }
        Ok(stream)
    }
}

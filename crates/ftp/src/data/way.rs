//! How a data connection comes about: the client connects (passive) or we do (active).
//!
//! Invariants: one way, one connection; nobody but the client gets it: whoever else connects is closed and
//! reported, and the wait goes on; it ends after the patience and after so many strangers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{channel::Channel, outcome::said, ports::Passive};

/// Strangers that one wait bears.
const STRANGERS: usize = 256;
/// How long a connection may take to tell whose it is.
const WHOSE: Duration = Duration::from_secs(3);

/// Tells whose a data connection is. Behind a load balancer it is not the peer's: the PROXY header at its
/// beginning tells.
#[async_trait]
pub trait Guide: Send + Sync {
    /// Reads what precedes the client's own bytes, and nothing more, and answers the client's address.
    ///
    /// # Errors
    /// It cannot be told; the connection is closed.
    async fn whose(&self, stream: &mut TcpStream, from: SocketAddr) -> io::Result<IpAddr>;
}

/// Connections come straight from clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

#[async_trait]
impl Guide for Direct {
    async fn whose(&self, _: &mut TcpStream, from: SocketAddr) -> io::Result<IpAddr> {
        Ok(from.ip())
    }
}

/// Around one data connection.
pub(crate) struct DataCx {
    /// Whose it has to be: the client's address as the control connection tells it.
    pub(crate) peer: IpAddr,
    /// The near end of the control connection, from which active connections go.
    pub(crate) local: IpAddr,
    /// How long to wait for it.
    pub(crate) patience: Duration,
    pub(crate) guide: Arc<dyn Guide>,
    /// Told of everybody who is not the client.
    pub(crate) stranger: Box<dyn Fn(IpAddr) + Send + Sync>,
}

/// What PASV, EPSV, PORT or EPRT prepared.
#[derive(Debug)]
pub(crate) enum Way {
    /// The client will connect.
    Passive(Passive),
    /// We shall.
    Active(Active),
}

/// Where to connect to.
#[derive(Debug)]
pub(crate) struct Active {
    to: SocketAddr,
}

/// Why there is no data connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unopened {
    /// It did not come about in time.
    #[error("no data connection came about in time; a firewall may be in its way")]
    TimedOut,
    /// It would not be the client's. Whoever came has been reported.
    #[error("the data connection was not the client's")]
    Stranger,
    /// What the system said.
    #[error("no data connection came about: {0}")]
    Failed(String),
}

impl Way {
    /// Waits for the connection. It carries nothing yet.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub(crate) async fn connect(self, cx: &DataCx) -> Result<Channel, Unopened> {
        let coming = async {
            match self {
                Self::Passive(passive) => passive.accept(cx).await,
                Self::Active(active) => active.connect(cx).await,
            }
        };
        let stream = timeout(cx.patience, coming)
            .await
            .map_err(|_| Unopened::TimedOut)??;
        // Nothing is lost where this fails, but time.
        let _ = stream.set_nodelay(true);
        Ok(Channel::new(stream))
    }
}

impl Passive {
    async fn accept(self, cx: &DataCx) -> Result<TcpStream, Unopened> {
        for _ in 0..STRANGERS {
            let (mut stream, from) = match self.listener.accept().await {
                Ok(came) => came,
                // It went again before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(failed(&error)),
            };
            let whose = match timeout(WHOSE, cx.guide.whose(&mut stream, from)).await {
                Ok(Ok(whose)) => whose,
                Ok(Err(_)) | Err(_) => from.ip(),
            };
            if whose.to_canonical() == cx.peer.to_canonical() {
                return Ok(stream);
            }
            drop(stream);
            (cx.stranger)(whose.to_canonical());
        }
        Err(Unopened::Stranger)
    }
}

impl Active {
    /// To the client, at that address.
    pub(crate) const fn new(to: SocketAddr) -> Self {
        Self { to }
    }

    async fn connect(self, cx: &DataCx) -> Result<TcpStream, Unopened> {
        let to = SocketAddr::new(self.to.ip().to_canonical(), self.to.port());
        // Asked by the command already; asked again since a bounce would be our own doing (RFC 2577).
        if to.ip() != cx.peer.to_canonical() {
            return Err(Unopened::Stranger);
        }
        let from = cx.local.to_canonical();
        let connecting = async {
            let socket = match from {
                IpAddr::V4(_) => TcpSocket::new_v4(),
                IpAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(to).await
        };
        connecting.await.map_err(|error: io::Error| failed(&error))
    }
}

fn failed(error: &io::Error) -> Unopened {
    Unopened::Failed(said(error))
}

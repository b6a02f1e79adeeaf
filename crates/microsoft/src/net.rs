//! The way to Microsoft's hosts: one HTTP client and raw connections, both through the same proxy and with the same
//! trusted roots.
//!
//! Invariants: TLS is always verified; no proxy comes from the environment; no redirect is followed; a proxy is always
//! asked with CONNECT, so it sees host names and ciphertext only.

mod dial;
mod error;
pub(crate) mod http;
mod proxy;
mod trust;
mod tunnel;

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use error::NetError;
use error::words;
pub use tunnel::fuzz_reply;

use dial::dial;
use proxy::Proxy;
pub(crate) use proxy::place;

/// How long a connection, its way through the proxy included, may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// What one download may have on its way unread, in bytes: 1 MiB carries 30 MB/s over 30 ms.
const STREAM: u32 = 1 << 20;
/// How many downloads may stand unread before they stop the others on their connection of HTTP/2: its window is theirs
/// together. As many as servers commonly let run on one.
const MOST_STALLED: u32 = 100;

/// Clients side by side, each with a connection of HTTP/2 of its own to a host: a host lets 100 requests run on one, and
/// the next would wait unseen.
const LANES: u64 = 8;

/// How Microsoft's hosts are reached.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetOptions {
    /// A proxy to go through, `connect://[user:password@]host:port`; user and password percent-encoded.
    #[serde(default)]
    pub proxy: Option<String>,
    /// A PEM file of certificate authorities to trust beside those of the system, e.g. that of a proxy that opens TLS.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// The address of a proxy may hold a password.
impl fmt::Debug for NetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetOptions")
            .field("proxy", &self.proxy.as_ref().map(|_| "…"))
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// Connections to the outside, all made alike.
pub struct Net {
    proxy: Option<Proxy>,
    tls: TlsConnector,
    first: reqwest::Client,
    others: Vec<reqwest::Client>,
    identity: [u8; 32],
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

impl Net {
    /// Reads the authorities and the proxy's address; connects to nothing.
    ///
    /// # Errors
    /// The proxy's address or the file of authorities cannot be used.
    pub fn open(options: &NetOptions) -> Result<Arc<Self>, NetError> {
        let proxy = options.proxy.as_deref().map(Proxy::parse).transpose()?;
        let trust = trust::Trust::read(options.ca_file.as_deref())?;
        let tls = trust.client(&[b"h2", b"http/1.1"])?;
        let others = (1..LANES).map(|_| client(&tls, proxy.as_ref()));
        Ok(Arc::new(Self {
            identity: trust.identity(options.proxy.as_deref()),
            tls: TlsConnector::from(Arc::new(trust.client(&[])?)),
            first: client(&tls, proxy.as_ref())?,
            others: others.collect::<Result<_, _>>()?,
            proxy,
        }))
    }

    /// A connection to a host, through the proxy if there is one.
    ///
    /// # Errors
    /// The host or the proxy does not answer, or the proxy refuses.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, NetError> {
        let way = async {
            match &self.proxy {
                None => dial(host, port).await,
                Some(proxy) => {
                    let mut stream = dial(&proxy.host, proxy.port).await?;
                    tunnel::open(&mut stream, host, port, proxy).await?;
                    Ok(stream)
                }
            }
        };
        timeout(CONNECT, way)
            .await
            .unwrap_or_else(|_| Err(NetError::timed_out(host, port, CONNECT)))
    }

    /// The same with TLS, the host's certificate verified.
    ///
    /// # Errors
    /// As for [`Net::connect`], or TLS did not come about.
    pub async fn connect_tls(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, NetError> {
        let stream = self.connect(host, port).await?;
        self.wrap(stream, host, port).await
    }

    /// TLS over a connection that stands.
    pub(crate) async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
        port: u16,
    ) -> Result<TlsStream<TcpStream>, NetError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| NetError::Host(host.to_owned()))?;
        match timeout(CONNECT, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(NetError::tls(host, port, &e)),
            Err(_) => Err(NetError::timed_out(host, port, CONNECT)),
        }
    }

    /// The client for HTTPS about something; always the same for the same, so that its connection is used again.
    pub(crate) fn http(&self, about: &str) -> &reqwest::Client {
        let mut hasher = DefaultHasher::new();
        about.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES).unwrap_or(0);
        self.others.get(lane).unwrap_or(&self.first)
    }

    /// Whether there is a proxy on the way.
    #[must_use]
    pub fn proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whom a connection to a host calls first: the host itself, or the proxy.
    pub(crate) fn first_hop(&self, host: &str, port: u16) -> (String, u16) {
        match &self.proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (host.to_owned(), port),
        }
    }

    /// What tells two ways apart: the proxy and the trusted authorities. Says nothing about either.
    pub(crate) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

/// One client for HTTPS.
fn client(tls: &rustls::ClientConfig, proxy: Option<&Proxy>) -> Result<reqwest::Client, NetError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .no_proxy()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        // A connection that died unseen is found out before a request is lost to it.
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_keepalive(Duration::from_secs(30))
        .http2_initial_stream_window_size(STREAM)
        .http2_initial_connection_window_size(STREAM * MOST_STALLED)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .user_agent(concat!("portreeve/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy.reqwest()?);
    }
    builder
        .build()
        .map_err(|e| NetError::Trust(format!("TLS cannot be set up: {e}")))
}

#[cfg(test)]
mod tests;

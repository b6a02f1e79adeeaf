//! Doors, one for each listener, kept while their options stay the same; and what lies between an
//! accepted socket and a door: the gatekeeper's knock and, where the door speaks TLS, the handshake.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::IpNet;
use portreeve_ftp::{ClientCertificates, FtpDoor, FtpOptions, Guide, SessionReuse, TlsMode};
use portreeve_model::Origin;
use portreeve_session::{Audience, Connection, Gatekeeper};
use portreeve_sftp::{HostKeyError, HostKeys, SftpDoor, SftpOptions};
use portreeve_web::WebDoor;
use rustls::ServerConfig;
use tokio::{io::BufReader, net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_rustls::TlsAcceptor;

use super::fingerprint;
use crate::{
    options::{Config, Listener, Protocol},
    supervisor::{Desired, Entrance, read_header},
    tls::{self, WatchedPair},
};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a trusted proxy may take for the header of a data connection.
const HEADER: Duration = Duration::from_secs(5);
/// Read from the socket at once: rustls alone asks for 4 to 16 KiB.
const READ_AHEAD: usize = 64 << 10;
/// What HTTPS offers (RFC 7301).
const HTTP_ALPN: [&str; 2] = ["h2", "http/1.1"];

/// A door, ready to serve.
#[derive(Clone)]
enum Door {
    Sftp(Arc<SftpDoor>),
    Ftps(Arc<FtpDoor>),
    Https(Arc<WebDoor>),
}

/// The certificate that doors share, and what it was made of.
#[derive(Clone)]
struct Tls {
    fingerprint: String,
    pair: Arc<WatchedPair>,
    https: Arc<ServerConfig>,
}

/// All doors, by the names of their listeners.
#[derive(Clone, Default)]
pub(crate) struct Doors {
    open: HashMap<Arc<str>, (String, Door)>,
    tls: Option<Tls>,
}

impl Doors {
    /// Opens what is not open yet. Blocks on the file system.
    ///
    /// # Errors
    /// Every door that cannot be opened, each a sentence.
    pub(crate) fn open(&self, config: &Config, data_dir: &Path) -> Result<Self, Vec<String>> {
        let (mut doors, mut problems) = (Self::default(), Vec::new());
        if config
            .listeners
            .iter()
            .any(|listener| matches!(listener.protocol, Protocol::Https(_) | Protocol::Ftps(_)))
        {
            match self.tls(config, data_dir) {
                Ok(tls) => doors.tls = Some(tls),
                Err(why) => problems.push(why),
            }
        }
        for listener in &config.listeners {
            match self.door(listener, data_dir, doors.tls.as_ref()) {
                Ok(door) => {
                    doors.open.insert(Arc::clone(&listener.name), door);
                }
                Err(why) => problems.push(format!("listener '{}': {why}", listener.name)),
            }
        }
        if problems.is_empty() {
            Ok(doors)
        } else {
            Err(problems)
        }
    }

    /// The door of a listener, with what it was made of: host keys that were exchanged on disk make
    /// another door too.
    fn door(
        &self,
        listener: &Listener,
        data_dir: &Path,
        tls: Option<&Tls>,
    ) -> Result<(String, Door), String> {
        let kept = |print: &String| {
            let kept = self
                .open
                .get(&listener.name)
                .filter(|(before, _)| before == print);
            kept.map(|(_, door)| door.clone())
        };
        match &listener.protocol {
            Protocol::Sftp(options) => {
                let keys = host_keys(options, data_dir).map_err(|error| error.to_string())?;
                let fingerprints = keys.fingerprints();
                let print = fingerprint(&(options, &fingerprints));
                let door = kept(&print).unwrap_or_else(|| {
                    tracing::info!(listener = %listener.name, keys = fingerprints.join(" "), "host keys");
                    Door::Sftp(SftpDoor::new(options, &keys))
                });
                Ok((print, door))
            }
            Protocol::Ftps(options) => {
                // Without a certificate there is no such door, and that has been told already.
                let tls = tls.ok_or("there is no certificate")?;
                let signers = match &options.client_ca {
                    None => Vec::new(),
                    Some(path) => std::fs::read(path)
                        .map_err(|error| format!("client_ca: {}: {error}", path.display()))?,
                };
                let print = fingerprint(&(options, &tls.fingerprint, &signers));
                if options.tls == TlsMode::Optional {
                    tracing::warn!(
                        listener = %listener.name,
                        "tls = \"optional\": names, passwords and files may pass in clear text"
                    );
                }
                let door = match kept(&print) {
                    Some(door) => door,
                    None => Door::Ftps(ftp_door(options, tls, &signers)?),
                };
                Ok((print, door))
            }
            Protocol::Https(options) => {
                let print = fingerprint(options);
                let door = match kept(&print) {
                    Some(door) => door,
                    None => Door::Https(WebDoor::new(options).map_err(|error| error.to_string())?),
                };
                Ok((print, door))
            }
        }
    }

    fn tls(&self, config: &Config, data_dir: &Path) -> Result<Tls, String> {
        let fingerprint = fingerprint(&(&config.tls, &config.server.name));
        if let Some(kept) = self.tls.as_ref().filter(|kept| kept.fingerprint == fingerprint) {
            return Ok(kept.clone());
        }
        let (certificate, key) = match &config.tls {
            Some(options) => (options.certificate.clone(), options.key.clone()),
            None => {
                let made = tls::self_signed(data_dir, &config.server.name);
                let (certificate, key) =
                    made.map_err(|error| format!("the self-signed certificate: {error}"))?;
                tracing::warn!(
                    certificate = %certificate.display(),
                    "there is no [tls]: a self-signed certificate is served, which clients cannot verify"
                );
                (certificate, key)
            }
        };
        let pair = WatchedPair::open(&certificate, &key).map_err(|error| {
            format!("[tls]: {error}; put that right, or leave [tls] out for a self-signed certificate")
        })?;
        let pair = Arc::new(pair);
        let https = tls::server_config(Arc::clone(&pair), &HTTP_ALPN).map_err(|error| error.to_string())?;
        Ok(Tls {
            fingerprint,
            pair,
            https,
        })
    }

    /// The certificate whose files are watched.
    pub(crate) fn pair(&self) -> Option<Arc<WatchedPair>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.pair))
    }

    /// The listeners as they should be, with these doors behind them.
    pub(crate) fn desired(&self, config: &Config, gate: &Gatekeeper) -> Vec<Desired> {
        let desired = config.listeners.iter().filter_map(|listener| {
            let (_, door) = self.open.get(&listener.name)?;
            let tls = self
                .tls
                .as_ref()
                .map(|tls| TlsAcceptor::from(Arc::clone(&tls.https)));
            Some(Desired {
                name: Arc::clone(&listener.name),
                address: listener.address,
                door: listener.protocol.door(),
                trusted: listener.trusted.clone(),
                entrance: Arc::new(Doorway {
                    gate: gate.clone(),
                    door: door.clone(),
                    tls,
                    guide: Arc::new(BehindProxies(listener.trusted.clone())),
                }),
            })
        });
        desired.collect()
    }
}

fn ftp_door(options: &FtpOptions, tls: &Tls, signers: &[u8]) -> Result<Arc<FtpDoor>, String> {
    let clients = match options.client_certificates {
        ClientCertificates::Off => tls::Clients::Unasked,
        ClientCertificates::Optional => tls::Clients::Asked(signers),
        ClientCertificates::Required => tls::Clients::Certified(signers),
    };
    // Clients resume TLS 1.3 on data connections too seldom to demand it.
    let newest = options.session_reuse != SessionReuse::Require;
    let config = tls::ftp_config(Arc::clone(&tls.pair), newest, clients)
        .map_err(|error| format!("client_ca: {error}"))?;
    FtpDoor::new(options, Arc::new(config)).map_err(|wrong| wrong.join("; "))
}

/// The keys that a listener offers; what is missing is made.
fn host_keys(options: &SftpOptions, data_dir: &Path) -> Result<HostKeys, HostKeyError> {
    let keys = HostKeys::load_or_create(data_dir)?;
    if options.ecdsa_host_key {
        keys.with_ecdsa(data_dir)
    } else {
        Ok(keys)
    }
}

/// One listener's way in.
struct Doorway {
    gate: Gatekeeper,
    door: Door,
    tls: Option<TlsAcceptor>,
    guide: Arc<dyn Guide>,
}

/// Whose an FTP data connection is: from a trusted proxy the header tells, as on control connections.
struct BehindProxies(Vec<IpNet>);

#[async_trait]
impl Guide for BehindProxies {
    async fn whose(&self, stream: &mut TcpStream, from: SocketAddr) -> io::Result<IpAddr> {
        let from = from.ip().to_canonical();
        if !self.0.iter().any(|network| network.contains(&from)) {
            return Ok(from);
        }
        let told = read_header(stream, HEADER).await.map_err(io::Error::other)?;
        Ok(told.map_or(from, |ends| ends.peer.ip().to_canonical()))
    }
}

#[async_trait]
impl Entrance for Doorway {
    async fn enter(&self, stream: TcpStream, origin: Origin, waiting: OwnedSemaphorePermit) {
        let connection = match self.gate.knock(origin, Audience::Transfer).await {
            Ok(connection) => connection,
            Err(turned_away) => {
                tracing::debug!(why = turned_away.why, "turned away");
                return;
            }
        };
        drop(waiting);
        tracing::Span::current().record("id", tracing::field::display(connection.id()));
        match (&self.door, &self.tls) {
            (Door::Sftp(door), _) => portreeve_sftp::serve(Arc::clone(door), stream, connection).await,
            (Door::Ftps(door), _) => {
                let guide = Arc::clone(&self.guide);
                portreeve_ftp::serve(Arc::clone(door), stream, connection, guide).await;
            }
            (Door::Https(door), Some(tls)) => https(Arc::clone(door), tls, stream, connection).await,
            // Doors are opened with TLS or not at all.
            (Door::Https(_), None) => tracing::error!("no certificate"),
        }
    }
}

async fn https(door: Arc<WebDoor>, tls: &TlsAcceptor, stream: TcpStream, connection: Connection) {
    let stream = BufReader::with_capacity(READ_AHEAD, stream);
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            metrics::counter!("portreeve_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "the TLS handshake failed");
            return;
        }
        Err(_) => {
            metrics::counter!("portreeve_tls_handshakes_failed_total").increment(1);
            tracing::debug!("the TLS handshake took too long");
            return;
        }
    };
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    portreeve_web::serve(door, stream, h2, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ecdsa_host_key_is_made_when_a_listener_asks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let there = || dir.path().join("ssh_host_ecdsa_key").exists();
        for asks in [false, true] {
            let options = SftpOptions {
                ecdsa_host_key: asks,
                ..SftpOptions::default()
            };
            let keys = host_keys(&options, dir.path()).unwrap();
            assert_eq!(there(), asks);
            assert_eq!(keys.fingerprints().len(), if asks { 3 } else { 2 });
        }
    }
}

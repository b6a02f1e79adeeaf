//! What all connections of one listener share: options, passive ports, TLS, looked-up names.

use std::{
    hash::RandomState,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portreeve_session::Connection;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use crate::{
    Guide, SessionReuse, TlsMode, control,
    data::Ports,
    options::{Ascii, FtpOptions, Public},
};

/// How long a looked-up public address counts.
const LOOKED_UP: Duration = Duration::from_secs(60);

/// The FTPS door of one listener.
pub struct FtpDoor {
    pub(crate) options: FtpOptions,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) ports: Arc<Ports>,
    public: Vec<Public>,
    looked_up: Mutex<Option<(String, Ipv4Addr, Instant)>>,
    /// For the `unique` fact: other numbers with every start.
    pub(crate) identities: RandomState,
}

impl FtpDoor {
    /// A door with these options. `tls` is the listener's TLS configuration: certificate, versions, how
    /// clients are verified. Its session store and tickets are not used.
    ///
    /// # Errors
    /// Every option that cannot be, a sentence each.
    pub fn new(options: &FtpOptions, tls: Arc<ServerConfig>) -> Result<Arc<Self>, Vec<String>> {
        let checked = options.checked()?;
        Ok(Arc::new(Self {
            options: options.clone(),
            tls,
            ports: Arc::new(Ports::new(checked.passive_ports)),
            public: checked.public,
            looked_up: Mutex::new(None),
            identities: RandomState::new(),
        }))
    }

    /// Whether nobody signs in, and nothing is transferred, without TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        self.options.tls != TlsMode::Optional
    }

    /// How far data connections are bound to the session of their control connection.
    pub(crate) const fn reuse(&self) -> SessionReuse {
        self.options.session_reuse
    }

    /// Whether `TYPE A` changes bytes.
    pub(crate) fn converts(&self) -> bool {
        self.options.ascii == Ascii::Convert
    }

    /// The address that `PASV` tells a client: the configured one for its network, else `local`.
    ///
    /// # Errors
    /// A sentence: the name is not known, or the connection is one of IPv6.
    pub(crate) async fn told_address(&self, client: IpAddr, local: IpAddr) -> Result<Ipv4Addr, String> {
        let Some(public) = self.public.iter().find(|line| line.is_for(client)) else {
            return match local {
                IpAddr::V4(local) => Ok(local),
                IpAddr::V6(_) => Err("PASV is for IPv4; use EPSV".to_owned()),
            };
        };
        if let Ok(address) = public.address.parse() {
            return Ok(address);
        }
        if let Some((name, address, at)) = &*self.looked_up.lock()
            && *name == public.address
            && at.elapsed() < LOOKED_UP
        {
            return Ok(*address);
        }
        let unknown = || "the server's public address cannot be looked up now; use EPSV".to_owned();
        let found = tokio::net::lookup_host((public.address.as_str(), 0)).await;
        let mut found = found.map_err(|error| {
            tracing::warn!(name = public.address, %error, "public_address cannot be looked up");
            unknown()
        })?;
        let address = found.find_map(|address| match address.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let address = address.ok_or_else(unknown)?;
        *self.looked_up.lock() = Some((public.address.clone(), address, Instant::now()));
        Ok(address)
    }
}

/// Serves one control connection until it ends. `stream` is the socket, past any PROXY header, with
/// TCP_NODELAY set; `guide` tells whose a data connection is.
pub async fn serve(door: Arc<FtpDoor>, stream: TcpStream, connection: Connection, guide: Arc<dyn Guide>) {
    control::serve(door, stream, connection, guide).await;
}

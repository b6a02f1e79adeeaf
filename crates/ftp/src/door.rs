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
use tokio::{net::TcpStream, time::timeout};

use crate::{
    Guide, SessionReuse, TlsMode, control,
    data::Ports,
    options::{Ascii, FtpOptions, Public},
};

/// How long a looked-up public address counts.
const LOOKED_UP: Duration = Duration::from_secs(60);
/// How long a client waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// A sentence: the name is not known, or the client or the connection is one of IPv6.
    pub(crate) async fn told_address(&self, client: IpAddr, local: IpAddr) -> Result<Ipv4Addr, String> {
        let not_here = || "PASV is for IPv4; use EPSV".to_owned();
        if client.to_canonical().is_ipv6() {
            // The port would be open on the address that it came to, which is none of IPv4.
            return Err(not_here());
        }
        let Some(public) = self.public.iter().find(|line| line.is_for(client)) else {
            return match local {
                IpAddr::V4(local) => Ok(local),
                IpAddr::V6(_) => Err(not_here()),
            };
        };
        if let Ok(address) = public.address.parse() {
            return Ok(address);
        }
        let before = self.looked_up.lock().clone();
        let before = before.filter(|(name, ..)| *name == public.address);
        if let Some((_, address, at)) = &before
            && at.elapsed() < LOOKED_UP
        {
            return Ok(*address);
        }
        let found = match look_up(&public.address).await {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(name = public.address, why, "public_address cannot be looked up");
                // While the name service is away, yesterday's answer is the best there is.
                let (_, address, _) = before
                    .ok_or("the server's public address cannot be looked up now; use EPSV".to_owned())?;
                address
            }
        };
        *self.looked_up.lock() = Some((public.address.clone(), found, Instant::now()));
        Ok(found)
    }
}

async fn look_up(name: &str) -> Result<Ipv4Addr, String> {
    let found = timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await;
    let mut found = found
        .map_err(|_| "it takes too long".to_owned())?
        .map_err(|error| error.to_string())?;
    let v4 = found.find_map(|address| match address.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    v4.ok_or_else(|| "it has no IPv4 address".to_owned())
}

/// Serves one control connection until it ends. `stream` is the socket, past any PROXY header, with
/// TCP_NODELAY set; `guide` tells whose a data connection is.
pub async fn serve(door: Arc<FtpDoor>, stream: TcpStream, connection: Connection, guide: Arc<dyn Guide>) {
    control::serve(door, stream, connection, guide).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::rig::{TLS13, listener};

    fn door(public_address: Option<&str>) -> Arc<FtpDoor> {
        let options = FtpOptions {
            public_address: public_address.map(|address| crate::PublicAddress::One(address.to_owned())),
            ..FtpOptions::default()
        };
        FtpDoor::new(&options, Arc::new(listener(TLS13))).ok().unwrap()
    }

    async fn told(door: &FtpDoor, client: &str, local: &str) -> Option<String> {
        let told = door
            .told_address(client.parse().unwrap(), local.parse().unwrap())
            .await;
        told.ok().map(|told| told.to_string())
    }

    #[tokio::test]
    async fn addresses_of_ipv4_are_told_to_clients_of_ipv4() {
        for (public, client, local, expected) in [
            (None, "192.0.2.1", "192.0.2.9", Some("192.0.2.9")),
            (None, "192.0.2.1", "2001:db8::9", None),
            (Some("203.0.113.7"), "192.0.2.1", "192.0.2.9", Some("203.0.113.7")),
            (
                Some("203.0.113.7"),
                "::ffff:192.0.2.1",
                "192.0.2.9",
                Some("203.0.113.7"),
            ),
            (Some("203.0.113.7"), "2001:db8::1", "2001:db8::9", None),
        ] {
            let told = told(&door(public), client, local).await;
            assert_eq!(told.as_deref(), expected, "{public:?} {client} {local}");
        }
    }

    #[tokio::test]
    async fn the_last_address_counts_while_a_name_cannot_be_looked_up() {
        // Too long to be asked for: no name service is needed to refuse it.
        let name = "x".repeat(300);
        let door = door(Some(&name));
        assert_eq!(told(&door, "192.0.2.1", "192.0.2.9").await, None);
        let Some(once) = Instant::now().checked_sub(LOOKED_UP) else {
            return;
        };
        *door.looked_up.lock() = Some((name, Ipv4Addr::new(203, 0, 113, 7), once));
        assert_eq!(
            told(&door, "192.0.2.1", "192.0.2.9").await.as_deref(),
            Some("203.0.113.7")
        );
    }
}

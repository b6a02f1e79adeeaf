//! Where a connection came from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Through which door somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Door {
    /// SSH file transfer.
    Sftp,
    /// FTP over TLS.
    Ftps,
    /// The browser and the file API.
    Https,
    /// The management console.
    Console,
}

impl Door {
    /// The name used in configuration, audit and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sftp => "sftp",
            Self::Ftps => "ftps",
            Self::Https => "https",
            Self::Console => "console",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The two ends of a connection, as the client sees them: behind a proxy that is trusted to tell,
/// `peer` is what the proxy told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The door.
    pub door: Door,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// The client's address. IPv4 in IPv6 (`::ffff:a.b.c.d`) is stored as IPv4.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
}

impl Origin {
    /// Both addresses in their plain form.
    #[must_use]
    pub fn new(door: Door, listener: Arc<str>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            door,
            listener,
            peer: plain(peer),
            local: plain(local),
        }
    }

    /// The unit in which addresses are counted and banned: one IPv4 address, or the /64 of an IPv6
    /// one, since a subscriber owns a whole /64.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        Self::source_of(self.peer.ip())
    }

    /// The same of any address: for lists that people write.
    #[must_use]
    pub fn source_of(ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        }
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_64() {
        for (peer, source) in [
            ("192.0.2.7:5", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:5", "192.0.2.7"),
            ("[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::"),
        ] {
            let end: SocketAddr = peer.parse().unwrap();
            let origin = Origin::new(Door::Sftp, "sftp".into(), end, end);
            assert_eq!(origin.source(), source.parse::<IpAddr>().unwrap(), "{peer}");
        }
    }
}

//! The ports of passive data connections.
//!
//! Invariants: ports are taken from a random place of the range on, so that nobody can tell the next one
//! (RFC 1579's attack on predictable ports); an open port closes when its [`Passive`] is dropped.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait for one accept: strangers must not keep the client out.
const BACKLOG: u32 = 128;

/// The range of one listener.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
}

/// A port that one data connection may come to.
#[derive(Debug)]
pub(crate) struct Passive {
    pub(super) listener: TcpListener,
    port: u16,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range }
    }

    /// Opens a free port of the range on the address that the client reached us at.
    ///
    /// # Errors
    /// `AddrInUse` where all are taken, or what the system says.
    pub(crate) fn open(&self, local: IpAddr) -> io::Result<Passive> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let all = u32::from(last.saturating_sub(first)) + 1;
        let start = random()? % all;
        for step in 0..all {
            let Ok(offset) = u16::try_from((start + step) % all) else {
                break;
            };
            let port = first.saturating_add(offset);
            match listen(SocketAddr::new(local.to_canonical(), port)) {
                Ok(listener) => return Ok(Passive { listener, port }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("all ports of {first}-{last} are taken; widen passive_ports"),
        ))
    }
}

impl Passive {
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Or a port could not be used again for a minute after each transfer that we ended first.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u32::from_ne_bytes(bytes))
}

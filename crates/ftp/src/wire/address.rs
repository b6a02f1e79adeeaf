//! Addresses of data connections: PORT and PASV (RFC 959 §4.1.2), EPRT and EPSV (RFC 2428).
//!
//! Invariant: what is parsed has a port that can be connected to. Whether one may connect there is not
//! decided here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Why an argument of EPRT or EPSV is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// It is malformed (501).
    #[error("the address is malformed")]
    Syntax,
    /// It names a network protocol other than 1 (IPv4) and 2 (IPv6) (522, RFC 2428 §2).
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
}

/// What EPSV asks for (RFC 2428 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// No argument: the protocol of the control connection.
    Any,
    /// `1`.
    V4,
    /// `2`.
    V6,
    /// `ALL`: no other way of opening data connections will be used.
    All,
}

/// The argument of PORT, `h1,h2,h3,h4,p1,p2`; none where it is malformed or the port is 0.
#[must_use]
pub fn port(argument: &[u8]) -> Option<SocketAddrV4> {
    let mut fields = argument.split(|byte| *byte == b',').map(octet);
    let mut next = || fields.next().flatten();
    let host = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    let port = u16::from_be_bytes([next()?, next()?]);
    (fields.next().is_none() && port != 0).then(|| SocketAddrV4::new(host, port))
}

fn octet(field: &[u8]) -> Option<u8> {
    (field.len() <= 3).then(|| super::number(field))??.try_into().ok()
}

/// The argument of EPRT, `|1|192.0.2.7|6275|` or `|2|2001:db8::7|6275|`, with any delimiter that cannot
/// be part of an address. An IPv4 address written as an IPv6 one is answered as what it is.
///
/// # Errors
/// [`NotAnAddress`].
pub fn eprt(argument: &[u8]) -> Result<SocketAddr, NotAnAddress> {
    const SYNTAX: NotAnAddress = NotAnAddress::Syntax;
    let delimiter = *argument.first().ok_or(SYNTAX)?;
    if !delimiter.is_ascii_punctuation() || matches!(delimiter, b'.' | b':' | b'%') {
        return Err(SYNTAX);
    }
    let fields: Vec<&[u8]> = argument.splitn(6, |byte| *byte == delimiter).collect();
    let [b"", protocol, host, port, b""] = *fields else {
        return Err(SYNTAX);
    };
    let host = std::str::from_utf8(host).map_err(|_| SYNTAX)?;
    let ip = match super::number(protocol) {
        Some(1) => IpAddr::V4(host.parse().map_err(|_| SYNTAX)?),
        Some(2) => IpAddr::V6(host.parse::<Ipv6Addr>().map_err(|_| SYNTAX)?).to_canonical(),
        Some(_) => return Err(NotAnAddress::Protocol),
        None => return Err(SYNTAX),
    };
    match super::number(port).and_then(|port| u16::try_from(port).ok()) {
        None | Some(0) => Err(SYNTAX),
        Some(port) => Ok(SocketAddr::new(ip, port)),
    }
}

/// The argument of EPSV.
///
/// # Errors
/// [`NotAnAddress`].
pub fn epsv(argument: &[u8]) -> Result<Epsv, NotAnAddress> {
    match argument {
        b"" => Ok(Epsv::Any),
        all if all.eq_ignore_ascii_case(b"ALL") => Ok(Epsv::All),
        protocol => match super::number(protocol) {
            Some(1) => Ok(Epsv::V4),
            Some(2) => Ok(Epsv::V6),
            Some(_) => Err(NotAnAddress::Protocol),
            None => Err(NotAnAddress::Syntax),
        },
    }
}

/// The text of 227. Some clients look for the brackets, some for the first digit: this has both.
#[must_use]
pub fn pasv_text(at: SocketAddrV4) -> String {
    let [a, b, c, d] = at.ip().octets();
    let [high, low] = at.port().to_be_bytes();
    format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})")
}

/// The text of 229.
#[must_use]
pub fn epsv_text(port: u16) -> String {
    format!("Entering Extended Passive Mode (|||{port}|)")
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_port(argument: &str, expected: Option<&str>) {
        let expected = expected.map(|text| text.parse().unwrap());
        assert_eq!(port(argument.as_bytes()), expected, "{argument:?}");
    }

    #[test]
    fn port_arguments() {
        check_port("192,0,2,7,24,131", Some("192.0.2.7:6275"));
        check_port("010,0,0,1,0,021", Some("10.0.0.1:21"));
        check_port("255,255,255,255,255,255", Some("255.255.255.255:65535"));
        for wrong in [
            "",
            "192,0,2,7,24",
            "192,0,2,7,24,131,1",
            "192,0,2,7,24,131,",
            "192,0,2,256,24,131",
            "192,0,2,7,0,0",
            "192,0,2,-7,24,131",
            "192, 0,2,7,24,131",
            "192.0.2.7,24,131",
            "192,0,2,,24,131",
            "192,0,2,7,24,0131",
            ",,,,,",
        ] {
            check_port(wrong, None);
        }
    }

    fn check_eprt(argument: &str, expected: Result<&str, NotAnAddress>) {
        let expected = expected.map(|text| text.parse().unwrap());
        assert_eq!(eprt(argument.as_bytes()), expected, "{argument:?}");
    }

    #[test]
    fn eprt_arguments() {
        check_eprt("|1|192.0.2.7|6275|", Ok("192.0.2.7:6275"));
        check_eprt("|2|2001:db8::7|6275|", Ok("[2001:db8::7]:6275"));
        check_eprt("!2!::1!65535!", Ok("[::1]:65535"));
        check_eprt("|2|::ffff:192.0.2.7|6275|", Ok("192.0.2.7:6275"));
        check_eprt("|3|192.0.2.7|6275|", Err(NotAnAddress::Protocol));
        check_eprt("|0|192.0.2.7|6275|", Err(NotAnAddress::Protocol));
        for wrong in [
            "",
            "|",
            "|||||",
            "|1|192.0.2.7|6275",
            "|1|192.0.2.7|6275||",
            "|1|192.0.2.7|6275|x",
            "x|1|192.0.2.7|6275|",
            "|1|2001:db8::7|6275|",
            "|2|192.0.2.7|6275|",
            "|1|192.0.2.7|0|",
            "|1|192.0.2.7|65536|",
            "|1|192.0.2.7||",
            "|1|192.0.2|6275|",
            "|1|192.0.2.007|6275|",
            "|2|fe80::1%eth0|6275|",
            "|2|[::1]|6275|",
            "|x|192.0.2.7|6275|",
            "||192.0.2.7|6275|",
            "|1|ftp.example.com|6275|",
            "111192.0.2.7162751",
            ".1.192.0.2.7.1.",
            "\u{e9}1\u{e9}192.0.2.7\u{e9}6275\u{e9}",
        ] {
            check_eprt(wrong, Err(NotAnAddress::Syntax));
        }
    }

    #[test]
    fn epsv_arguments() {
        for (argument, expected) in [
            ("", Ok(Epsv::Any)),
            ("1", Ok(Epsv::V4)),
            ("2", Ok(Epsv::V6)),
            ("ALL", Ok(Epsv::All)),
            ("all", Ok(Epsv::All)),
            ("3", Err(NotAnAddress::Protocol)),
            ("ALLE", Err(NotAnAddress::Syntax)),
            (" 1", Err(NotAnAddress::Syntax)),
            ("-1", Err(NotAnAddress::Syntax)),
        ] {
            assert_eq!(epsv(argument.as_bytes()), expected, "{argument:?}");
        }
    }

    #[test]
    fn texts() {
        assert_eq!(epsv_text(6446), "Entering Extended Passive Mode (|||6446|)");
        assert_eq!(
            pasv_text("203.0.113.7:50001".parse().unwrap()),
            "Entering Passive Mode (203,0,113,7,195,81)"
        );
    }

    proptest! {
        #[test]
        fn pasv_says_what_port_understands(ip in any::<[u8; 4]>(), number in 1_u16..) {
            let at = SocketAddrV4::new(ip.into(), number);
            let text = pasv_text(at);
            let inside = text.split(['(', ')']).nth(1).unwrap();
            prop_assert_eq!(port(inside.as_bytes()), Some(at));
        }

        #[test]
        fn eprt_understands_every_address(
            ip in any::<[u8; 16]>(),
            number in 1_u16..,
            delimiter in "[|!#$,/]",
        ) {
            let ip = Ipv6Addr::from(ip);
            let text = format!("{delimiter}2{delimiter}{ip}{delimiter}{number}{delimiter}");
            prop_assert_eq!(eprt(text.as_bytes()), Ok(SocketAddr::new(ip.to_canonical(), number)));
        }

        #[test]
        fn nothing_panics(argument in "[|,0-9:.aA-]{0,30}|.{0,30}") {
            let _ = (port(argument.as_bytes()), eprt(argument.as_bytes()), epsv(argument.as_bytes()));
        }
    }
}

//! PORT (RFC 959, section 4.1.2): the server is to connect, over IPv4.

use std::net::SocketAddr;

use super::{Answer, say};
use crate::{
    control::Client,
    data::{Active, Way},
    wire,
};

/// Ports below are somebody's service (RFC 2577, section 3).
const FIRST: u16 = 1024;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    match wire::port(argument) {
        Some(address) => active(client, address.into()),
        None => say(501, "PORT wants h1,h2,h3,h4,p1,p2"),
    }
}

/// Connects to the client itself and to nobody else (RFC 2577, section 3: the bounce attack).
pub(super) fn active(client: &mut Client, address: SocketAddr) -> Answer {
    client.data_allowed()?;
    if client.epsv_only {
        return say(503, "EPSV ALL was sent: only EPSV is taken");
    }
    if !client.door.options.active {
        client.turned_away("an active data connection was asked for, which the listener does not allow");
        return say(502, "the server does not connect to clients; use EPSV or PASV");
    }
    if address.ip().to_canonical() != client.peer().ip() || address.port() < FIRST {
        client.turned_away(&format!(
            "a data connection to {address} was asked for, which is not the client"
        ));
        return say(
            504,
            "a data connection goes to your own address and a port from 1024 on",
        );
    }
    client.way = Some(Way::Active(Active::new(address)));
    say(200, "the next data connection goes there")
}

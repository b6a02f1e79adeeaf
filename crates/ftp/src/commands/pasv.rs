//! PASV (RFC 959, section 4.1.2): the client will connect, over IPv4.

use std::net::SocketAddrV4;

use super::{Answer, Step, say};
use crate::{
    control::Client,
    data::Way,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    client.data_allowed()?;
    if client.epsv_only {
        return say(503, "EPSV ALL was sent: only EPSV is taken");
    }
    let (peer, local) = (client.peer().ip(), client.connection.origin().local.ip());
    let told = match client.door.told_address(peer, local).await {
        Ok(told) => told,
        Err(why) => return say(425, why),
    };
    let port = listen(client)?;
    say(227, wire::pasv_text(SocketAddrV4::new(told, port)))
}

/// Listens for one data connection and answers the port. What was prepared before is closed: a session
/// holds one port at most.
pub(super) fn listen(client: &mut Client) -> Result<u16, Step> {
    client.way = None;
    let passive = client.door.ports.open(client.local).map_err(|error| {
        tracing::warn!(%error, "no passive port can be had");
        Reply::new(425, "no port for a data connection can be had now; try again")
    })?;
    let port = passive.port();
    client.way = Some(Way::Passive(passive));
    Ok(port)
}

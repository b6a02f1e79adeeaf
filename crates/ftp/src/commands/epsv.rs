//! EPSV (RFC 2428, section 3): the client will connect; only a port is told.

use std::net::IpAddr;

use super::{Answer, pasv, say};
use crate::{
    control::Client,
    wire::{self, Epsv, NotAnAddress},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    client.data_allowed()?;
    let local = client.local.to_canonical();
    match wire::epsv(argument) {
        Ok(Epsv::All) => {
            client.epsv_only = true;
            return say(200, "nothing but EPSV from now on");
        }
        Ok(Epsv::V4) if !matches!(local, IpAddr::V4(_)) => {
            return say(522, "network protocol not supported, use (2)");
        }
        Ok(Epsv::V6) if !matches!(local, IpAddr::V6(_)) => {
            return say(522, "network protocol not supported, use (1)");
        }
        Ok(Epsv::Any | Epsv::V4 | Epsv::V6) => {}
        Err(NotAnAddress::Protocol) => return say(522, "network protocol not supported, use (1,2)"),
        Err(NotAnAddress::Syntax) => return say(501, "EPSV takes 1, 2, ALL or nothing"),
    }
    let port = pasv::listen(client)?;
    say(229, wire::epsv_text(port))
}

//! EPRT (RFC 2428, section 2): the server is to connect to an address of either family.

use super::{Answer, port, say};
use crate::{
    control::Client,
    wire::{self, NotAnAddress},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    match wire::eprt(argument) {
        Ok(address) => port::active(client, address),
        Err(NotAnAddress::Protocol) => say(522, "network protocol not supported, use (1,2)"),
        Err(NotAnAddress::Syntax) => say(501, "EPRT wants |1|address|port| or |2|address|port|"),
    }
}

//! PROT (RFC 4217, section 9): whether data connections have TLS.

use super::{Answer, say};
use crate::control::{Client, Protection};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if !client.talk.has_tls() || !client.buffer_size_told {
        return say(503, "PROT comes after AUTH TLS and PBSZ");
    }
    match argument {
        b"P" | b"p" => {
            client.protection = Protection::Private;
            // What was prepared before was prepared for the other kind.
            client.way = None;
            say(200, "data connections have TLS")
        }
        b"C" | b"c" if client.door.needs_tls() => {
            client.turned_away("PROT C: data connections without TLS were asked for");
            say(534, "data connections need TLS here")
        }
        b"C" | b"c" => {
            client.protection = Protection::Clear;
            client.way = None;
            say(200, "data connections are in clear text")
        }
        b"S" | b"E" | b"s" | b"e" => say(536, "TLS knows PROT P and PROT C"),
        _ => say(504, "PROT wants P or C"),
    }
}

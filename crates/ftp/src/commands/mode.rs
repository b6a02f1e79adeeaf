//! MODE (RFC 959, section 3.4): streams only.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, argument: &[u8]) -> Answer {
    match argument {
        b"S" | b"s" => say(200, "stream"),
        b"" => say(501, "MODE wants S"),
        _ => say(504, "there is nothing but MODE S"),
    }
}

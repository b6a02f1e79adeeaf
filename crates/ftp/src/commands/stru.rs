//! STRU (RFC 959, section 3.1.2): files without structure only.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, argument: &[u8]) -> Answer {
    match argument {
        b"F" | b"f" => say(200, "files"),
        b"" => say(501, "STRU wants F"),
        _ => say(504, "there is nothing but STRU F"),
    }
}

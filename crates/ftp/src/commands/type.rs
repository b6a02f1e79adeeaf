//! TYPE (RFC 959, section 3.1.1): text or image. What text means is an option of the listener.

use super::{Answer, say};
use crate::control::{Client, Type};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    match argument.to_ascii_uppercase().as_slice() {
        b"A" | b"A N" => client.kind = Type::Ascii,
        b"I" | b"L 8" => client.kind = Type::Image,
        b"" => return say(501, "TYPE wants A or I"),
        _ => return say(504, "there are TYPE A and TYPE I"),
    }
    match client.kind {
        Type::Ascii => say(200, "text"),
        Type::Image => say(200, "image"),
    }
}

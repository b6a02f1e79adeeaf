//! PBSZ (RFC 4217, section 8): the size of protected buffers, which TLS does not need.

use super::{Answer, say};
use crate::{control::Client, wire};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if !client.talk.has_tls() {
        return say(503, "PBSZ comes after AUTH TLS");
    }
    if wire::number(argument).is_none() {
        return say(501, "PBSZ wants 0");
    }
    client.buffer_size_told = true;
    say(200, "PBSZ=0")
}

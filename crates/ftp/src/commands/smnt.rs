//! SMNT (RFC 959, section 4.1.1): nothing can be mounted by a client.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(502, "nothing can be mounted here")
}

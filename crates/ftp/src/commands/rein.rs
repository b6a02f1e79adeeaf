//! REIN (RFC 959, section 4.1.1): back to the state after the greeting. TLS stays, against RFC 4217
//! section 11: nothing that comes later could be trusted.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    client.reset();
    say(220, "ready for another user")
}

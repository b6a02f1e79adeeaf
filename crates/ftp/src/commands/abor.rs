//! ABOR (RFC 959, section 4.1.3) while nothing is under way; during a transfer it is heard beside it.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    // A prepared data connection is closed with it.
    client.way = None;
    say(226, "nothing was under way")
}

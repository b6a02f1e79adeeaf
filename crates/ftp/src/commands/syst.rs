//! SYST (RFC 959, section 4.1.3): how LIST is to be read.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(215, "UNIX Type: L8")
}

//! ACCT (RFC 959, section 4.1.1): there are no accounts beside users.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(202, "no account is needed")
}

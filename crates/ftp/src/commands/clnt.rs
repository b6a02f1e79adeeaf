//! CLNT: the client's name, which some clients tell. It changes nothing.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(200, "noted")
}

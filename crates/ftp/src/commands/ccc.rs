//! CCC (RFC 4217, section 12.3): back to clear text. Never: what follows could not be trusted.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    if client.talk.has_tls() {
        client.turned_away("CCC: a control connection without TLS was asked for");
        say(534, "the control connection keeps its TLS")
    } else {
        say(533, "the control connection has no TLS")
    }
}

//! AUTH (RFC 4217, section 4): TLS for the control connection.

use super::{Answer, Step, say};
use crate::{control::Client, wire::Reply};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    if client.talk.has_tls() {
        return say(503, "this connection has TLS already");
    }
    if client.session().is_some() {
        return say(503, "AUTH comes before signing in");
    }
    match argument.to_ascii_uppercase().as_slice() {
        b"TLS" | b"TLS-C" => Ok(Step::StartTls(Reply::new(234, "begin the TLS handshake"))),
        // `SSL` means that data connections are protected at once (as implicit): nobody agrees on it.
        _ => say(504, "AUTH TLS is what can be had"),
    }
}

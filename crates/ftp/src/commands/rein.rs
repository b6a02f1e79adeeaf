//! REIN (RFC 959, section 4.1.1): back to the state after the greeting. TLS stays, against RFC 4217
//! section 11: nothing that comes later could be trusted.

use tokio::time::Instant;

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    // Whoever was signed in has the time for signing in anew; nobody prolongs it by REIN alone.
    if client.session().is_some() {
        client.deadline = Instant::now() + client.connection.login_grace();
    }
    client.reset();
    say(220, "ready for another user")
}

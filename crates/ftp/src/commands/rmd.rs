//! RMD (RFC 959, section 4.1.3): removes an empty directory.

use portreeve_session::Removal;

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    client.fs()?.remove(&path, Removal::Dir).await?;
    say(250, "removed")
}

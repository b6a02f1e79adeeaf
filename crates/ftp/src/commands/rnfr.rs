//! RNFR (RFC 959, section 4.1.3): what is to get another name.

use portreeve_session::Links;

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    client.fs()?.stat(&path, Links::Keep).await?;
    client.renaming = Some(path);
    say(350, "now the new name, with RNTO")
}

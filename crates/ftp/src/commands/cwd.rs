//! CWD (RFC 959, section 4.1.1): to another directory.

use portreeve_session::Links;

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    let entry = client.fs()?.stat(&path, Links::Follow).await?;
    if !entry.is_dir() {
        return say(550, "that is not a directory");
    }
    client.cwd = path;
    say(250, "there you are")
}

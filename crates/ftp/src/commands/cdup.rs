//! CDUP (RFC 959, section 4.1.1): to the parent directory.

use super::{Answer, cwd};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, _: &[u8]) -> Answer {
    cwd::run(client, b"..").await
}

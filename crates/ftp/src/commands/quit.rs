//! QUIT (RFC 959, section 4.1.1). Sent during a transfer it waits for the end of that.

use super::{Answer, Step};
use crate::{control::Client, wire::Reply};

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    Ok(Step::Leave(Reply::new(221, "goodbye")))
}

//! MKD (RFC 959, section 4.1.3 and appendix II): makes a directory.

use portreeve_session::Attrs;

use super::{Answer, Step};
use crate::{
    control::Client,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    client.fs()?.make_dir(&path, Attrs::default()).await?;
    let mut text = Vec::new();
    wire::append_quoted(&mut text, &path);
    text.extend_from_slice(b" was made");
    Ok(Step::Say(Reply::bytes(257, text)))
}

//! MFMT (draft-somers-ftp-mfxx-04, section 3): sets when a file was changed last.

use portreeve_session::{Attrs, Links};

use super::{Answer, Step, say};
use crate::{
    control::Client,
    wire::{self, Reply},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let mut words = argument.splitn(2, |byte| *byte == b' ');
    let (time, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(modified) = wire::time(time) else {
        return say(501, "MFMT wants YYYYMMDDHHMMSS and a path");
    };
    let path = client.path(name)?;
    let attrs = Attrs {
        modified: Some(modified),
        ..Attrs::default()
    };
    let fs = client.fs()?;
    fs.set_attrs(&path, attrs, Links::Follow).await?;
    // Some storages take a time and do not keep it (a message was received when it was received).
    let kept = fs.stat(&path, Links::Follow).await?.modified;
    if kept.map(|at| at.seconds) != Some(modified.seconds) {
        return say(504, "this storage keeps no such time");
    }
    let mut text = b"Modify=".to_vec();
    wire::append_time(&mut text, modified);
    text.extend_from_slice(b"; ");
    text.extend_from_slice(name);
    Ok(Step::Say(Reply::bytes(213, text)))
}

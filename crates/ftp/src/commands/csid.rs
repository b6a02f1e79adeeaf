//! CSID (draft-peterson-streamlined-ftp-command-extensions-10, section 5): who is talking. No version is
//! told to strangers.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(200, "Name=Portreeve; CaseSensitive=1; DirSep=/;")
}

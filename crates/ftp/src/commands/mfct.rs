//! MFCT (draft-somers-ftp-mfxx-04, section 4): when a file was made cannot be set, as on any Unix.

use super::{Answer, say};
use crate::control::Client;

pub(super) async fn run(_: &mut Client, _: &[u8]) -> Answer {
    say(
        504,
        "the time of creation cannot be set; MFMT sets that of the last change",
    )
}

//! ALLO (RFC 959, section 4.1.3): how large the next upload will be, so that a quota or a limit can
//! refuse it before its bytes come.

use super::{Answer, say};
use crate::{control::Client, wire};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    // `ALLO bytes R record-size` is of record structures, which are not spoken here.
    let bytes = argument.split(|byte| *byte == b' ').next().unwrap_or_default();
    let Some(bytes) = wire::number(bytes) else {
        return say(501, "ALLO wants a number of bytes");
    };
    client.announced = Some(bytes);
    say(200, "the next upload is weighed by that size")
}

//! STOU (RFC 959, section 4.1.3): an upload under a name that the server chooses (RFC 1123, section 4.1.2.9).

use portreeve_session::WriteMode;

use super::{Answer, say, stor};
use crate::control::Client;

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    client.restart = 0;
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        return say(451, "the operating system gave no random bytes");
    }
    let random = u64::from_be_bytes(random);
    let mut name = argument.to_vec();
    if matches!(name.last(), None | Some(b'/')) {
        name.extend_from_slice(b"upload");
    }
    name.extend_from_slice(format!(".{random:016x}").as_bytes());
    let path = client.path(&name)?;
    let shown = path.file_name().map_or_else(String::new, |name| name.to_string());
    stor::receive(client, &path, WriteMode::CreateNew, Some(shown)).await
}

//! MLST (RFC 3659, section 7): the facts of one file or directory, over the control connection.

use super::{Answer, Step, listing::unique};
use crate::{
    control::Client,
    wire::{self, Reply, Told, ToldKind},
};

pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = if argument.is_empty() {
        client.cwd.clone()
    } else {
        client.path(argument)?
    };
    let entry = super::size::seen(client, &path).await?;
    let told = Told {
        entry: &entry,
        kind: ToldKind::Named,
        verbs: client.fs()?.verbs(&path),
        unique: unique(&client.door, &path, None),
    };
    let mut line = Vec::new();
    wire::append_facts(&mut line, client.facts, &told);
    wire::append_shown(&mut line, path.as_bytes());
    Ok(Step::Say(Reply::new(250, "Facts:").with(line)))
}

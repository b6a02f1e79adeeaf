//! HELP (RFC 959, section 4.1.3).

use super::{Answer, Step, TABLE, find, say};
use crate::{control::Client, wire::Reply};

/// Names in a line.
const ROW: usize = 8;

pub(super) async fn run(_: &mut Client, argument: &[u8]) -> Answer {
    text(argument)
}

/// Apart: the table holds the future above, which must not speak of the table.
fn text(argument: &[u8]) -> Answer {
    if argument.is_empty() {
        let rows = TABLE.chunks(ROW).map(|row| {
            let names: Vec<String> = row.iter().map(|command| format!("{:<8}", command.name)).collect();
            names.concat().trim_end().to_owned()
        });
        let reply = rows
            .fold(Reply::new(214, "Commands:"), Reply::with)
            .ending("HELP COMMAND tells its arguments");
        return Ok(Step::Say(reply));
    }
    let name = String::from_utf8_lossy(argument).to_ascii_uppercase();
    match find(&name) {
        Some(command) => {
            let needs = command.verb.map(|verb| format!(" (needs the right to {verb})"));
            say(
                214,
                format!("{} {}{}", command.name, command.syntax, needs.unwrap_or_default()),
            )
        }
        None => say(504, "no such command"),
    }
}

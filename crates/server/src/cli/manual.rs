//! The manual page: one page for all verbs, since there is one program.

use std::io;

use clap::{Command, CommandFactory};

use super::Arguments;

/// The page in roff.
///
/// # Errors
/// None that is known: it is written to memory.
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut program = Arguments::command();
    program.build();
    let man = clap_mangen::Man::new(program.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH VERBS\n");
    verbs(&program, "portreeve", &mut page);
    man.render_extra_section(&mut page)?;
    Ok(page)
}

/// The help of every verb that can be typed, as it stands on the screen.
fn verbs(above: &Command, name: &str, page: &mut Vec<u8>) {
    for verb in above.get_subcommands() {
        if verb.is_hide_set() || verb.get_name() == "help" {
            continue;
        }
        let name = format!("{name} {}", verb.get_name());
        if verb.has_subcommands() {
            verbs(verb, &name, page);
            continue;
        }
        let help = verb.clone().render_long_help().to_string();
        page.extend_from_slice(format!(".SS {}\n.nf\n", escaped(&name)).as_bytes());
        for line in help.lines() {
            page.extend_from_slice(escaped(line).as_bytes());
            page.push(b'\n');
        }
        page.extend_from_slice(b".fi\n");
    }
}

/// Text as roff shows it: no escapes, no orders.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line
    }
}

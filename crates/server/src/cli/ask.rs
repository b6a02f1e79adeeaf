//! A request to the running server, or, where none runs, to the state itself.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Failure, Out, offline};
use crate::{
    check,
    control::{self, Link, Request},
};

/// Asks, and shows the answer.
pub(super) fn ask(
    config: &Path,
    request: Request,
    out: &mut Out,
    show: fn(&Json) -> String,
) -> Result<(), Failure> {
    let data_dir = match check::data_dir_of(config) {
        Ok(data_dir) => data_dir,
        // A file that is being edited shuts nobody out of a server that runs.
        Err(error) => match guess(config) {
            Some(data_dir) if matches!(control::link(&data_dir), Ok(Link::Up(_))) => data_dir,
            _ => return Err(error.into()),
        },
    };
    let linked = control::link(&data_dir).map_err(|error| {
        Failure::Failed(format!(
            "the control socket in {}: {error}; run this as the server's own user or as root",
            data_dir.display()
        ))
    })?;
    let answer = match linked {
        Link::Up(stream) => control::call(stream, &request).map_err(Failure::Failed)?,
        Link::Down => offline::answer(config, &data_dir, request)?,
    };
    Ok(out.answer(&answer, show)?)
}

/// Where a file that is no TOML seems to keep its state: the line `data_dir = "…"` of `[server]`, else
/// the default.
fn guess(config: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(config).ok()?;
    let full = std::path::absolute(config).ok()?;
    let mut inside = false;
    let named = text.lines().find_map(|line| {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.starts_with("[server");
        }
        let value = line
            .strip_prefix("data_dir")?
            .trim_start()
            .strip_prefix('=')?
            .trim();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        inside.then(|| value.split(quote).nth(1).map(PathBuf::from))?
    });
    let data_dir = named.unwrap_or_else(|| crate::options::ServerOptions::default().data_dir);
    Some(full.parent()?.join(data_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_of_a_broken_file_is_guessed() {
        let default = crate::options::ServerOptions::default().data_dir;
        let dir = tempfile::tempdir().unwrap();
        for (text, want) in [
            (
                "[server]\n= 'x'\n data_dir = \"state\" # here\n",
                dir.path().join("state"),
            ),
            ("[server] # ours\ndata_dir='/var/x'\n[x\n", "/var/x".into()),
            ("[x]\ndata_dir = \"no\"\n[server]\n=\n", dir.path().join(&default)),
            ("[server\ndata_dir = \"half\n", dir.path().join("half")),
            ("[server]\ndata_dir = 7\n=\n", dir.path().join(&default)),
        ] {
            let file = dir.path().join("p.toml");
            std::fs::write(&file, text).unwrap();
            assert_eq!(guess(&file), Some(want), "{text}");
        }
        assert_eq!(guess(&dir.path().join("none")), None);
    }
}

//! From a file to a [`Config`], or to every problem the file has.
//!
//! Three passes over one tree that knows its places: syntax, the schema of the options, and what
//! refers to what. The first pass that finds something wrong with an element keeps that element out
//! of the later ones, so that one mistake is told once.

mod problem;
mod read;
mod references;
mod storages;
mod tree;
mod twins;
mod validate;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use problem::{Problem, Report, did_you_mean};
pub(crate) use twins::any_private;

use crate::options::Config;
use read::Reader;
use tree::Node;

/// Why there is no configuration.
#[derive(Debug)]
pub enum CheckError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It was read, and is wrong.
    Wrong(Report),
}

impl std::fmt::Display for CheckError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the configuration {} cannot be read: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        f.write_str("\n  hint: name another with --config FILE; `portreeve demo` needs none")
                    }
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("\n  hint: run it as the server's user, or let that user read the file")
                    }
                    _ => Ok(()),
                }
            }
            Self::Wrong(report) => f.write_str(report.render().trim_end()),
        }
    }
}

impl std::error::Error for CheckError {}

impl CheckError {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Unreadable(path, error) => serde_json::json!({
                "ok": false,
                "problems": [{ "file": path, "message": error.to_string() }],
            }),
            Self::Wrong(report) => report.json(),
        }
    }
}

/// Reads and checks a file. Reads other files that it names (accounts): not for an async thread.
///
/// # Errors
/// [`CheckError`].
pub fn check_file(path: &Path) -> Result<Config, CheckError> {
    let unreadable = |error| CheckError::Unreadable(path.to_owned(), error);
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(io::Error::other("it is not UTF-8")))?;
    let full = std::path::absolute(path).map_err(unreadable)?;
    check_text(&text, path, &full).map_err(CheckError::Wrong)
}

/// Checks a text as if it stood in `full`; `shown` is how the file is named in messages.
///
/// # Errors
/// Every problem.
pub fn check_text(text: &str, shown: &Path, full: &Path) -> Result<Config, Report> {
    let mut problems = Vec::new();
    let report = |problems| Report::new(&shown.display().to_string(), text, problems);
    let tree = Node::parse(text, &mut problems);
    if !problems.is_empty() {
        return Err(report(problems));
    }
    let mut reader = Reader::new(&tree, full);
    let config = reader.read();
    let mut problems = reader.into_problems();
    references::check(&tree, &config, &mut problems);
    storages::check(&tree, &config, &mut problems);
    if problems.is_empty() {
        Ok(config.whole())
    } else {
        Err(report(problems))
    }
}

/// Where a configuration keeps its state, whatever else is wrong with it: a running server must be
/// reachable while its file is being edited.
///
/// # Errors
/// [`CheckError`]: the file cannot be read, or is no TOML.
pub fn data_dir_of(path: &Path) -> Result<PathBuf, CheckError> {
    let unreadable = |error| CheckError::Unreadable(path.to_owned(), error);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let full = std::path::absolute(path).map_err(unreadable)?;
    let mut problems = Vec::new();
    let tree = Node::parse(&text, &mut problems);
    let named = tree.get("server").and_then(|server| server.text("data_dir"));
    if named.is_none() && !problems.is_empty() {
        return Err(CheckError::Wrong(Report::new(
            &path.display().to_string(),
            &text,
            problems,
        )));
    }
    let data_dir = named.map_or_else(
        || crate::options::ServerOptions::default().data_dir,
        PathBuf::from,
    );
    Ok(full.parent().unwrap_or(Path::new("/")).join(data_dir))
}

#[cfg(test)]
mod tests;

//! A name book in files: one file of JSON lines for each folder, appended to, rewritten when most of
//! it is history.
//!
//! Invariants: a line is whole or ignored (a crash in mid-append costs that line's binding, nothing
//! else); a rewrite replaces the file by rename; a name that was answered was on disk before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use serde::{Deserialize, Serialize};

use super::{Binding, NameBook, PartKey};
use crate::FolderId;

/// A file may hold this many times what it must before it is rewritten.
const SLACK: u64 = 4;
/// About how long a line is, in bytes.
const LINE: u64 = 200;
/// Below this size nobody bothers, in bytes.
const SMALL: u64 = 64 * 1024;

/// A book in a directory.
#[derive(Debug)]
pub struct FileBook {
    dir: PathBuf,
    /// Part of every file's name: another mailbox or template is another book.
    scheme: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    message: String,
    part: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl FileBook {
    /// A book in `dir` (made where missing) for the mailbox and template that `scheme` stands for.
    ///
    /// # Errors
    /// `dir` cannot be made.
    pub fn open(dir: &Path, scheme: &str) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            scheme: scheme.to_owned(),
        })
    }

    fn path(&self, folder: &FolderId) -> PathBuf {
        let mut hash = blake3::Hasher::new();
        hash.update(self.scheme.as_bytes());
        hash.update(&[0]);
        hash.update(folder.0.as_bytes());
        self.dir.join(format!(
            "{}.names",
            hash.finalize().to_hex().get(..32).unwrap_or_default()
        ))
    }
}

#[async_trait]
impl NameBook for FileBook {
    async fn load(&self, folder: &FolderId) -> FsResult<Vec<Binding>> {
        let path = self.path(folder);
        off_thread(move || load(&path)).await
    }

    async fn save(&self, folder: &FolderId, changed: &[Binding], held: usize) -> FsResult<bool> {
        let path = self.path(folder);
        let added = lines(changed)?;
        let size = off_thread(move || append(&path, &added)).await?;
        Ok(size > SMALL && size / SLACK > LINE * held as u64)
    }

    async fn replace(&self, folder: &FolderId, all: &[Binding]) -> FsResult<()> {
        let (path, whole) = (self.path(folder), lines(all)?);
        off_thread(move || rewrite(&path, &whole)).await
    }

    async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()> {
        let (from, to) = (self.path(from), self.path(to));
        off_thread(move || match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .await
    }
}

fn load(path: &Path) -> io::Result<Vec<Binding>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = text.split(|b| *b == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
        .map(|line| Binding {
            name: line.name,
            key: PartKey {
                message: line.message.as_str().into(),
                part: line.part.as_str().into(),
            },
            gone: line.gone,
            size: line.size,
        })
        .collect())
}

fn lines(bindings: &[Binding]) -> FsResult<Vec<u8>> {
    let mut out = Vec::new();
    for binding in bindings {
        let line = Line {
            name: binding.name.clone(),
            message: binding.key.message.0.to_string(),
            part: binding.key.part.0.to_string(),
            gone: binding.gone,
            size: binding.size,
        };
        serde_json::to_writer(&mut out, &line).map_err(|error| failed(error.into()))?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Answers the size of the file thereafter.
fn append(path: &Path, added: &[u8]) -> io::Result<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // A line that a crash cut off must not swallow the next one.
    file.write_all(&[b"\n", added].concat())?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

fn rewrite(path: &Path, whole: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("names.new");
    let mut file = File::create(&temp)?;
    file.write_all(whole)?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> FsResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)
}

fn failed(error: io::Error) -> FsError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => FsErrorKind::NoSpace,
        _ => FsErrorKind::Backend,
    };
    FsError::new(kind)
        .context("the names of the mailbox cannot be stored")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(name: &str, gone: Option<u64>) -> Binding {
        Binding {
            name: name.into(),
            key: PartKey {
                message: "m\n\"".into(),
                part: name.into(),
            },
            gone,
            size: None,
        }
    }

    #[tokio::test]
    async fn remembers_and_survives_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let folder = FolderId::from("INBOX");
        let book = FileBook::open(dir.path(), "s").unwrap();
        let all = [binding("a", None), binding("b", Some(7))];
        assert!(!book.save(&folder, &all, 2).await.unwrap());
        let mut file = OpenOptions::new().append(true).open(book.path(&folder)).unwrap();
        file.write_all(b"{\"name\":\"torn").unwrap();
        book.save(&folder, &[binding("c", None)], 3).await.unwrap();
        let names = |list: Vec<Binding>| list.into_iter().map(|b| b.name).collect::<Vec<_>>();
        assert_eq!(names(book.load(&folder).await.unwrap()), ["a", "b", "c"]);

        let other = FileBook::open(dir.path(), "another template").unwrap();
        assert!(other.load(&folder).await.unwrap().is_empty());
        book.renamed(&folder, &"new".into()).await.unwrap();
        assert_eq!(book.load(&"new".into()).await.unwrap().len(), 3);
        assert!(book.load(&folder).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let folder = FolderId::from("INBOX");
        let book = FileBook::open(dir.path(), "s").unwrap();
        let live = [binding("only one", None)];
        let churn: Vec<Binding> = (0..1000).map(|n| binding("only one", Some(n))).collect();
        for _ in 0..20 {
            if book.save(&folder, &churn, 1).await.unwrap() {
                book.replace(&folder, &live).await.unwrap();
            }
        }
        assert!(fs::metadata(book.path(&folder)).unwrap().len() < 4 * SMALL);
        book.save(&folder, &live, 1).await.unwrap();
        assert_eq!(book.load(&folder).await.unwrap().last(), live.last());
    }
}

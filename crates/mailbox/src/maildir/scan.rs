//! What is in a folder: its message files, and what is known of each from a former look.
//!
//! Invariants: a message's id is the unique part of its file name, up to the first `:` or `,`: it
//! survives changes of flags, the move from `new` to `cur`, and our own rewriting. What was parsed
//! is reused only for the same inode, size and time. What is held is bounded.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use portreeve_model::Timestamp;
use portreeve_vfs::FsResult;

use super::{
    Inner,
    dir::{Dir, Stamp, stamp_of},
    fault,
    layout::Place,
};
use crate::{
    FolderId, Message, MessageId, PartId, Summary,
    mime::{Encoding, Inspected, inspect_for},
    store::too_many,
};

/// How much is read of a message that is too large to be looked at: its header.
const HEAD: u64 = 256 * 1024;

/// A message file.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: MessageId,
    /// `new` or `cur`.
    pub(super) sub: &'static str,
    pub(super) name: String,
    pub(super) stamp: Stamp,
}

/// What is known of a message file in one state.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) stamp: Stamp,
    pub(super) message: Arc<Message>,
    /// Where each part's body is.
    pub(super) parts: Vec<(PartId, Range<usize>, Encoding)>,
}

/// What is held of all folders.
#[derive(Debug)]
pub(super) struct Cache {
    folders: HashMap<FolderId, Held>,
    clock: u64,
    /// Messages and attachments held of all folders together; beyond it, folders unused longest are let go.
    max: usize,
}

#[derive(Debug)]
struct Held {
    /// By id.
    found: Arc<Vec<Found>>,
    parsed: HashMap<MessageId, Arc<Parsed>>,
    /// Attachments of what is parsed.
    parts: usize,
    used: u64,
}

impl Held {
    fn entries(&self) -> usize {
        self.found.len() + self.parts
    }
}

impl Cache {
    pub(super) fn new(max: usize) -> Self {
        Self {
            folders: HashMap::new(),
            clock: 0,
            max,
        }
    }

    fn touch(&mut self, folder: &FolderId) -> Option<&mut Held> {
        self.clock += 1;
        let held = self.folders.get_mut(folder)?;
        held.used = self.clock;
        Some(held)
    }

    fn replace(&mut self, folder: &FolderId, found: Arc<Vec<Found>>) {
        self.clock += 1;
        let mut parsed = self
            .folders
            .remove(folder)
            .map(|held| held.parsed)
            .unwrap_or_default();
        if !parsed.is_empty() {
            let stamps: HashMap<&MessageId, Stamp> = found.iter().map(|f| (&f.id, f.stamp)).collect();
            parsed.retain(|id, known| stamps.get(id) == Some(&known.stamp));
        }
        let held = Held {
            found,
            parts: parsed.values().map(|known| known.parts.len()).sum(),
            parsed,
            used: self.clock,
        };
        self.folders.insert(folder.clone(), held);
        self.trim();
    }

    fn keep(&mut self, folder: &FolderId, parsed: &Arc<Parsed>) {
        let Some(held) = self.touch(folder) else {
            return;
        };
        let former = held.parsed.insert(parsed.message.id.clone(), Arc::clone(parsed));
        held.parts += parsed.parts.len();
        held.parts -= former.map_or(0, |former| former.parts.len());
        self.trim();
    }

    /// The folder used last stays: it is bounded by itself.
    fn trim(&mut self) {
        while self.folders.len() > 1 && self.folders.values().map(Held::entries).sum::<usize>() > self.max {
            let oldest = self.folders.iter().min_by_key(|(_, held)| held.used);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.folders.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, folder: &FolderId) {
        self.folders.remove(folder);
    }
}

impl Inner {
    /// Reads a folder's directories and answers its messages, by id.
    ///
    /// # Errors
    /// `TooLarge` where there are more of them than are held.
    pub(super) fn scan(&self, folder: &FolderId) -> FsResult<Arc<Vec<Found>>> {
        let mut found = self.find_all(folder).map_err(|error| fault(&error))?;
        // `cur` sorts before `new`, and is where a message seen twice is now.
        found.sort_by(|a, b| (&a.id, a.sub).cmp(&(&b.id, b.sub)));
        found.dedup_by(|later, earlier| later.id == earlier.id);
        if found.len() > self.max_entries {
            return Err(too_many(self.max_entries));
        }
        let found = Arc::new(found);
        self.cache.lock().replace(folder, Arc::clone(&found));
        Ok(found)
    }

    /// The messages of a folder, some perhaps twice; no more than show that they are too many.
    fn find_all(&self, folder: &FolderId) -> io::Result<Vec<Found>> {
        let dir = self.folder_dir(folder)?;
        let mut found: Vec<Found> = Vec::new();
        // `new` first: a message that moves to `cur` meanwhile is seen twice, never missed.
        for sub in ["new", "cur"] {
            let sub_dir = match dir.sub(sub) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for (name, is_dir) in sub_dir.names()? {
                let Some((id, flags)) = split_name(&name).filter(|_| !is_dir) else {
                    continue;
                };
                if flags.contains('T') {
                    continue;
                }
                if let Some(stamp) = sub_dir.stamp(&name)? {
                    found.push(Found {
                        id: id.into(),
                        sub,
                        name,
                        stamp,
                    });
                }
                if found.len() > self.max_entries.saturating_mul(2) {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Whether more is held of a folder than may be: nothing more of it is parsed then.
    pub(super) fn is_full(&self, folder: &FolderId) -> bool {
        let cache = self.cache.lock();
        cache
            .folders
            .get(folder)
            .is_some_and(|held| held.entries() > self.max_entries)
    }

    /// The messages as last scanned.
    pub(super) fn scanned(&self, folder: &FolderId) -> Option<Arc<Vec<Found>>> {
        self.cache
            .lock()
            .touch(folder)
            .map(|held| Arc::clone(&held.found))
    }

    /// The size of a message as last scanned; the largest there may be where it is not known.
    pub(super) fn size_hint(&self, folder: &FolderId, id: &MessageId) -> u64 {
        let size = self.scanned(folder).and_then(|all| {
            let at = all.binary_search_by(|found| found.id.cmp(id)).ok()?;
            all.get(at).map(|found| found.stamp.size)
        });
        size.unwrap_or(self.max_message).min(self.max_message)
    }

    /// What is known of a message file in this very state.
    pub(super) fn known(&self, folder: &FolderId, found: &Found) -> Option<Arc<Parsed>> {
        let mut cache = self.cache.lock();
        let known = cache.touch(folder)?.parsed.get(&found.id)?;
        (known.stamp == found.stamp).then(|| Arc::clone(known))
    }

    /// Looks through a message file; none where it is gone.
    pub(super) fn parse(&self, folder: &FolderId, found: &Found) -> io::Result<Option<Arc<Parsed>>> {
        let Some((_, file)) = self.open_message(folder, found)? else {
            return Ok(None);
        };
        let parsed = Arc::new(self.parse_file(&found.id, &file)?.0);
        self.cache.lock().keep(folder, &parsed);
        Ok(Some(parsed))
    }

    /// Looks through an open message file and answers its bytes too.
    /// The text of a message; none where it is gone.
    pub(super) fn text(&self, folder: &FolderId, id: &MessageId) -> io::Result<Option<String>> {
        let Some((_, mut file)) = self.locate(folder, id)? else {
            return Ok(None);
        };
        let mut raw = Vec::new();
        file.by_ref().take(self.max_message).read_to_end(&mut raw)?;
        let text = catch_unwind(AssertUnwindSafe(|| crate::mime::text(&raw)));
        Ok(Some(text.unwrap_or_default()))
    }

    pub(super) fn parse_file(
        &self,
        id: &MessageId,
        mut file: &File,
    ) -> io::Result<(Parsed, Vec<u8>, Inspected)> {
        self.parsed.fetch_add(1, Ordering::Relaxed);
        let stamp = stamp_of(file)?;
        let whole = stamp.size <= self.max_message;
        let mut raw = Vec::new();
        let limit = if whole { self.max_message } else { HEAD };
        file.by_ref().take(limit).read_to_end(&mut raw)?;
        // Should a message ever make the parser panic, that message is unreadable, and no other.
        let looked = catch_unwind(AssertUnwindSafe(|| {
            inspect_for(&raw, stamp.modified, self.wanted)
        }));
        let mut inspected = looked.unwrap_or_else(|_| unreadable(stamp.modified));
        if !whole {
            tracing::warn!(message = ?id, size = stamp.size, "the message is larger than max_message: its attachments are not shown");
            inspected.parts.clear();
            inspected.complete = false;
        }
        let message = Message {
            id: id.clone(),
            summary: inspected.summary.clone(),
            attachments: inspected
                .parts
                .iter()
                .map(|part| part.attachment.clone())
                .collect(),
            complete: inspected.complete,
            stamp: Box::default(),
        };
        let parts = inspected.parts.iter();
        let parsed = Parsed {
            stamp,
            message: Arc::new(message),
            parts: parts
                .map(|part| (part.attachment.id.clone(), part.body.clone(), part.encoding))
                .collect(),
        };
        Ok((parsed, raw, inspected))
    }

    /// Opens a message file, wherever its flags have moved it meanwhile; none where it is gone.
    fn open_message(&self, folder: &FolderId, found: &Found) -> io::Result<Option<(Located, File)>> {
        match self.open_found(folder, found)? {
            Some(open) => Ok(Some(open)),
            None => self.locate(folder, &found.id),
        }
    }

    /// Opens a message file under its name; none where it is not there any more.
    fn open_found(&self, folder: &FolderId, found: &Found) -> io::Result<Option<(Located, File)>> {
        let dir = self.folder_dir(folder)?;
        let sub = dir.sub(found.sub)?;
        match sub.open(&found.name) {
            Ok(file) => {
                let located = Located {
                    folder: dir,
                    sub,
                    name: found.name.clone(),
                };
                Ok(Some((located, file)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds a message by its id, asking the directory and no cache.
    pub(super) fn locate(&self, folder: &FolderId, id: &MessageId) -> io::Result<Option<(Located, File)>> {
        if let Some(guess) = self.guess(folder, id)? {
            return Ok(Some(guess));
        }
        // Twice: a message that changes its name while we look can be missed once.
        for sub in ["cur", "new", "cur"] {
            let dir = self.folder_dir(folder)?;
            let sub = dir.sub(sub)?;
            let names = sub.names()?.into_iter();
            let mut names = names.filter(|(name, _)| {
                split_name(name).is_some_and(|(its, flags)| its == &*id.0 && !flags.contains('T'))
            });
            let Some((name, _)) = names.next() else {
                continue;
            };
            match sub.open(&name) {
                Ok(file) => {
                    let located = Located {
                        folder: dir,
                        sub,
                        name,
                    };
                    return Ok(Some((located, file)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Opens a message under the name it had when it was last seen.
    fn guess(&self, folder: &FolderId, id: &MessageId) -> io::Result<Option<(Located, File)>> {
        let Some(all) = self.scanned(folder) else {
            return Ok(None);
        };
        let at = all.binary_search_by(|found| found.id.cmp(id)).ok();
        match at.and_then(|at| all.get(at)) {
            Some(found) => self.open_found(folder, found),
            None => Ok(None),
        }
    }

    /// The directory of a folder.
    pub(super) fn folder_dir(&self, folder: &FolderId) -> io::Result<Dir> {
        let place = Place::of(folder).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        self.root.walk(&place.path())
    }
}

/// Where a message file is.
#[derive(Debug)]
pub(super) struct Located {
    /// The folder's directory.
    pub(super) folder: Dir,
    /// Its `cur` or `new`.
    pub(super) sub: Dir,
    pub(super) name: String,
}

/// Id and flags of a message's file name.
pub(super) fn split_name(name: &str) -> Option<(&str, &str)> {
    if name.starts_with('.') {
        return None;
    }
    let (base, info) = name.split_once(':').unwrap_or((name, ""));
    let id = base.split(',').next().unwrap_or(base);
    (!id.is_empty()).then(|| (id, info.strip_prefix("2,").unwrap_or_default()))
}

fn unreadable(delivered: Timestamp) -> Inspected {
    Inspected {
        summary: Summary {
            received: delivered,
            ..Summary::default()
        },
        parts: Vec::new(),
        complete: false,
    }
}

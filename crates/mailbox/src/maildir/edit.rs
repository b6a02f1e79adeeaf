//! What changes messages: taking out a part, flags, moves, drafts.
//!
//! Invariants:
//! - A message file is never written in place. Its new form is whole and on disk under `tmp` before
//!   it takes the old one's place in one step; a crash at any point leaves the one or the other.
//! - The step swaps the two files and then looks whether the one swapped out is the one that was
//!   read: when another program changed the message meanwhile, the swap is undone and tried again.

use std::{
    io::{self, BufWriter, Read, Write},
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Inner,
    dir::{copy_attributes, stamp_of},
    layout::Place,
    scan::{Located, split_name},
};
use crate::{
    Draft, FolderId, MessageId, PartId,
    mime::{Envelope, compose, cut},
};

/// How often a change is tried again when other programs keep changing the message.
const TRIES: usize = 5;

impl Inner {
    /// Takes a part out of its message; false where either is gone.
    pub(super) fn delete_part(&self, folder: &FolderId, id: &MessageId, part: &PartId) -> io::Result<bool> {
        for _ in 0..TRIES {
            let Some((located, file)) = self.locate(folder, id)? else {
                return Ok(false);
            };
            let (_, raw, inspected) = self.parse_file(id, &file)?;
            let Some(part) = inspected.parts.iter().find(|p| p.attachment.id == *part) else {
                return Ok(false);
            };
            let shorter = cut(&raw, part);
            match replace(&located, &file, &shorter, &self.unique()?) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Removes a message; false where it is gone.
    pub(super) fn delete_message(&self, folder: &FolderId, id: &MessageId) -> io::Result<bool> {
        let mut any = false;
        while let Some((located, _)) = self.locate(folder, id)? {
            match located.sub.unlink(&located.name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            located.sub.sync()?;
            any = true;
        }
        Ok(any)
    }

    /// Sets the flag `T` (trashed); false where the message is gone.
    pub(super) fn soft_delete(&self, folder: &FolderId, id: &MessageId) -> io::Result<bool> {
        self.renamed(folder, id, folder, |name| {
            let base = name.split(':').next().unwrap_or(name);
            let flags = split_name(name).map_or("", |(_, flags)| flags);
            let mut flags: Vec<char> = flags.chars().chain(['T']).collect();
            flags.sort_unstable();
            flags.dedup();
            format!("{base}:2,{}", flags.into_iter().collect::<String>())
        })
    }

    /// Moves a message to another folder; false where it is gone.
    pub(super) fn move_message(&self, folder: &FolderId, id: &MessageId, to: &FolderId) -> io::Result<bool> {
        self.renamed(folder, id, to, |name| {
            if name.contains(':') {
                name.to_owned()
            } else {
                format!("{name}:2,")
            }
        })
    }

    fn renamed(
        &self,
        folder: &FolderId,
        id: &MessageId,
        to: &FolderId,
        name: impl Fn(&str) -> String,
    ) -> io::Result<bool> {
        let target = self.folder_dir(to)?.sub("cur")?;
        for _ in 0..TRIES {
            let Some((located, _)) = self.locate(folder, id)? else {
                return Ok(false);
            };
            match located.sub.rename(&located.name, &target, &name(&located.name)) {
                Ok(()) => {
                    target.sync()?;
                    located.sub.sync()?;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Makes a draft with what `content` gives attached, and answers its id.
    /// Delivers a whole message, unread.
    pub(super) fn import(&self, folder: &FolderId, content: &mut impl Read) -> io::Result<MessageId> {
        let dir = self.folder_dir(folder)?;
        let (tmp, new) = (dir.sub("tmp")?, dir.sub("new")?);
        let unique = self.unique()?;
        let mut file = tmp.create(&unique)?;
        let written = io::copy(content, &mut file)
            .and_then(|_| file.sync_all())
            .and_then(|()| tmp.rename(&unique, &new, &unique))
            .and_then(|()| new.sync());
        if let Err(error) = written {
            drop(tmp.unlink(&unique));
            return Err(error);
        }
        Ok(unique.as_str().into())
    }

    pub(super) fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: &mut impl Read,
    ) -> io::Result<MessageId> {
        let dir = self.folder_dir(folder)?;
        let (tmp, cur) = (dir.sub("tmp")?, dir.sub("cur")?);
        let unique = self.unique()?;
        let file = tmp.create(&unique)?;
        let envelope = Envelope {
            subject: &draft.subject,
            file_name: &draft.file_name,
            now: SystemTime::now(),
            unique: &unique.replace('.', "_"),
        };
        let mut out = BufWriter::with_capacity(256 * 1024, &file);
        let written = compose(&envelope, content, &mut out)
            .and_then(|()| out.flush())
            .and_then(|()| file.sync_all())
            .and_then(|()| tmp.rename(&unique, &cur, &format!("{unique}:2,DS")))
            .and_then(|()| cur.sync());
        if let Err(error) = written {
            // Whatever is left of it: under `tmp` it was never a message.
            drop(tmp.unlink(&unique));
            return Err(error);
        }
        Ok(unique.as_str().into())
    }

    /// A file under `tmp` of the root that has no name: gone when it is closed, whatever happens.
    pub(super) fn spool(&self) -> io::Result<std::fs::File> {
        let tmp = self.folder_dir(&Place::Inbox.id())?.sub("tmp")?;
        let name = self.unique()?;
        let file = tmp.create(&name)?;
        tmp.unlink(&name)?;
        Ok(file)
    }

    /// A unique name as Maildir wants it: time, process, count, and chance in place of the host.
    fn unique(&self) -> io::Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(format!(
            "{}.M{}P{}Q{}.{:016x}",
            now.as_secs(),
            now.subsec_micros(),
            std::process::id(),
            self.counter.fetch_add(1, Ordering::Relaxed),
            u64::from_be_bytes(chance),
        ))
    }
}

/// Puts `content` in the place of the message file `old`. False when it was not `old` any more that
/// stood there: nothing has changed then.
fn replace(located: &Located, old: &std::fs::File, content: &[u8], unique: &str) -> io::Result<bool> {
    let tmp = located.folder.sub("tmp")?;
    let mut new = tmp.create(unique)?;
    let swapped = (|| {
        new.write_all(content)?;
        copy_attributes(old, &new)?;
        new.sync_all()?;
        let name = resized(&located.name, content.len());
        if name != located.name {
            located.sub.rename(&located.name, &located.sub, &name)?;
        }
        if tmp.exchange(unique, &located.sub, &name)? {
            let out = tmp.stamp(unique)?.map(|stamp| stamp.inode);
            if out != Some(stamp_of(old)?.inode) {
                tmp.exchange(unique, &located.sub, &name)?;
                return Ok(false);
            }
        }
        Ok(true)
    })();
    match tmp.unlink(unique) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    located.sub.sync()?;
    swapped
}

/// The name with its size field (`,S=…`, which Dovecot trusts) set right, and the one that counts
/// line ends as two bytes (`,W=…`) dropped.
fn resized(name: &str, size: usize) -> String {
    let (base, info) = match name.find(':') {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let mut fields = base.split(',');
    let mut out = fields.next().unwrap_or_default().to_owned();
    for field in fields {
        if field.starts_with("W=") {
            continue;
        }
        out.push(',');
        if field.starts_with("S=") {
            out.push_str(&format!("S={size}"));
        } else {
            out.push_str(field);
        }
    }
    out + info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_names_stay_right() {
        for (name, want) in [
            ("1.2.host", "1.2.host"),
            ("1.2.host:2,S", "1.2.host:2,S"),
            ("1.2.host,S=400,W=410:2,RS", "1.2.host,S=7:2,RS"),
            ("1.2.host,U=3,S=400", "1.2.host,U=3,S=7"),
        ] {
            assert_eq!(resized(name, 7), want);
            assert_eq!(split_name(name).map(|n| n.0), split_name(want).map(|n| n.0));
        }
    }
}

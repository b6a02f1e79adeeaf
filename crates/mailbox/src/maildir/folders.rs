//! The tree of folders of a Maildir, and what changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{
    Inner,
    dir::Dir,
    fault,
    layout::{INBOX, Place, below_inbox, dotted_levels},
    scan::split_name,
};
use crate::{Folder, FolderId, FolderKind, utf7::decode};

/// How deep and how far is looked for mail below a directory that is no Maildir itself.
const LOOK_DEPTH: usize = 8;
const LOOK_ENTRIES: usize = 10_000;
/// The files that mail servers keep in a folder of their own accord.
const SERVERS_OWN: [&str; 4] = ["maildirfolder", "dovecot", "courier", "subscriptions"];

impl Inner {
    /// The folders directly below `parent`, by id.
    pub(super) fn children(&self, parent: Option<&FolderId>) -> FsResult<Vec<Folder>> {
        let place = parent.map(Place::of).transpose()?;
        let mut out = BTreeMap::new();
        let mut add = |place: Place, kind: FolderKind, name: String| {
            let folder = Folder {
                id: place.id(),
                name,
                kind,
            };
            // A folder of its own outranks the mere level that its sub-folders imply.
            let known = out.entry(place.id()).or_insert_with(|| folder.clone());
            if known.kind == FolderKind::Container {
                *known = folder;
            }
        };
        if place.is_none() {
            add(Place::Inbox, FolderKind::Inbox, "Inbox".into());
        }
        if let Some(Place::Nested(levels)) = &place {
            let dir = self.root.walk(&levels.join("/")).map_err(|e| fault(&e))?;
            for (name, kind) in nested(&dir).map_err(|e| fault(&e))? {
                let shown = decode(&name);
                add(
                    Place::Nested(levels.iter().cloned().chain([name]).collect()),
                    kind,
                    shown,
                );
            }
            return Ok(out.into_values().collect());
        }
        for levels in self.dotted().map_err(|e| fault(&e))? {
            let depth = match &place {
                None if below_inbox(&levels) => continue,
                None => 0,
                Some(Place::Inbox) if below_inbox(&levels) => 1,
                Some(Place::Dotted(parent)) if levels.len() > parent.len() && levels.starts_with(parent) => {
                    parent.len()
                }
                Some(_) => continue,
            };
            let child: Vec<String> = levels.iter().take(depth + 1).cloned().collect();
            let kind = if child.len() == levels.len() {
                FolderKind::Ordinary
            } else {
                FolderKind::Container
            };
            let name = child.last().map(|raw| decode(raw)).unwrap_or_default();
            add(Place::Dotted(child), kind, name);
        }
        if place.is_none() {
            for (name, kind) in nested(&self.root).map_err(|e| fault(&e))? {
                let shown = decode(&name);
                add(Place::Nested(vec![name]), kind, shown);
            }
        }
        Ok(out.into_values().collect())
    }

    /// The Maildir++ folders, as levels.
    fn dotted(&self) -> io::Result<BTreeSet<Vec<String>>> {
        let names = self.root.names()?.into_iter();
        let dirs = names.filter(|(_, is_dir)| *is_dir);
        let mut out = BTreeSet::new();
        for (name, _) in dirs {
            let Some(levels) = name.strip_prefix('.').and_then(dotted_levels) else {
                continue;
            };
            if is_maildir(&self.root, &name)? {
                out.insert(levels);
            }
        }
        Ok(out)
    }

    pub(super) fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder> {
        let parent = parent.map(Place::of).transpose()?;
        let place = Place::child(parent.as_ref(), name)?;
        let make = || -> io::Result<()> {
            let path = place.path();
            let (above, last) = match path.rsplit_once('/') {
                Some((above, last)) => (self.root.walk(above)?, last),
                None => (self.root.walk(INBOX)?, &*path),
            };
            // A mere level becomes a folder of its own; anything else that is there is in the way.
            match above.mkdir(last) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_maildir(&above, last)? => {}
                other => other?,
            }
            let dir = above.sub(last)?;
            if matches!(place, Place::Dotted(_)) {
                match dir.create("maildirfolder") {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => drop(other?),
                }
            }
            // `cur` last: it is what makes a directory a folder.
            for sub in ["tmp", "new", "cur"] {
                match dir.mkdir(sub) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other?,
                }
            }
            dir.sync()?;
            above.sync()
        };
        make().map_err(|error| fault(&error))?;
        Ok(Folder {
            id: place.id(),
            name: name.to_owned(),
            kind: FolderKind::Ordinary,
        })
    }

    pub(super) fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        let from = Place::of(folder)?;
        let parent = parent.map(Place::of).transpose()?;
        let to = match (&from, &parent) {
            // A nested folder that comes to the top stays nested.
            (Place::Nested(_), None) => {
                let Place::Nested(levels) = Place::child(Some(&Place::Nested(Vec::new())), name)? else {
                    return Err(FsErrorKind::InvalidName.into());
                };
                Place::Nested(levels)
            }
            _ => Place::child(parent.as_ref(), name)?,
        };
        match (&from, &to) {
            (Place::Dotted(old), Place::Dotted(new)) => self.rename_dotted(old, new).map_err(|e| fault(&e)),
            (Place::Nested(old), Place::Nested(_)) => {
                let below = self.below(&from)?;
                self.rename_nested(&from, &to).map_err(|e| fault(&e))?;
                let moved = |levels: &Vec<String>| {
                    let tail = levels.iter().skip(old.len()).cloned();
                    let Place::Nested(new) = &to else { return from.clone() };
                    Place::Nested(new.iter().cloned().chain(tail).collect())
                };
                let pairs = below.iter().map(|levels| (Place::Nested(levels.clone()).id(), moved(levels).id()));
                Ok(pairs.collect())
            }
            (Place::Inbox, _) => Err(FsError::new(FsErrorKind::Refused).context("the Inbox cannot be renamed")),
            _ => Err(FsError::new(FsErrorKind::Unsupported).context(
                "a folder cannot move between the two layouts of a Maildir (.Folder and Folder/); make a new one and move the messages",
            )),
        }
    }

    /// Renames `.A` and every `.A.…`, one by one: Maildir++ has no other way.
    fn rename_dotted(&self, old: &[String], new: &[String]) -> io::Result<Vec<(FolderId, FolderId)>> {
        let all = self.dotted()?;
        let pairs: Vec<(FolderId, FolderId)> = all
            .iter()
            .filter(|levels| levels.starts_with(old))
            .map(|levels| {
                let tail = levels.iter().skip(old.len()).cloned();
                let to: Vec<String> = new.iter().cloned().chain(tail).collect();
                (Place::Dotted(levels.clone()).id(), Place::Dotted(to).id())
            })
            .collect();
        for (_, to) in &pairs {
            if self.root.stamp(&to.0)?.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        for (from, to) in &pairs {
            self.root.rename(&from.0, &self.root, &to.0)?;
        }
        self.root.sync()?;
        Ok(pairs)
    }

    fn rename_nested(&self, from: &Place, to: &Place) -> io::Result<()> {
        let (from, to) = (from.path(), to.path());
        let open = |path: &str| match path.rsplit_once('/') {
            Some((above, last)) => Ok::<_, io::Error>((self.root.walk(above)?, last.to_owned())),
            None => Ok((self.root.walk(INBOX)?, path.to_owned())),
        };
        let ((from_dir, from), (to_dir, to)) = (open(&from)?, open(&to)?);
        from_dir.rename(&from, &to_dir, &to)?;
        to_dir.sync()?;
        from_dir.sync()
    }

    /// The levels of a nested folder and of all below it.
    fn below(&self, place: &Place) -> FsResult<Vec<Vec<String>>> {
        let mut out = Vec::new();
        let mut todo = vec![place.id()];
        while let Some(id) = todo.pop() {
            if let Place::Nested(levels) = Place::of(&id)? {
                out.push(levels);
            }
            todo.extend(self.children(Some(&id))?.into_iter().map(|folder| folder.id));
        }
        Ok(out)
    }

    pub(super) fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        let not_empty = |text: &str| FsError::new(FsErrorKind::NotEmpty).context(text);
        let place = Place::of(folder)?;
        if place == Place::Inbox {
            return Err(FsError::new(FsErrorKind::Refused).context("the Inbox cannot be deleted"));
        }
        if !self.children(Some(folder))?.is_empty() {
            return Err(not_empty("the folder holds other folders"));
        }
        let path = place.path();
        let (above, last) = match path.rsplit_once('/') {
            Some((above, last)) => (self.root.walk(above), last),
            None => (self.root.walk(INBOX), &*path),
        };
        let above = above.map_err(|e| fault(&e))?;
        let dir = above.sub(last).map_err(|e| fault(&e))?;
        let names = dir.names().map_err(|e| fault(&e))?;
        let own = |name: &str| SERVERS_OWN.iter().any(|own| name.starts_with(own));
        let subs = ["cur", "new", "tmp"];
        if names
            .iter()
            .any(|(name, is_dir)| !(own(name) || *is_dir && subs.contains(&&**name)))
        {
            return Err(not_empty("the folder holds files that are no messages"));
        }
        let messages = self.count(&dir).map_err(|e| fault(&e))?;
        if messages > 0 {
            return Err(not_empty(&format!(
                "the folder holds {messages} messages; some may have no attachment that is shown here"
            )));
        }
        // `rmdir` refuses what is not empty, so a message that comes now stops us, and nothing is lost.
        for (index, sub) in subs.iter().enumerate() {
            match dir.rmdir(sub) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    for gone in subs.iter().take(index) {
                        dir.mkdir(gone).map_err(|e| fault(&e))?;
                    }
                    return Err(fault(&error));
                }
                Ok(()) => {}
            }
        }
        for (name, is_dir) in names.iter().filter(|(name, _)| own(name)) {
            let removed = if *is_dir {
                dir.rmdir(name)
            } else {
                dir.unlink(name)
            };
            removed.map_err(|e| fault(&e))?;
        }
        above
            .rmdir(last)
            .and_then(|()| above.sync())
            .map_err(|e| fault(&e))?;
        self.cache.lock().forget(folder);
        Ok(())
    }

    /// How many messages there are, those marked as deleted included.
    fn count(&self, dir: &Dir) -> io::Result<usize> {
        let mut count = 0;
        for sub in ["cur", "new"] {
            match dir.sub(sub) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                sub => {
                    count += sub?
                        .names()?
                        .iter()
                        .filter(|(name, _)| split_name(name).is_some())
                        .count();
                }
            }
        }
        Ok(count)
    }
}

/// The nested folders of a directory: Maildirs, and directories that hold some further down.
fn nested(dir: &Dir) -> io::Result<Vec<(String, FolderKind)>> {
    let mut out = Vec::new();
    let mut budget = LOOK_ENTRIES;
    for (name, is_dir) in dir.names()? {
        if !is_dir || name.starts_with('.') || matches!(&*name, "cur" | "new" | "tmp") {
            continue;
        }
        if is_maildir(dir, &name)? {
            out.push((name, FolderKind::Ordinary));
        } else if holds_mail(&dir.sub(&name)?, LOOK_DEPTH, &mut budget)? {
            out.push((name, FolderKind::Container));
        }
    }
    Ok(out)
}

fn holds_mail(dir: &Dir, depth: usize, budget: &mut usize) -> io::Result<bool> {
    if depth == 0 {
        return Ok(false);
    }
    for (name, is_dir) in dir.names()? {
        *budget = budget.saturating_sub(1);
        if *budget == 0 {
            return Ok(false);
        }
        if is_dir
            && !name.starts_with('.')
            && (is_maildir(dir, &name)? || holds_mail(&dir.sub(&name)?, depth - 1, budget)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `name` is a directory with a `cur` in it.
fn is_maildir(dir: &Dir, name: &str) -> io::Result<bool> {
    match dir.sub(name) {
        Ok(sub) => Ok(sub.sub("cur").is_ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A link, or something that is no directory.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

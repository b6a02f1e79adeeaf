//! Own view (rule V1): the session that holds a write handle sees that path, with its live size, in
//! look-ups and listings; nobody else does before commit.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use portreeve_model::{Door, Name, VPath};
use portreeve_vfs::{Attrs, Entry, FsResult, Note, WriteFile};

use crate::allowance::Allowance;

/// A write handle of this session, under the name that its commit will give.
#[derive(Clone)]
pub(crate) struct Open {
    id: u64,
    pub(crate) file: Arc<dyn WriteFile>,
    pub(crate) allowance: Arc<Allowance>,
    /// What its storage says of it.
    pub(crate) note: Option<Note>,
    /// Set when the path was removed while the handle was open: its commit makes nothing.
    pub(crate) removed: Arc<std::sync::atomic::AtomicBool>,
}

impl Open {
    /// Sets size at once, mode and times at commit.
    pub(crate) async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        if let Some(size) = attrs.size {
            self.allowance.cover(size).await?;
        }
        self.file.set_attrs(attrs).await
    }
}

/// The open write handles of one session by path; of several on one path the latest is seen.
pub(crate) struct Pending {
    open: Mutex<State>,
    /// Whether the session is one client with handles (SFTP, FTPS). Over HTTPS many independent
    /// requests share a session: there an upload is seen by nobody before its commit.
    shown: bool,
}

#[derive(Default)]
struct State {
    next: u64,
    by_path: HashMap<VPath, Vec<Open>>,
}

impl State {
    fn take(&mut self, id: u64) -> Option<Open> {
        let mut found = None;
        self.by_path.retain(|_, opens| {
            if let Some(at) = opens.iter().position(|open| open.id == id) {
                found = Some(opens.remove(at));
            }
            !opens.is_empty()
        });
        found
    }
}

impl Pending {
    pub(crate) fn of(door: Door) -> Self {
        let shown = match door {
            Door::Sftp | Door::Ftps => true,
            Door::Https | Door::Console => false,
        };
        Self {
            open: Mutex::default(),
            shown,
        }
    }

    /// Enters a handle and answers its ticket.
    pub(crate) fn enter(
        &self,
        path: VPath,
        file: Arc<dyn WriteFile>,
        allowance: Allowance,
        note: Option<Note>,
    ) -> Open {
        let mut state = self.open.lock();
        state.next += 1;
        let open = Open {
            id: state.next,
            file,
            allowance: Arc::new(allowance),
            note,
            removed: Arc::default(),
        };
        if self.shown {
            state.by_path.entry(path).or_default().push(open.clone());
        }
        open
    }

    /// Takes a handle out, wherever a rename has put it.
    pub(crate) fn leave(&self, ticket: &Open) {
        self.open.lock().take(ticket.id);
    }

    /// Where a handle stands now.
    pub(crate) fn path_of(&self, ticket: &Open) -> Option<VPath> {
        let state = self.open.lock();
        let found = state
            .by_path
            .iter()
            .find(|(_, opens)| opens.iter().any(|open| open.id == ticket.id));
        found.map(|(path, _)| path.clone())
    }

    /// The latest handle on a path.
    pub(crate) fn at(&self, path: &VPath) -> Option<Open> {
        let state = self.open.lock();
        state.by_path.get(path).and_then(|opens| opens.last()).cloned()
    }

    /// Gives a handle the path `to`.
    pub(crate) fn moved(&self, ticket: &Open, to: VPath) {
        let mut state = self.open.lock();
        let was_there = state.take(ticket.id);
        state.by_path.entry(to).or_default().extend(was_there);
    }

    /// A directory was renamed: the handles below it go with it.
    pub(crate) fn moved_below(&self, from: &VPath, to: &VPath) {
        let mut state = self.open.lock();
        let below: Vec<VPath> = state
            .by_path
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for old in below {
            let new = old.strip_prefix(from).and_then(|within| to.append(&within).ok());
            if let (Some(new), Some(opens)) = (new, state.by_path.remove(&old)) {
                state.by_path.entry(new).or_default().extend(opens);
            }
        }
    }

    /// Takes all handles of a path out, marked as removed.
    pub(crate) fn removed(&self, path: &VPath) -> Vec<Open> {
        let opens = self.open.lock().by_path.remove(path).unwrap_or_default();
        for open in &opens {
            open.removed.store(true, std::sync::atomic::Ordering::Release);
        }
        opens
    }

    /// Whether anything is open at all: the common answer is no, and costs no allocation.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.lock().by_path.is_empty()
    }

    /// The entries of the handles directly in `dir`.
    pub(crate) async fn in_dir(&self, dir: &VPath) -> FsResult<HashMap<Name, Entry>> {
        let here: Vec<(Name, Open)> = {
            let state = self.open.lock();
            let below = state
                .by_path
                .iter()
                .filter(|(path, _)| path.parent().as_ref() == Some(dir));
            below
                .filter_map(|(path, opens)| Some((path.file_name()?, opens.last()?.clone())))
                .collect()
        };
        let mut entries = HashMap::new();
        for (name, open) in here {
            let mut entry = open.file.entry().await?;
            entry.name = Some(name.clone());
            entries.insert(name, entry);
        }
        Ok(entries)
    }
}

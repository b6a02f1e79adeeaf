//! What the cache remembers.
//!
//! Invariant: an answer is learnt only if nothing changed between asking and learning.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use portreeve_model::VPath;
use tokio::time::Instant;

use super::CacheLimits;
use crate::{Entry, FileKind, Links};

pub(super) struct Memo {
    ttl: Duration,
    entries: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<VPath, (Entry, u64, Instant)>,
    /// In the order of learning; a number that `known` no longer has is passed over.
    order: VecDeque<(VPath, u64)>,
    next: u64,
    changes: u64,
}

/// When a question was asked, counted in changes.
#[derive(Clone, Copy)]
pub(super) struct Asked(u64);

/// Forgets when it ends, however it ends: a change that failed or was cut off may have happened.
pub(super) struct Change<'a> {
    memo: &'a Memo,
    paths: Vec<VPath>,
    all: bool,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut state = self.memo.state.lock();
        state.changes += 1;
        if self.all {
            state.known.clear();
            state.order.clear();
        }
        for path in &self.paths {
            state.forget(path);
        }
    }
}

impl Memo {
    pub(super) fn new(limits: CacheLimits) -> Self {
        Self {
            ttl: limits.ttl,
            entries: limits.entries,
            state: Mutex::default(),
        }
    }

    pub(super) fn find(&self, path: &VPath) -> Option<Entry> {
        let state = self.state.lock();
        let (entry, _, since) = state.known.get(path)?;
        (since.elapsed() < self.ttl).then(|| entry.clone())
    }

    pub(super) fn ask(&self) -> Asked {
        Asked(self.state.lock().changes)
    }

    /// Remembers an answer about the entry itself, not about what it may point at.
    pub(super) fn learn(&self, asked: Asked, path: &VPath, entry: &Entry) {
        let mut state = self.state.lock();
        if entry.kind == FileKind::Symlink || asked.0 != state.changes || self.entries == 0 {
            return;
        }
        state.next += 1;
        let number = state.next;
        state
            .known
            .insert(path.clone(), (entry.clone(), number, Instant::now()));
        state.order.push_back((path.clone(), number));
        while state.known.len() > self.entries || state.order.len() > self.entries.saturating_mul(2) {
            let Some((oldest, number)) = state.order.pop_front() else {
                return;
            };
            if state.known.get(&oldest).is_some_and(|known| known.1 == number) {
                state.known.remove(&oldest);
            }
        }
    }

    pub(super) fn change(&self, paths: &[&VPath]) -> Change<'_> {
        Change {
            memo: self,
            paths: paths.iter().map(|path| (*path).clone()).collect(),
            all: false,
        }
    }

    /// A change of what `path` leads to, which may be elsewhere where there are symbolic links.
    pub(super) fn change_through(&self, path: &VPath, links: Links, symlinks: bool) -> Change<'_> {
        let mut change = self.change(&[path]);
        change.all = symlinks && links == Links::Follow;
        change
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().known.len()
    }
}

impl State {
    /// Forgets `path`, all below it, and its directory, whose time and size changed with it.
    fn forget(&mut self, path: &VPath) {
        if let Some(parent) = path.parent() {
            self.known.remove(&parent);
        }
        let from_here = self.known.range(path.clone()..).map(|(known, _)| known);
        let sharing = from_here.take_while(|known| known.as_bytes().starts_with(path.as_bytes()));
        let gone: Vec<VPath> = sharing.filter(|known| known.starts_with(path)).cloned().collect();
        for known in gone {
            self.known.remove(&known);
        }
    }
}

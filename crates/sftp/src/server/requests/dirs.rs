//! OPENDIR, READDIR, MKDIR (draft-ietf-secsh-filexfer-02 §6.6, §6.7).
//!
//! A reply holds about 32 KiB of names: enough to make round trips rare, and what every client takes.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::Context,
    time::{SystemTime, UNIX_EPOCH},
};

use portreeve_session::{FsResult, Removal};
use tokio::sync::Mutex;

use super::{Begun, attrs, refuse};
use crate::{
    server::{
        engine::{Engine, Reply},
        handles::{DirState, Directory, Open},
    },
    wire::{Handle, Names, Status, WireAttrs},
};

/// Bytes of names in one reply.
pub(super) const REPLY: usize = 32 * 1024;

/// Longest form of one name: it comes twice, with its numbers.
const LONGEST: usize = 2 * 255 + 128;

/// Entries asked of the storage at once.
const ASKED: usize = 256;

impl Engine {
    pub(super) fn open_dir(&mut self, begun: Begun, cx: &mut Context<'_>) {
        if let Some(reply) = self.refuse_handle() {
            return self.done(begun, reply);
        }
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "OPENDIR needs a path"));
        };
        let env = Arc::clone(&self.env);
        let work = async move {
            let listing = env.session.fs().list(&path, None).await;
            Reply::Opened(listing.map(|listing| {
                let left = VecDeque::new();
                let state = Arc::new(Mutex::new(DirState { listing, left }));
                Open::Dir(Directory { path, state })
            }))
        };
        self.start(begun, Box::pin(work), cx);
    }

    pub(super) fn read_dir(&mut self, begun: Begun, handle: Handle, cx: &mut Context<'_>) {
        let id = begun.id;
        let dir = match self.find(handle) {
            Ok((_, Open::Dir(dir))) => dir.clone(),
            Ok(_) => return self.done(begun, refuse(Status::Failure, "it is not a directory")),
            Err(reply) => return self.done(begun, reply),
        };
        let pool = Arc::clone(&self.env.pool);
        let work = async move {
            let mut state = dir.state.lock().await;
            let out = pool.take(REPLY);
            match fill(id, &mut state, out).await {
                Ok(Some(packet)) => Reply::Packet(packet),
                Ok(None) => refuse(Status::Eof, "end of directory").into(),
                Err(error) => Reply::failure(&error),
            }
        };
        self.start(begun, Box::pin(work), cx);
    }

    pub(super) fn make_dir(&mut self, begun: Begun, attrs: WireAttrs, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "MKDIR needs a path"));
        };
        let env = Arc::clone(&self.env);
        let set = attrs::to_set(&WireAttrs { size: None, ..attrs });
        let work = async move { Reply::of(env.session.fs().make_dir(&path, set).await) };
        self.start(begun, Box::pin(work), cx);
    }

    pub(super) fn remove(&mut self, begun: Begun, what: Removal, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "a path is needed"));
        };
        let env = Arc::clone(&self.env);
        let work = async move { Reply::of(env.session.fs().remove(&path, what).await) };
        self.start(begun, Box::pin(work), cx);
    }
}

/// The next names; none at the end.
async fn fill(id: u32, state: &mut DirState, mut out: Vec<u8>) -> FsResult<Option<Vec<u8>>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut names = Names::begin(&mut out, id);
    loop {
        while let Some(entry) = state.left.pop_front() {
            let Some(name) = &entry.name else { continue };
            let wire = attrs::to_wire(&entry);
            names.add(&mut out, name.as_bytes(), &wire, entry.links.unwrap_or(1), now);
            if out.len() + LONGEST > REPLY {
                names.end(&mut out);
                return Ok(Some(out));
            }
        }
        // A storage that fails in the middle is told of with the next request: what is here goes out.
        match state.listing.next(ASKED).await {
            Ok(more) if more.is_empty() => break,
            Ok(more) => state.left.extend(more),
            Err(_) if names.count() > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if names.count() == 0 {
        return Ok(None);
    }
    names.end(&mut out);
    Ok(Some(out))
}

//! STAT, LSTAT, FSTAT, SETSTAT, FSETSTAT (draft-ietf-secsh-filexfer-02 §6.8, §6.9), `lsetstat@openssh.com`.

use std::{sync::Arc, task::Context};

use portreeve_model::{Timestamp, VPath};
use portreeve_session::{Attrs, Entry, FileKind, FsErrorKind, FsResult, Links, Session};

use super::{Begun, refuse};
use crate::{
    server::{
        engine::{Engine, Refusal, Reply},
        handles::Open,
    },
    wire::{self, Handle, Status, WireAttrs},
};

impl Engine {
    pub(super) fn stat(&mut self, begun: Begun, links: Links, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "a path is needed"));
        };
        let env = Arc::clone(&self.env);
        let id = begun.id;
        let work = async move { attrs(id, look_up(&env.session, &path, links).await) };
        self.start(begun, Box::pin(work), cx);
    }

    pub(super) fn fstat(&mut self, begun: Begun, handle: Handle, cx: &mut Context<'_>) {
        let id = begun.id;
        match self.find(handle) {
            Ok((_, Open::Read(download))) => {
                let reply = attrs(id, Ok(download.entry().clone()));
                self.done(begun, reply);
            }
            Ok((_, Open::Write(writer))) => {
                let upload = Arc::clone(&writer.upload);
                let work = async move { attrs(id, upload.entry().await) };
                self.start(begun, Box::pin(work), cx);
            }
            Ok((_, Open::Dir(dir))) => {
                let env = Arc::clone(&self.env);
                let path = dir.path.clone();
                let work = async move { attrs(id, env.session.fs().stat(&path, Links::Follow).await) };
                self.start(begun, Box::pin(work), cx);
            }
            Err(reply) => self.done(begun, reply),
        }
    }

    pub(super) fn set_stat(&mut self, begun: Begun, attrs: WireAttrs, links: Links, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "a path is needed"));
        };
        if let Some(reply) = refuse_owner(&attrs) {
            return self.done(begun, reply);
        }
        let env = Arc::clone(&self.env);
        let set = to_set(&attrs);
        let work = async move { Reply::of(env.session.fs().set_attrs(&path, set, links).await) };
        self.start(begun, Box::pin(work), cx);
    }

    pub(super) fn fset_stat(&mut self, begun: Begun, handle: Handle, attrs: WireAttrs, cx: &mut Context<'_>) {
        if let Some(reply) = refuse_owner(&attrs) {
            return self.done(begun, reply);
        }
        let set = to_set(&attrs);
        let path = match self.find(handle) {
            Ok((_, Open::Write(writer))) => {
                let upload = Arc::clone(&writer.upload);
                let work = async move { Reply::of(upload.set_attrs(set).await) };
                return self.start(begun, Box::pin(work), cx);
            }
            Ok((_, Open::Read(_))) if set.size.is_some() => {
                return self.done(
                    begun,
                    refuse(Status::PermissionDenied, "the handle is not open for writing"),
                );
            }
            Ok((_, open)) => open.path(),
            Err(reply) => return self.done(begun, reply),
        };
        let env = Arc::clone(&self.env);
        let work = async move { Reply::of(env.session.fs().set_attrs(&path, set, Links::Follow).await) };
        self.start(begun, Box::pin(work), cx);
    }
}

/// What is there; where the caller left an upload of that very name unfinished, that one's size (V2): it
/// is where a resume goes on, whatever older file is still visible under the name.
async fn look_up(session: &Session, path: &VPath, links: Links) -> FsResult<Entry> {
    let found = session.fs().stat(path, links).await;
    let worth_asking = match &found {
        Ok(entry) => entry.is_file(),
        Err(error) => error.kind() == FsErrorKind::NotFound,
    };
    if !worth_asking {
        return found;
    }
    let Ok(Some(partial)) = session.fs().partial(path).await else {
        return found;
    };
    let mut entry = found.unwrap_or_else(|_| Entry::bare(path.file_name(), FileKind::File));
    entry.size = Some(partial.size);
    entry.modified = Some(partial.modified);
    Ok(entry)
}

fn attrs(id: u32, found: FsResult<Entry>) -> Reply {
    match found {
        Ok(entry) => {
            let mut out = Vec::with_capacity(64);
            wire::attrs(&mut out, id, &to_wire(&entry));
            Reply::Packet(out)
        }
        Err(error) => Reply::failure(&error),
    }
}

/// CHOWN alone is refused; together with something else (`put -p`, `rsync`-like clients) it is left out.
fn refuse_owner(attrs: &WireAttrs) -> Option<Refusal> {
    let alone = WireAttrs {
        owner: attrs.owner,
        ..WireAttrs::default()
    };
    (attrs.owner.is_some() && *attrs == alone)
        .then(|| refuse(Status::OpUnsupported, "owners cannot be changed here"))
}

pub(super) fn to_set(attrs: &WireAttrs) -> Attrs {
    Attrs {
        size: attrs.size,
        mode: attrs.permissions.map(|mode| mode & 0o777),
        modified: attrs.times.map(|(_, at)| Timestamp::from_seconds(at.into())),
        accessed: attrs.times.map(|(at, _)| Timestamp::from_seconds(at.into())),
    }
}

/// Version 3 tells what kind a file is by its permissions alone; where a storage has none, the usual
/// ones are told, for without them clients take a directory for a file.
pub(super) fn to_wire(entry: &Entry) -> WireAttrs {
    let (kind, usual) = match entry.kind {
        FileKind::Dir => (0o040_000, 0o755),
        FileKind::File => (0o100_000, 0o644),
        FileKind::Symlink => (0o120_000, 0o777),
        FileKind::Other => (0o020_000, 0o000),
    };
    let changed = entry.modified.map(seconds);
    let accessed = entry.accessed.map(seconds).or(changed);
    WireAttrs {
        size: entry.size.or(entry.is_dir().then_some(0)),
        owner: entry.owner,
        permissions: Some(kind | entry.mode.unwrap_or(usual) & 0o7777),
        times: accessed.zip(changed),
    }
}

/// Version 3 ends in 2106.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.seconds.max(0)).unwrap_or(u32::MAX)
}

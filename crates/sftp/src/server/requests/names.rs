//! RENAME, REALPATH, READLINK (draft-ietf-secsh-filexfer-02 §6.5, §6.10, §6.11), `posix-rename@openssh.com`.

use std::{sync::Arc, task::Context};

use portreeve_session::Rename;

use super::{Begun, refuse};
use crate::{
    server::engine::{Engine, Reply},
    wire::{Names, Status},
};

impl Engine {
    pub(super) fn rename(&mut self, begun: Begun, how: Rename, cx: &mut Context<'_>) {
        let [Some(from), Some(to)] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "two paths are needed"));
        };
        let env = Arc::clone(&self.env);
        let work = async move { Reply::of(env.session.fs().rename(&from, &to, how).await) };
        self.start(begun, Box::pin(work), cx);
    }

    /// The normal form of a path. Nothing need be there: `put -r` asks before it makes a directory.
    pub(super) fn real_path(&mut self, begun: Begun, _cx: &mut Context<'_>) {
        let reply = match &begun.paths {
            [Some(path), _] => bare_name(begun.id, path.as_bytes()),
            _ => refuse(Status::Failure, "a path is needed").into(),
        };
        self.done(begun, reply);
    }

    pub(super) fn read_link(&mut self, begun: Begun, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "a path is needed"));
        };
        let env = Arc::clone(&self.env);
        let id = begun.id;
        let work = async move {
            match env.session.fs().read_link(&path).await {
                Ok(target) => bare_name(id, &target),
                Err(error) => Reply::failure(&error),
            }
        };
        self.start(begun, Box::pin(work), cx);
    }
}

pub(super) fn bare_name(id: u32, name: &[u8]) -> Reply {
    let mut out = Vec::new();
    let mut names = Names::begin(&mut out, id);
    names.add_bare(&mut out, name);
    names.end(&mut out);
    Reply::Packet(out)
}

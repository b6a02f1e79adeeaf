//! EXTENDED (draft-ietf-secsh-filexfer-02 §8, OpenSSH `PROTOCOL` §4).

use std::{sync::Arc, task::Context};

use portreeve_session::{FsErrorKind, FsResult, Links, Rename};

use super::{Begun, names::bare_name, refuse};
use crate::{
    SftpOptions,
    server::{
        claims::Claim,
        engine::{Engine, Env, Refusal, Reply},
        handles::{MAX_HANDLES, Open},
    },
    wire::{self, Extension, Handle, Status},
};

/// Bytes copied at once by `copy-data`.
const COPIED: usize = 256 * 1024;

/// What VERSION tells.
pub(super) fn offered(options: &SftpOptions) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("fstatvfs@openssh.com", "2"),
        ("fsync@openssh.com", "1"),
        ("lsetstat@openssh.com", "1"),
        ("limits@openssh.com", "1"),
        ("expand-path@openssh.com", "1"),
        ("copy-data", "1"),
        ("home-directory", "1"),
        ("users-groups-by-id@openssh.com", "1"),
    ];
    if options.hard_links {
        all.push(("hardlink@openssh.com", "1"));
    }
    all
}

impl Engine {
    pub(super) fn plan_extension(&self, extension: &Extension) -> Result<Claim, Refusal> {
        Ok(match extension {
            Extension::PosixRename { from, to } => Claim::two(self.path(from)?, self.path(to)?),
            Extension::StatVfs { path } => Claim::shared(self.path(path)?),
            Extension::FStatVfs { handle } => self.handle_claim(*handle)?,
            Extension::HardLink { .. } if !self.env.options.hard_links => {
                return Err(refuse(Status::PermissionDenied, "hard links cannot be made here"));
            }
            Extension::HardLink { existing, new } => Claim::two(self.path(existing)?, self.path(new)?),
            Extension::FSync { handle } => self.handle_claim(*handle)?.exclusive(),
            Extension::LSetStat { path, .. } => Claim::barrier(self.path(path)?),
            Extension::ExpandPath { path } => Claim::shared(self.path(expand(path)?)?),
            Extension::HomeDirectory { user } => {
                if !user.is_empty() && **user != *self.env.session.user().as_str().as_bytes() {
                    return Err(refuse(
                        Status::PermissionDenied,
                        "only your own home directory can be asked for",
                    ));
                }
                Claim::default()
            }
            Extension::CopyData { from, to, .. } => {
                let mut claim = self.handle_claim(*from)?.exclusive();
                let other = self.handle_claim(*to)?;
                let ([from, _], [to, _]) = (claim.handles, other.handles);
                claim.handles = [from, to];
                claim
            }
            Extension::Limits | Extension::UsersGroupsById { .. } => Claim::default(),
            Extension::Unknown(name) => {
                let text = format!("no such extension: {}", name.escape_ascii());
                let text = text.chars().take(200).collect::<String>();
                return Err(Refusal(Status::OpUnsupported, text.into()));
            }
        })
    }

    pub(super) fn extended(&mut self, begun: Begun, extension: &Extension, cx: &mut Context<'_>) {
        match *extension {
            Extension::PosixRename { .. } => self.rename(begun, Rename::Replace, cx),
            Extension::StatVfs { .. } | Extension::FStatVfs { .. } => self.stat_vfs(begun, cx),
            Extension::HardLink { .. } => self.hard_link(begun, cx),
            Extension::FSync { handle } => self.fsync(begun, handle, cx),
            Extension::LSetStat { attrs, .. } => self.set_stat(begun, attrs, Links::Keep, cx),
            Extension::ExpandPath { .. } => self.real_path(begun, cx),
            Extension::HomeDirectory { .. } => {
                let reply = bare_name(begun.id, self.env.session.fs().home().as_bytes());
                self.done(begun, reply);
            }
            Extension::CopyData {
                from,
                from_offset,
                len,
                to,
                to_offset,
            } => {
                let len = if len == 0 { u64::MAX } else { len };
                self.copy_data(begun, (from, from_offset), len, (to, to_offset), cx);
            }
            Extension::Limits => {
                let mut out = Vec::new();
                wire::limits(&mut out, begun.id, MAX_HANDLES as u64);
                self.done(begun, Reply::Packet(out));
            }
            Extension::UsersGroupsById { users, groups } => {
                let reply = no_names(begun.id, users, groups);
                self.done(begun, reply);
            }
            Extension::Unknown(_) => self.done(begun, refuse(Status::OpUnsupported, "no such extension")),
        }
    }

    fn stat_vfs(&mut self, begun: Begun, cx: &mut Context<'_>) {
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "a path is needed"));
        };
        let env = Arc::clone(&self.env);
        let id = begun.id;
        let work = async move {
            let space = match env.session.fs().space(&path).await {
                Ok(space) => space,
                Err(error) => return Reply::failure(&error),
            };
            const BLOCK: u64 = 4096;
            let mut out = Vec::new();
            let fields = [
                BLOCK,
                BLOCK,
                space.total / BLOCK,
                space.free / BLOCK,
                space.available / BLOCK,
                space.files,
                space.files_free,
                space.files_free,
                0,
                2, // ST_NOSUID
                space.name_max,
            ];
            wire::space(&mut out, id, fields);
            Reply::Packet(out)
        };
        self.start(begun, Box::pin(work), cx);
    }

    fn hard_link(&mut self, begun: Begun, cx: &mut Context<'_>) {
        let [Some(existing), Some(new)] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "two paths are needed"));
        };
        let env = Arc::clone(&self.env);
        let work = async move { Reply::of(env.session.fs().link(&existing, &new).await) };
        self.start(begun, Box::pin(work), cx);
    }

    fn copy_data(
        &mut self,
        begun: Begun,
        (from, at): (Handle, u64),
        len: u64,
        (to, to_at): (Handle, u64),
        cx: &mut Context<'_>,
    ) {
        if from == to {
            return self.done(begun, refuse(Status::Failure, "copy-data needs two handles"));
        }
        let source = match self.find(from) {
            Ok((_, Open::Read(download))) => Arc::clone(download),
            Ok(_) => {
                return self.done(
                    begun,
                    refuse(Status::Failure, "the first handle is not open for reading"),
                );
            }
            Err(reply) => return self.done(begun, reply),
        };
        let target = match self.find(to) {
            Ok((_, Open::Write(writer))) => Arc::clone(&writer.upload),
            Ok(_) => {
                return self.done(
                    begun,
                    refuse(Status::Failure, "the second handle is not open for writing"),
                );
            }
            Err(reply) => return self.done(begun, reply),
        };
        let env = Arc::clone(&self.env);
        let work = async move { Reply::of(copy(&env, &source, at, len, &target, to_at).await) };
        self.start(begun, Box::pin(work), cx);
    }
}

/// `~` and `~/…` are the home directory; nobody else's is known here.
fn expand(path: &[u8]) -> Result<&[u8], Refusal> {
    match path {
        [b'~'] => Ok(b""),
        [b'~', b'/', rest @ ..] => Ok(without_slashes(rest)),
        [b'~', ..] => Err(refuse(
            Status::PermissionDenied,
            "only your own home directory is known",
        )),
        path => Ok(path),
    }
}

/// Leading slashes would make a path absolute.
fn without_slashes(path: &[u8]) -> &[u8] {
    let first = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    path.get(first..).unwrap_or_default()
}

async fn copy(
    env: &Env,
    source: &portreeve_session::Download,
    mut at: u64,
    mut len: u64,
    target: &portreeve_session::Upload,
    mut to: u64,
) -> FsResult<()> {
    while len > 0 {
        let step = len.min(COPIED as u64) as usize;
        let data = source.read(at, step, Vec::new()).await?;
        if data.is_empty() {
            break;
        }
        let copied = data.len() as u64;
        target.write(to, vec![data.into()]).await?;
        at += copied;
        to = to.checked_add(copied).ok_or(FsErrorKind::OutOfRange)?;
        len -= copied;
        env.session.touch();
    }
    Ok(())
}

/// No name service is asked: every name is empty, and clients show the numbers.
fn no_names(id: u32, users: usize, groups: usize) -> Reply {
    let mut out = Vec::new();
    wire::extended(&mut out, id, |out| {
        for count in [users, groups] {
            out.extend_from_slice(&((count * 4) as u32).to_be_bytes());
            out.resize(out.len() + count * 4, 0);
        }
    });
    Reply::Packet(out)
}

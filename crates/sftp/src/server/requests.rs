//! From a request to its work: what it claims, how much room its reply needs, and who does it.
//!
//! One file for each family; each is headed by the section of the draft that it answers to.

mod attrs;
mod data;
mod dirs;
mod extensions;
mod names;
mod open;

use std::{borrow::Cow, task::Context};

use portreeve_model::VPath;

use super::{
    claims::{Claim, Ticket},
    engine::{Engine, Phase, Refusal, Reply, Work},
    flow::Room,
    handles::Open,
};
use crate::wire::{self, Extension, Handle, Incoming, MAX_DATA, Request, Status};

/// Room for a reply without data.
const SMALL: usize = 1024;

/// A request that may begin.
struct Begun {
    ticket: Ticket,
    id: u32,
    room: Room,
    /// The paths of its claim.
    paths: [Option<VPath>; 2],
}

impl Engine {
    /// Begins a request, or puts it back; answers whether something happened.
    pub(super) fn begin(&mut self, incoming: Incoming, cx: &mut Context<'_>) -> bool {
        let planned = match &incoming.request {
            Some(request) => self.plan(request),
            None => Err(refuse(Status::BadMessage, "the packet is malformed")),
        };
        let claim = match planned {
            Ok(claim) => claim,
            Err(reply) => {
                return match self.flow.room(SMALL) {
                    Some(room) => self.answer(incoming.id, room, reply.into()),
                    None => self.put_back(incoming),
                };
            }
        };
        if !self.claims.is_free(&claim) {
            return self.put_back(incoming);
        }
        let Some(room) = self.flow.room(room_for(&incoming)) else {
            return self.put_back(incoming);
        };
        let Incoming {
            id,
            request: Some(request),
        } = incoming
        else {
            return true;
        };
        let paths = claim.paths.clone();
        let ticket = self.claims.hold(claim);
        let begun = Begun {
            ticket,
            id,
            room,
            paths,
        };
        self.launch(begun, request, cx);
        true
    }

    /// What a request touches, or why it cannot be.
    fn plan(&mut self, request: &Request) -> Result<Claim, Refusal> {
        if !self.greeted {
            let Request::Init = request else {
                self.phase = Phase::Broken("this is not SFTP: the first packet must be INIT".to_owned());
                return Err(refuse(Status::BadMessage, "INIT comes first"));
            };
            return Ok(Claim::default());
        }
        Ok(match request {
            Request::Init => return Err(refuse(Status::BadMessage, "INIT comes once")),
            Request::Unknown(kind) => {
                let text = format!("SFTP version 3 has no request {kind}");
                return Err(Refusal(Status::OpUnsupported, text.into()));
            }
            Request::Open { path, .. } => Claim::barrier(self.path(path)?),
            Request::Close { handle } => self.close_claim(*handle)?,
            Request::Read { handle, offset, len } => {
                self.handle_claim(*handle)?
                    .range(*offset, u64::from((*len).min(MAX_DATA)), false)
            }
            Request::Write { handle, offset, data } => {
                let len = data.iter().map(|piece| piece.len() as u64).sum();
                self.write_claim(*handle, *offset, len)?
            }
            Request::Fstat { handle } | Request::ReadDir { handle } => self.handle_claim(*handle)?,
            Request::FSetStat { handle, .. } => self.handle_claim(*handle)?.exclusive(),
            Request::Lstat { path }
            | Request::Stat { path }
            | Request::OpenDir { path }
            | Request::RealPath { path }
            | Request::ReadLink { path } => Claim::shared(self.path(path)?),
            Request::SetStat { path, .. }
            | Request::Remove { path }
            | Request::MkDir { path, .. }
            | Request::RmDir { path } => Claim::barrier(self.path(path)?),
            Request::Rename { from, to } => Claim::two(self.path(from)?, self.path(to)?),
            Request::SymLink { .. } => {
                return Err(refuse(
                    Status::OpUnsupported,
                    "symbolic links cannot be made here",
                ));
            }
            Request::Extended(extension) => self.plan_extension(extension)?,
        })
    }

    fn launch(&mut self, begun: Begun, request: Request, cx: &mut Context<'_>) {
        match request {
            Request::Init => self.greet(begun),
            Request::Open { flags, attrs, .. } => self.open(begun, flags, attrs, cx),
            Request::Close { handle } => self.close_handle(begun, handle, cx),
            Request::Read { handle, offset, len } => self.read(begun, handle, offset, len, cx),
            Request::Write { handle, offset, data } => self.write(begun, handle, offset, data, cx),
            Request::Lstat { .. } => self.stat(begun, portreeve_session::Links::Keep, cx),
            Request::Stat { .. } => self.stat(begun, portreeve_session::Links::Follow, cx),
            Request::Fstat { handle } => self.fstat(begun, handle, cx),
            Request::SetStat { attrs, .. } => {
                self.set_stat(begun, attrs, portreeve_session::Links::Follow, cx);
            }
            Request::FSetStat { handle, attrs } => self.fset_stat(begun, handle, attrs, cx),
            Request::OpenDir { .. } => self.open_dir(begun, cx),
            Request::ReadDir { handle } => self.read_dir(begun, handle, cx),
            Request::MkDir { attrs, .. } => self.make_dir(begun, attrs, cx),
            Request::RmDir { .. } => self.remove(begun, portreeve_session::Removal::Dir, cx),
            Request::Remove { .. } => self.remove(begun, portreeve_session::Removal::File, cx),
            Request::Rename { .. } => self.rename(begun, portreeve_session::Rename::NoReplace, cx),
            Request::RealPath { .. } => self.real_path(begun, cx),
            Request::ReadLink { .. } => self.read_link(begun, cx),
            Request::Extended(extension) => self.extended(begun, &extension, cx),
            Request::SymLink { .. } | Request::Unknown(_) => {
                let reply = refuse(Status::OpUnsupported, "not supported");
                self.done(begun, reply);
            }
        }
    }

    fn start(&mut self, begun: Begun, work: Work, cx: &mut Context<'_>) {
        self.run(begun.ticket, begun.id, begun.room, work, cx);
    }

    /// Answers without any work.
    fn done(&mut self, begun: Begun, reply: impl Into<Reply>) {
        self.claims.release(begun.ticket);
        self.answer(begun.id, begun.room, reply.into());
    }

    /// VERSION, with the extensions (draft §4, OpenSSH `PROTOCOL` §4).
    fn greet(&mut self, begun: Begun) {
        self.greeted = true;
        let mut out = Vec::new();
        wire::version(&mut out, &extensions::offered(&self.env.options));
        self.done(begun, Reply::Packet(out));
    }

    fn path(&self, raw: &[u8]) -> Result<VPath, Refusal> {
        let resolved = self.env.session.fs().home().resolve(raw);
        resolved.map_err(|error| Refusal(Status::Failure, error.to_string().into()))
    }

    fn find(&self, handle: Handle) -> Result<(u64, &Open), Refusal> {
        let found = handle
            .0
            .and_then(|number| Some((number, self.handles.find(number)?)));
        found.ok_or_else(|| refuse(Status::Failure, "no such handle"))
    }

    fn handle_claim(&self, handle: Handle) -> Result<Claim, Refusal> {
        let (number, open) = self.find(handle)?;
        Ok(Claim::handle(number, open.path()))
    }
}

fn refuse(code: Status, text: &'static str) -> Refusal {
    Refusal(code, Cow::Borrowed(text))
}

/// How much a reply may come to.
fn room_for(incoming: &Incoming) -> usize {
    match &incoming.request {
        Some(Request::Read { len, .. }) => (*len).min(MAX_DATA) as usize + SMALL,
        Some(Request::ReadDir { .. }) => dirs::REPLY + SMALL,
        Some(Request::RealPath { .. } | Request::ReadLink { .. }) => 10 * SMALL,
        Some(Request::Extended(Extension::ExpandPath { .. })) => 10 * SMALL,
        _ => SMALL,
    }
}

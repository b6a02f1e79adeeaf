//! READ, WRITE (draft-ietf-secsh-filexfer-02 §6.4) and `fsync@openssh.com` (OpenSSH `PROTOCOL` §4.6).
//!
//! READ: the backend reads straight behind the header of the reply. WRITE: what arrived while the
//! backend was busy goes to it as one write where it is adjacent; each is answered when the backend has
//! it (V4), and its data is never copied here.

use std::{sync::Arc, task::Context};

use bytes::Bytes;
use portreeve_session::{FsError, FsErrorKind};

use super::{Begun, refuse};
use crate::{
    server::{
        claims::Claim,
        engine::{Engine, Refusal, Reply},
        handles::{Open, Waiting, Writer},
    },
    wire::{self, DATA_HEADER, Handle, MAX_DATA, Status},
};

/// Most bytes given to the backend in one write.
const COALESCED: u64 = 1024 * 1024;

/// Most pieces given to the backend in one write: what writev(2) takes at once.
const PIECES: usize = 1024;

impl Engine {
    pub(super) fn read(&mut self, begun: Begun, handle: Handle, offset: u64, len: u32, cx: &mut Context<'_>) {
        let len = len.min(MAX_DATA) as usize;
        let id = begun.id;
        let pool = Arc::clone(&self.env.pool);
        let take = move || {
            let mut packet = pool.take(len + DATA_HEADER);
            wire::begin_data(&mut packet, id);
            packet
        };
        match self.find(handle) {
            Ok((_, Open::Read(download))) => {
                let download = Arc::clone(download);
                let work = async move { data(download.read(offset, len, take()).await) };
                self.start(begun, Box::pin(work), cx);
            }
            Ok((_, Open::Write(writer))) => {
                let upload = Arc::clone(&writer.upload);
                let work = async move { data(upload.read(offset, len, take()).await) };
                self.start(begun, Box::pin(work), cx);
            }
            Ok((_, Open::Dir(_))) => self.done(begun, refuse(Status::Failure, "it is a directory")),
            Err(reply) => self.done(begun, reply),
        }
    }

    pub(super) fn write_claim(&self, handle: Handle, offset: u64, len: u64) -> Result<Claim, Refusal> {
        let claim = self.handle_claim(handle)?;
        Ok(match self.find(handle)? {
            // The end moves: order is kept by the queue.
            (_, Open::Write(writer)) if writer.append => claim,
            _ => claim.range(offset, len, true),
        })
    }

    pub(super) fn write(
        &mut self,
        begun: Begun,
        handle: Handle,
        offset: u64,
        data: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) {
        let len: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        let number = handle.0.unwrap_or_default();
        let Some(writer) = self.handles.writer(number) else {
            return self.done(
                begun,
                refuse(Status::Failure, "the handle is not open for writing"),
            );
        };
        if let Some(end) = writer.resume_at.take()
            && offset != end
        {
            let text =
                format!("an unfinished upload of {end} bytes is kept here: go on at {end}, or truncate");
            writer.failed = Some(FsError::new(FsErrorKind::Conflict).context(text));
        }
        if let Some(error) = &writer.failed {
            let reply = Reply::failure(error);
            return self.done(begun, reply);
        }
        writer.queue.push_back(Waiting {
            ticket: begun.ticket,
            id: begun.id,
            room: begun.room,
            at: offset,
            len,
            data,
        });
        self.unwritten += len as usize;
        self.write_next(number, cx, true);
    }

    /// Gives the backend the next run of adjacent WRITEs. `fresh` says that one was just added: then a
    /// busy backend is left alone.
    pub(crate) fn write_next(&mut self, handle: u64, cx: &mut Context<'_>, fresh: bool) {
        let Some(writer) = self.handles.writer(handle) else {
            return;
        };
        if fresh && writer.busy {
            return;
        }
        let Some(first) = writer.queue.pop_front() else {
            writer.busy = false;
            return;
        };
        writer.busy = true;
        let at = first.at;
        let mut len = first.len;
        let mut data = first.data;
        let mut batch = vec![(first.ticket, first.id, first.room)];
        while let Some(next) = writer.queue.front() {
            let adjacent = writer.append || at.checked_add(len) == Some(next.at);
            if !adjacent || len + next.len > COALESCED || data.len() + next.data.len() > PIECES {
                break;
            }
            let Some(next) = writer.queue.pop_front() else {
                break;
            };
            len += next.len;
            data.extend(next.data);
            batch.push((next.ticket, next.id, next.room));
        }
        let upload = Arc::clone(&writer.upload);
        let append = writer.append;
        let work = async move {
            let result = if append {
                upload.append(data).await.map(drop)
            } else {
                upload.write(at, data).await
            };
            Reply::Written {
                handle,
                batch,
                bytes: len as usize,
                result,
            }
        };
        self.run_untagged(Box::pin(work), cx);
    }

    pub(super) fn fsync(&mut self, begun: Begun, handle: Handle, cx: &mut Context<'_>) {
        match self.find(handle) {
            Ok((
                _,
                Open::Write(Writer {
                    failed: Some(error), ..
                }),
            )) => {
                let reply = Reply::failure(error);
                self.done(begun, reply);
            }
            Ok((_, Open::Write(writer))) => {
                let upload = Arc::clone(&writer.upload);
                let work = async move { Reply::of(upload.sync().await) };
                self.start(begun, Box::pin(work), cx);
            }
            Ok(_) => self.done(begun, Reply::OK),
            Err(reply) => self.done(begun, reply),
        }
    }
}

/// Completes a DATA packet, or says why there is none.
fn data(read: portreeve_session::FsResult<Vec<u8>>) -> Reply {
    match read {
        Ok(mut packet) => match wire::end_data(&mut packet, 0) {
            0 => refuse(Status::Eof, "end of file").into(),
            _ => Reply::Packet(packet),
        },
        Err(error) => Reply::failure(&error),
    }
}

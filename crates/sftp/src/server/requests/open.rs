//! OPEN and CLOSE (draft-ietf-secsh-filexfer-02 §6.3).
//!
//! OPEN hides what it makes until CLOSE commits it (V1, V5). Without TRUNC a kept partial is gone on
//! with (V2); with it, it is replaced.

use std::{collections::VecDeque, sync::Arc, task::Context};

use portreeve_model::VPath;
use portreeve_session::{FsErrorKind, FsResult, Links, OpenWrite, Session, WriteMode};

use super::{Begun, refuse};
use crate::{
    server::{
        claims::Claim,
        engine::{Engine, Refusal, Reply},
        handles::{Open, Writer},
    },
    wire::{Handle, OpenFlags, Status, WireAttrs},
};

impl Engine {
    pub(super) fn open(&mut self, begun: Begun, flags: OpenFlags, attrs: WireAttrs, cx: &mut Context<'_>) {
        if !flags.read() && !flags.write() {
            return self.done(begun, refuse(Status::Failure, "OPEN needs READ, WRITE or both"));
        }
        if let Some(reply) = self.refuse_handle() {
            return self.done(begun, reply);
        }
        let env = Arc::clone(&self.env);
        let [Some(path), _] = begun.paths.clone() else {
            return self.done(begun, refuse(Status::Failure, "OPEN needs a path"));
        };
        let work = async move {
            Reply::Opened(if flags.write() {
                open_write(&env.session, path, flags, attrs).await
            } else {
                let opened = env.session.fs().download(&path).await;
                opened.map(|download| Open::Read(Arc::new(download)))
            })
        };
        self.start(begun, Box::pin(work), cx);
    }

    /// Why no handle may be opened now; where one may, its place is kept.
    pub(super) fn refuse_handle(&mut self) -> Option<Refusal> {
        if self.env.draining.is_cancelled() {
            return Some(refuse(
                Status::Failure,
                "the server is shutting down; connect again",
            ));
        }
        self.handles
            .promise()
            .err()
            .map(|full| refuse(Status::Failure, full))
    }

    pub(super) fn close_claim(&self, handle: Handle) -> Result<Claim, Refusal> {
        let claim = self.handle_claim(handle)?.exclusive();
        let (_, open) = self.find(handle)?;
        Ok(match open {
            Open::Write(_) => claim,
            // Nothing is changed by it: nobody who looks at the path must wait.
            Open::Read(_) | Open::Dir(_) => Claim {
                paths: [None, None],
                ..claim
            },
        })
    }

    pub(super) fn close_handle(&mut self, begun: Begun, handle: Handle, cx: &mut Context<'_>) {
        let closed = handle.0.and_then(|number| self.handles.close(number));
        let Some(Open::Write(writer)) = closed else {
            return self.done(begun, Reply::OK);
        };
        let work = async move {
            let end = match writer.failed {
                Some(error) => writer.upload.keep(error.clone()).await.and(Err(error)),
                None => writer.upload.commit().await.map(drop),
            };
            Reply::of(end)
        };
        self.start(begun, Box::pin(work), cx);
    }
}

async fn open_write(session: &Session, path: VPath, flags: OpenFlags, attrs: WireAttrs) -> FsResult<Open> {
    let fs = session.fs();
    let create = flags.create();
    let mode = if create && flags.exclusive() {
        WriteMode::CreateNew
    } else if flags.append() {
        WriteMode::Append { create }
    } else if flags.truncate() {
        if !create {
            let entry = fs.stat(&path, Links::Follow).await?;
            if entry.is_dir() {
                return Err(FsErrorKind::IsDir.into());
            }
        }
        WriteMode::Replace
    } else {
        WriteMode::Update { create }
    };
    // Without truncation an unfinished upload is gone on with; only at its end, or it would be mixed
    // with something else (V2).
    let resume_at = match mode {
        WriteMode::Update { .. } | WriteMode::Append { .. } => {
            fs.partial(&path).await.ok().flatten().map(|partial| partial.size)
        }
        WriteMode::CreateNew | WriteMode::Replace | WriteMode::Resume { .. } => None,
    };
    let mut how = OpenWrite::new(mode);
    how.read_back = flags.read();
    how.attrs = super::attrs::to_set(&WireAttrs { size: None, ..attrs });
    let upload = fs.upload(&path, how).await?;
    Ok(Open::Write(Writer {
        path,
        upload: Arc::new(upload),
        append: flags.append(),
        resume_at,
        failed: None,
        queue: VecDeque::new(),
        busy: false,
    }))
}

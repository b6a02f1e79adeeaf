//! The start of an upload: a draft with what it begins with in it.
//!
//! Invariant: a start that is refused leaves what was kept before as it was, and nothing of its own.

use std::sync::Arc;

use portreeve_model::VPath;
use portreeve_vfs::{Attrs, FsError, FsErrorKind, FsResult, OpCx, OpenWrite, Rename, WriteMode};
use rustix::fs::{self, AtFlags, Mode, OFlags, Statx};

use crate::{
    bytes_copy,
    draft::Draft,
    error::OrFsError,
    finish::replaceable,
    hop::Hop,
    names,
    root::Place,
    stat,
    storage::{READ, Storage, regular},
    undo::{self, Undo},
    upload::{Body, Upload},
};

impl Storage {
    pub(crate) fn open_write(
        self: &Arc<Self>,
        cx: &OpCx,
        path: &VPath,
        how: &OpenWrite,
    ) -> FsResult<Arc<Upload>> {
        names::refuse_reserved(path)?;
        if path.is_root() {
            return Err(FsErrorKind::IsDir.into());
        }
        let (place, found) = self.root.resolve(path)?;
        if let Some(found) = &found {
            replaceable(found)?;
        }
        if how.mode == WriteMode::CreateNew && found.is_some() {
            return Err(FsErrorKind::Exists.into());
        }
        let mut draft = Draft::take(&self.live, &cx.owner, &place, self.keep)?;
        let body = match self.prepare(cx, &place, found.as_ref(), how, &mut draft) {
            Ok(Some(in_place)) => {
                self.drop_draft(&place, &draft);
                in_place
            }
            Ok(None) => Body::Draft(draft),
            Err(error) => {
                // Only what this call has made: a kept partial outlives a refused open.
                if draft.kept == 0 {
                    self.drop_draft(&place, &draft);
                } else {
                    draft.release(&self.live);
                }
                return Err(error);
            }
        };
        let rename = match how.mode {
            WriteMode::CreateNew => Rename::NoReplace,
            _ => Rename::Replace,
        };
        let appends = matches!(how.mode, WriteMode::Append { .. });
        let upload = Upload::new(
            Arc::clone(self),
            cx.owner.clone(),
            place,
            rename,
            body,
            how.attrs,
            appends,
        );
        if let Some(size) = how.attrs.size {
            fs::ftruncate(upload.file(), size).or_fs()?;
        }
        Ok(Arc::new(upload))
    }

    /// Fills the draft as `how` wants it, or answers that the file is to be changed in place.
    fn prepare(
        &self,
        cx: &OpCx,
        place: &Place,
        found: Option<&Statx>,
        how: &OpenWrite,
        draft: &mut Draft,
    ) -> FsResult<Option<Body>> {
        let create = match how.mode {
            WriteMode::CreateNew | WriteMode::Replace => {
                draft.empty()?;
                self.room_for(place, how.size_hint)?;
                return Ok(None);
            }
            _ if draft.kept > 0 => return fits(how.mode, draft.kept).map(|()| None),
            WriteMode::Update { create } | WriteMode::Append { create } => create,
            WriteMode::Resume { .. } => true,
        };
        if found.is_none() {
            if !create {
                return Err(FsErrorKind::NotFound.into());
            }
            fits(how.mode, 0)?;
            self.room_for(place, how.size_hint)?;
            return Ok(None);
        }
        undo::recover(place, true)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let old = fs::openat(&*place.dir, place.name.as_bytes(), flags, Mode::empty()).or_fs()?;
        let size = regular(&stat::of(&old).or_fs()?)?;
        fits(how.mode, size)?;
        // Not into the partial's name: half a copy that a crash leaves must not be taken for a partial.
        let copy = Draft::unique(&self.live, &cx.owner, place)?;
        let copied = if bytes_copy::by_reference(&old, &copy.file) {
            Ok(true)
        } else if size <= self.copy_limit {
            bytes_copy::by_value(&old, &copy.file, size, || !cx.cancel.is_cancelled()).map(|()| true)
        } else {
            Ok(false)
        };
        if let Ok(true) = copied {
            self.drop_draft(place, draft);
            *draft = copy;
            return Ok(None);
        }
        self.drop_draft(place, &copy);
        copied?;
        let undo = match how.mode {
            WriteMode::Append { .. } | WriteMode::Resume { .. } => {
                Some(Undo::begin(place, &old, size, self.fsync)?)
            }
            _ => None,
        };
        Ok(Some(Body::InPlace { file: old, undo }))
    }

    fn drop_draft(&self, place: &Place, draft: &Draft) {
        if draft.is_in_place(place, &draft.name).unwrap_or(false) {
            // A draft that cannot be removed is empty and goes with the next sweep.
            let _ = fs::unlinkat(&*place.dir, &draft.name, AtFlags::empty());
        }
        draft.release(&self.live);
    }

    /// Refuses early what cannot fit.
    fn room_for(&self, place: &Place, announced: Option<u64>) -> FsResult<()> {
        let Some(announced) = announced.filter(|size| *size > 0) else {
            return Ok(());
        };
        let room = fs::fstatvfs(&*place.dir).or_fs()?;
        if announced > room.f_bavail.saturating_mul(room.f_frsize) {
            return Err(FsErrorKind::NoSpace.into());
        }
        Ok(())
    }

    pub(crate) fn copy(self: &Arc<Self>, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        names::hide_reserved(from)?;
        names::refuse_reserved(to)?;
        let source = self.root.open(from, READ)?;
        let found = stat::of(&source).or_fs()?;
        let size = regular(&found)?;
        let (place, target) = self.root.resolve(to)?;
        match (&target, how) {
            (Some(_), Rename::NoReplace) => return Err(FsErrorKind::Exists.into()),
            (Some(target), Rename::Replace) => replaceable(target)?,
            (None, _) => self.room_for(&place, None)?,
        }
        let draft = Draft::unique(&self.live, &cx.owner, &place)?;
        let mode = Attrs {
            mode: Some(found.stx_mode.into()),
            ..Attrs::default()
        };
        let upload = Arc::new(Upload::new(
            Arc::clone(self),
            cx.owner.clone(),
            place,
            how,
            Body::Draft(draft),
            mode,
            false,
        ));
        if !bytes_copy::by_reference(&source, upload.file()) {
            let copied = bytes_copy::by_value(&source, upload.file(), size, || !cx.cancel.is_cancelled());
            if let Err(error) = copied {
                upload.discard()?;
                return Err(error);
            }
        }
        if let Err(error) = upload.commit() {
            upload.discard()?;
            return Err(error);
        }
        Ok(())
    }

    pub(crate) fn hop_of_upload(&self, upload: &Upload) -> Hop {
        stat::of(upload.file()).map_or(Hop::Remote, |found| self.hop_of(upload.file(), &found))
    }
}

/// Whether a resume goes on exactly where what is there ends.
fn fits(mode: WriteMode, len: u64) -> FsResult<()> {
    match mode {
        WriteMode::Resume { at } if at != len => Err(FsError::new(FsErrorKind::Conflict)
            .context(format!("cannot go on at {at}: {len} bytes are there"))),
        _ => Ok(()),
    }
}

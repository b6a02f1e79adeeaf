//! Renaming what was just uploaded: the second half of an upload for clients that write under a temporary
//! name first (`.filepart`, `.partial`).
//!
//! Invariants: only who uploaded a file may rename it, only while this process remembers, so that no
//! mail that came from elsewhere ever changes its name. The file is there under the new name before the
//! old one goes; a crash between leaves both. One rename of a file at a time.

use std::collections::VecDeque;

use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Note, OpCx, Owner};

use super::{Shared, delete::is_last, items::Item};
use crate::{Folder, book::PartKey};

/// How many uploads are remembered; the oldest is forgotten first.
const MAX_HELD: usize = 4096;

/// Who uploaded what, lately.
#[derive(Default)]
pub(super) struct Uploaded(Mutex<VecDeque<(Owner, PartKey)>>);

impl Uploaded {
    pub(super) fn add(&self, owner: &Owner, key: &PartKey) {
        let mut held = self.0.lock();
        if held.len() >= MAX_HELD {
            held.pop_front();
        }
        held.push_back((owner.clone(), key.clone()));
    }

    /// Takes an upload out: whoever gets it may rename it.
    fn take(&self, owner: &Owner, key: &PartKey) -> bool {
        let mut held = self.0.lock();
        let found = held
            .iter()
            .position(|(whose, what)| whose == owner && what == key);
        found.is_some_and(|at| held.remove(at).is_some())
    }
}

/// Who makes a draft, and where it is said which that is.
#[derive(Clone)]
pub(super) struct Author {
    pub(super) owner: Owner,
    pub(super) note: Note,
}

impl Author {
    pub(super) fn of(cx: &OpCx) -> Self {
        Self {
            owner: cx.owner.clone(),
            note: cx.note().clone(),
        }
    }
}

impl Shared {
    /// Gives a file that `author` has just uploaded another name: its draft is made anew, since name and
    /// subject are in it.
    pub(super) async fn rename_upload(
        &self,
        author: &Author,
        folder: &Folder,
        item: &Item,
        to: &VPath,
    ) -> FsResult<()> {
        let key = &item.key;
        if !self.uploaded.take(&author.owner, key) {
            return Err(FsError::new(FsErrorKind::Refused)
                .context("an attachment cannot be renamed: its name comes from its message"));
        }
        let renamed = self.compose_anew(author, folder, key, to).await;
        if renamed.is_err() {
            self.uploaded.add(&author.owner, key);
        }
        renamed
    }

    async fn compose_anew(
        &self,
        author: &Author,
        folder: &Folder,
        key: &PartKey,
        to: &VPath,
    ) -> FsResult<()> {
        let (target, name) = self.upload_place(to).await?;
        let message = self.store.message(&folder.id, &key.message).await?;
        if !is_last(&message, &key.part) {
            return Err(FsError::new(FsErrorKind::Refused)
                .context("somebody has attached more files to this draft: it cannot be renamed any more"));
        }
        let content = self.store.open_part(&folder.id, &key.message, &key.part).await?;
        self.commit(author, &target, &name, content).await?;
        // That took its time: what somebody attached meanwhile must not go with the old draft.
        match self.store.message(&folder.id, &key.message).await {
            Ok(now) if is_last(&now, &key.part) => {}
            Ok(_) => {
                return Err(FsError::new(FsErrorKind::Refused).context(
                    "somebody has attached more files to this draft meanwhile: it is there under both names",
                ));
            }
            // Gone, as it is to be; the deletion says so.
            Err(error) if error.kind() == FsErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match self.store.delete_message(&folder.id, &key.message).await {
            Ok(()) => {}
            Err(error) if error.kind() == FsErrorKind::NotFound => {}
            // There under both names: who asked is told, and can remove the one that is too many.
            Err(error) => return Err(error),
        }
        self.gone(folder, |other| other.message == key.message).await
    }
}

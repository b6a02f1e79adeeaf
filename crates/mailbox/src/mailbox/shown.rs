//! Which folders are shown: the option `folders`, and the Outbox before a real folder of its name.
//!
//! Invariants: a folder that is hidden is reached by no path; one that only leads to a folder that is shown
//! has neither mail nor a place for any; no rename brings a hidden folder to light.

use std::sync::Arc;

use portreeve_model::VPath;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{
    Shared,
    outbox::OUTBOX,
    tree::{Children, MAX_HELD, below},
    view::Need,
};
use crate::{Filter, Folder, FolderId, FolderKind, name::fold};

impl Shared {
    /// The sub-folders of `folder` (the top for none), which is at `path`, that are shown.
    pub(super) async fn children(
        &self,
        folder: Option<&Folder>,
        path: &VPath,
        need: Need,
    ) -> FsResult<Children> {
        let all = self.tree.children(folder.map(|folder| &folder.id), need).await?;
        let outbox = folder.is_none() && self.outbox.is_some();
        if !self.policy.filter.is_by_folder() && !outbox {
            return Ok(all);
        }
        let mut shown = Vec::new();
        if outbox {
            let folder = Folder {
                id: OUTBOX.into(),
                name: OUTBOX.into(),
                kind: FolderKind::Container,
            };
            shown.push((OUTBOX.to_owned(), folder));
        }
        for (name, child) in all.iter() {
            if outbox && self.is_outbox(name) {
                continue;
            }
            if let Some(child) = self.filtered(child.clone(), &below(path, name)?).await? {
                shown.push((name.clone(), child));
            }
        }
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Arc::new(shown))
    }

    /// Whether the Outbox stands before a folder of this name at the top.
    pub(super) fn is_outbox(&self, name: &str) -> bool {
        self.outbox.is_some() && fold(name) == fold(OUTBOX)
    }

    /// The folder at `path` as it is shown: as it is, or only as what leads to one that is; none where it is
    /// hidden.
    pub(super) async fn filtered(&self, folder: Folder, path: &VPath) -> FsResult<Option<Folder>> {
        if self.shows_folder(path) {
            return Ok(Some(folder));
        }
        let leads = self.any_below(&folder.id, path, |filter, path| {
            if filter.shows_folder(path) {
                Some(true)
            } else {
                (!filter.may_lead(path)).then_some(false)
            }
        });
        Ok(leads.await?.then_some(Folder {
            kind: FolderKind::Container,
            ..folder
        }))
    }

    fn shows_folder(&self, path: &VPath) -> bool {
        let filter = &self.policy.filter;
        !filter.is_by_folder() || filter.shows_folder(plain(path))
    }

    /// Whether any folder below that at `path` is such that `decide` says true; where it says false, what
    /// lies below that is not looked at.
    async fn any_below(
        &self,
        folder: &FolderId,
        path: &VPath,
        decide: impl Fn(&Filter, &str) -> Option<bool>,
    ) -> FsResult<bool> {
        if decide(&self.policy.filter, plain(path)) == Some(false) {
            return Ok(false);
        }
        let mut left = vec![(folder.clone(), path.clone())];
        let mut looked_at = 0;
        while let Some((folder, path)) = left.pop() {
            for (name, child) in self.tree.children(Some(&folder), Need::Cheap).await?.iter() {
                let path = below(&path, name)?;
                match decide(&self.policy.filter, plain(&path)) {
                    Some(true) => return Ok(true),
                    Some(false) => {}
                    None => left.push((child.id.clone(), path)),
                }
            }
            looked_at += 1;
            if looked_at > MAX_HELD {
                return Err(FsError::new(FsErrorKind::TooLarge)
                    .context("the mailbox has too many folders to filter; write the patterns of the option folders with more of the path"));
            }
        }
        Ok(false)
    }

    /// Refuses a path at which a folder would not be shown.
    pub(super) fn check_shown(&self, path: &VPath) -> FsResult<()> {
        if self.shows_folder(path) {
            return Ok(());
        }
        Err(FsError::new(FsErrorKind::Refused)
            .context("the mailbox does not show a folder of that path (option folders)"))
    }

    /// Refuses a folder with any below it that is not shown: with another path it could come to light.
    pub(super) async fn check_all_shown(&self, folder: &Folder, path: &VPath) -> FsResult<()> {
        let hides = |filter: &Filter, path: &str| (!filter.shows_folder(path)).then_some(true);
        if self.policy.filter.is_by_folder() && self.any_below(&folder.id, path, hides).await? {
            return Err(FsError::new(FsErrorKind::Refused)
                .context("folders below it are not shown here: it cannot be renamed"));
        }
        Ok(())
    }
}

/// A path as patterns of folders are matched with it.
fn plain(path: &VPath) -> &str {
    path.as_str().unwrap_or_default().trim_start_matches('/')
}

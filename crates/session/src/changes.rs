//! What changes names and attributes. Every act is carried through once it began: a door that drops the
//! future, because its client went, leaves neither a change unrecorded nor one recorded that was not.

use portreeve_model::{VPath, Verb};
use portreeve_vfs::{Attrs, FsErrorKind, FsResult, Links, Removal, Rename};

use crate::{
    UserFs,
    allowance::fits,
    carried_through::carried_through,
    choke::{Pass, enter},
    deed::{Deed, refused},
    pending::Open,
};

impl UserFs {
    /// Makes a directory.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn make_dir(&self, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        let (fs, dir) = (self.clone(), dir.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::MakeDir(&dir)).await?;
            let result = pass.tree().make_dir(pass.cx(), &dir, attrs).await;
            pass.leave(result)
        }))
        .await
    }

    /// Removes a file or an empty directory. A pending upload of this session under that name is
    /// thrown away with it (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn remove(&self, path: &VPath, what: Removal) -> FsResult<()> {
        let (fs, path) = (self.clone(), path.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::Remove(&path, what)).await?;
            let result = fs.remove_now(&pass, &path, what).await;
            pass.leave(result)
        }))
        .await
    }

    async fn remove_now(&self, pass: &Pass, path: &VPath, what: Removal) -> FsResult<()> {
        if what == Removal::Dir {
            return self.remove_dir(pass, path).await;
        }
        let pending = self.0.pending.removed(path);
        for open in &pending {
            open.file.discard().await?;
        }
        match self.remove_file(pass, path).await {
            Err(error) if error.kind() == FsErrorKind::NotFound && !pending.is_empty() => Ok(()),
            result => result,
        }
    }

    async fn remove_dir(&self, pass: &Pass, dir: &VPath) -> FsResult<()> {
        let Some(quota) = self.quota(pass, dir).await? else {
            return pass.tree().remove(pass.cx(), dir, Removal::Dir).await;
        };
        let _turn = quota.turn(dir).await;
        pass.tree().remove(pass.cx(), dir, Removal::Dir).await?;
        // Partials that were kept in it went with it, whosever they were (V8).
        quota.release(quota.take_over_all(dir)).await;
        Ok(())
    }

    async fn remove_file(&self, pass: &Pass, path: &VPath) -> FsResult<()> {
        let Some(quota) = self.quota(pass, path).await? else {
            return pass.tree().remove(pass.cx(), path, Removal::File).await;
        };
        let _turn = quota.turn(path).await;
        let visible = size_of(pass, path, Links::Keep).await?;
        pass.tree().remove(pass.cx(), path, Removal::File).await?;
        // Where there was no file, it was the person's partial that went.
        let freed = match visible {
            Some(size) => size,
            None => quota.take_over(&pass.cx().owner, path),
        };
        quota.release(freed).await;
        Ok(())
    }

    /// Gives another name. A pending upload of this session takes the name at its commit (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `CrossMount` between storages.
    pub async fn rename(&self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (fs, from, to) = (self.clone(), from.clone(), to.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::Rename(&from, &to, how)).await?;
            let result = fs.rename_now(&pass, &from, &to, how).await;
            pass.leave(result)
        }))
        .await
    }

    async fn rename_now(&self, pass: &Pass, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let how = no_race(pass, to, how);
        if let Some(open) = self.0.pending.at(from) {
            of_open(pass, &open);
            open.file.retarget(to, how).await?;
            self.0.pending.moved(&open, to.clone());
            return Ok(());
        }
        // A file obeys the rules by its own name; a directory takes along what they speak of.
        if pass.plan().bars_move(from, to) && pass.tree().stat(pass.cx(), from, Links::Keep).await?.is_dir() {
            let why = "permission denied: what is in this directory is under rules of its own";
            return Err(refused(why.into()));
        }
        match self.quota(pass, to).await? {
            None => pass.tree().rename(pass.cx(), from, to, how).await?,
            Some(quota) => {
                let _turn = quota.turn(to).await;
                let replaced = size_of(pass, to, Links::Keep).await?.unwrap_or(0);
                pass.tree().rename(pass.cx(), from, to, how).await?;
                // Two names of one file: POSIX leaves both, and nothing was replaced.
                if replaced > 0 {
                    let left = pass.tree().stat(pass.cx(), from, Links::Keep).await;
                    let gone = left.is_err_and(|error| is_absence(error.kind()));
                    quota.release(if gone { replaced } else { 0 }).await;
                }
            }
        }
        self.0.pending.moved_below(from, to);
        Ok(())
    }

    /// Sets attributes; those of a pending upload of this session on the upload (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn set_attrs(&self, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let (fs, path) = (self.clone(), path.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::SetAttrs(&path, &attrs)).await?;
            let result = fs.set_attrs_now(&pass, &path, attrs, links).await;
            pass.leave(result)
        }))
        .await
    }

    async fn set_attrs_now(&self, pass: &Pass, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        if let Some(open) = self.0.pending.at(path) {
            of_open(pass, &open);
            return open.set_attrs(attrs).await;
        }
        let set = || pass.tree().set_attrs(pass.cx(), path, attrs, links);
        let Some(size) = attrs.size else {
            return set().await;
        };
        fits(size, max_size(pass, path))?;
        let Some(quota) = self.quota(pass, path).await? else {
            return set().await;
        };
        let _turn = quota.turn(path).await;
        let before = size_of(pass, path, links).await?.unwrap_or(0);
        let more = size.saturating_sub(before);
        quota.reserve(more).await?;
        let done = set().await;
        quota
            .release(if done.is_ok() {
                before.saturating_sub(size)
            } else {
                more
            })
            .await;
        done
    }

    /// Copies a file on the server, within one storage.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `CrossMount` between storages.
    pub async fn copy(&self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (fs, from, to) = (self.clone(), from.clone(), to.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::Copy(&from, &to, how)).await?;
            let result = fs.copy_now(&pass, &from, &to, how).await;
            pass.leave(result)
        }))
        .await
    }

    async fn copy_now(&self, pass: &Pass, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let how = no_race(pass, to, how);
        let size = size_of(pass, from, Links::Follow).await?.unwrap_or(0);
        fits(size, max_size(pass, to))?;
        let Some(quota) = self.quota(pass, to).await? else {
            return pass.tree().copy(pass.cx(), from, to, how).await;
        };
        let _turn = quota.turn(to).await;
        let replaced = size_of(pass, to, Links::Follow).await?.unwrap_or(0);
        quota.reserve(size).await?;
        let copied = pass.tree().copy(pass.cx(), from, to, how).await;
        quota.release(if copied.is_ok() { replaced } else { size }).await;
        copied
    }

    /// Makes a second name of a file. Under a quota it counts again: either name may be removed first.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn link(&self, existing: &VPath, new: &VPath) -> FsResult<()> {
        let (fs, existing, new) = (self.clone(), existing.clone(), new.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::Link(&existing, &new)).await?;
            let result = fs.link_now(&pass, &existing, &new).await;
            pass.leave(result)
        }))
        .await
    }

    async fn link_now(&self, pass: &Pass, existing: &VPath, new: &VPath) -> FsResult<()> {
        let Some(quota) = self.quota(pass, new).await? else {
            return pass.tree().link(pass.cx(), existing, new).await;
        };
        let _turn = quota.turn(new).await;
        let size = size_of(pass, existing, Links::Follow).await?.unwrap_or(0);
        quota.reserve(size).await?;
        let linked = pass.tree().link(pass.cx(), existing, new).await;
        if linked.is_err() {
            quota.release(size).await;
        }
        linked
    }
}

/// The deed is done to an upload in progress, of which its storage has spoken already.
fn of_open(pass: &Pass, open: &Open) {
    if let Some(note) = &open.note {
        pass.cx().adopt(note);
    }
}

/// Whoever may not replace must win no race: what appears at `to` meanwhile stays.
fn no_race(pass: &Pass, to: &VPath, how: Rename) -> Rename {
    if pass.there().is_none() && !pass.plan().allows(to, Verb::Overwrite) {
        return Rename::NoReplace;
    }
    how
}

fn max_size(pass: &Pass, path: &VPath) -> Option<u64> {
    let (grant, _) = pass.plan().grant(path)?;
    grant.limits.max_file_size.map(|size| size.0)
}

/// The size of the visible file there, where there is one.
///
/// # Errors
/// What the storage says: a change whose effect on the quota cannot be known is not made.
async fn size_of(pass: &Pass, path: &VPath, links: Links) -> FsResult<Option<u64>> {
    match pass.tree().stat(pass.cx(), path, links).await {
        Ok(entry) => Ok(entry.is_file().then(|| entry.size.unwrap_or(0))),
        Err(error) if is_absence(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

const fn is_absence(kind: FsErrorKind) -> bool {
    matches!(kind, FsErrorKind::NotFound | FsErrorKind::NotDir)
}

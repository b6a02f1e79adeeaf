//! The only file handle that a door can name.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use parking_lot::Mutex;
use portreeve_model::{Name, VPath, Verb};
use portreeve_vfs::{
    Attrs, Cursor, Entry, FsError, FsErrorKind, FsResult, Links, OpenWrite, Partial, Removal, Rename, Space,
    WriteMode,
};

use crate::{
    Download, Upload,
    choke::{Pass, enter},
    deed::Deed,
    digest::Digest,
    live::Live,
    quota::Quota,
    upload::{Account, Parts},
};

/// A person's files, through every layer. Cheap to clone.
#[derive(Clone)]
pub struct UserFs(Arc<Live>);

impl UserFs {
    pub(crate) const fn new(live: Arc<Live>) -> Self {
        Self(live)
    }

    pub(crate) fn live(&self) -> &Live {
        &self.0
    }

    /// Where the person begins.
    #[must_use]
    pub fn home(&self) -> VPath {
        VPath::root()
    }

    /// Whether a verb is allowed on a path: for showing a button or not, never instead of trying.
    #[must_use]
    pub fn allows(&self, path: &VPath, verb: Verb) -> bool {
        self.0.view().plan.allows(path, verb)
    }

    /// What is there; a pending upload of this session with its live size (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn stat(&self, path: &VPath, links: Links) -> FsResult<Entry> {
        let pass = enter(&self.0, &Deed::Stat(path)).await?;
        let result = match self.0.pending.at(path) {
            Some(open) => open.file.entry().await.map(|entry| named(entry, path)),
            None => pass.tree().stat(pass.cx(), path, links).await,
        };
        pass.leave(result)
    }

    /// What this person left unfinished under this very name (V2).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn partial(&self, path: &VPath) -> FsResult<Option<Partial>> {
        let pass = enter(&self.0, &Deed::Stat(path)).await?;
        let result = pass.tree().partial(pass.cx(), path).await;
        pass.leave(result)
    }

    /// Opens a directory for listing, from its start or from where a former listing stood.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn list(&self, dir: &VPath, from: Option<Cursor>) -> FsResult<Listing> {
        let pass = enter(&self.0, &Deed::List(dir)).await?;
        let result = async {
            let first = from.is_none();
            let inner = pass.tree().list(pass.cx(), dir, from).await?;
            let own = if self.0.pending.is_empty() {
                HashMap::new()
            } else {
                self.0.pending.in_dir(dir).await?
            };
            Ok(Listing {
                inner,
                own,
                first,
                done: false,
            })
        }
        .await;
        pass.leave(result)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `Incomplete` for what is still being written.
    pub async fn download(&self, path: &VPath) -> FsResult<Download> {
        let pass = enter(&self.0, &Deed::Download(path)).await?;
        match pass.tree().open_read(pass.cx(), path).await {
            Ok(file) => {
                let live = pass.live();
                live.transfers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let limits = pass
                    .plan()
                    .grant(path)
                    .map(|(grant, _)| grant.limits)
                    .unwrap_or_default();
                let download = Download {
                    live: Arc::clone(live),
                    path: path.clone(),
                    file,
                    rate: limits.download_rate.map(|rate| self.bucket("down", rate.0)),
                    digest: live.gate.0.audit.load().digest().map(Digest::new),
                    began: pass.began(),
                    bytes: AtomicU64::new(0),
                    failed: Mutex::new(None),
                };
                pass.leave(Ok(download))
            }
            Err(error) if error.kind() == FsErrorKind::NotFound && self.0.pending.at(path).is_some() => {
                let context = "the file is still being written by this session";
                pass.leave(Err(FsError::new(FsErrorKind::Incomplete).context(context)))
            }
            Err(error) => pass.leave(Err(error)),
        }
    }

    /// Opens a file for writing.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `Quota` and `TooLarge` where the announced size
    /// does not fit.
    pub async fn upload(&self, path: &VPath, mut how: OpenWrite) -> FsResult<Upload> {
        let pass = enter(&self.0, &Deed::Upload(path, &how)).await?;
        // Whoever may create but not overwrite must not win a race: the commit refuses to replace too.
        if how.mode == WriteMode::Replace
            && pass.there().is_none()
            && !pass.plan().allows(path, Verb::Overwrite)
        {
            how.mode = WriteMode::CreateNew;
        }
        let opened = self.open_upload(&pass, path, how).await;
        pass.leave(opened)
    }

    async fn open_upload(&self, pass: &Pass, path: &VPath, how: OpenWrite) -> FsResult<Upload> {
        let limits = pass
            .plan()
            .grant(path)
            .map(|(grant, _)| grant.limits)
            .unwrap_or_default();
        let max_size = limits.max_file_size.map(|size| size.0);
        if let (Some(hint), Some(max)) = (how.size_hint, max_size)
            && hint > max
        {
            return Err(FsError::new(FsErrorKind::TooLarge).context(format!(
                "the file is too large: {hint} bytes, and at most {max} are allowed here"
            )));
        }
        let quota = self.quota(pass, path).await?;
        let hint = how.size_hint;
        let mode = how.mode;
        let before = match &quota {
            Some(_) => pass
                .tree()
                .partial(pass.cx(), path)
                .await
                .ok()
                .flatten()
                .map_or(0, |p| p.size),
            None => 0,
        };
        let file = pass.tree().open_write(pass.cx(), path, how).await?;
        let account = match quota {
            None => None,
            Some(quota) => {
                let visible = pass.there().and_then(|entry| entry.size).unwrap_or(0);
                let account = Self::account(quota, mode, before, visible, hint).await;
                match account {
                    Ok(account) => Some(account),
                    Err(error) => {
                        if let Err(error) = file.discard().await {
                            tracing::warn!(%path, %error, "a refused upload could not be thrown away");
                        }
                        return Err(error);
                    }
                }
            }
        };
        let live = pass.live();
        let open = live.pending.enter(path.clone(), file);
        Ok(Upload::new(Parts {
            live: Arc::clone(live),
            path: path.clone(),
            open,
            rate: limits.upload_rate.map(|rate| self.bucket("up", rate.0)),
            digest: live.gate.0.audit.load().digest().map(Digest::new),
            quota: account,
            max_size,
            began: pass.began(),
        }))
    }

    /// What an upload begins with: a partial that goes on is counted already, one that is thrown away
    /// comes back; a visible file is replaced by what is counted beside it.
    async fn account(
        quota: Quota,
        mode: WriteMode,
        partial: u64,
        visible: u64,
        hint: Option<u64>,
    ) -> FsResult<Account> {
        let goes_on = !matches!(mode, WriteMode::Replace | WriteMode::CreateNew);
        let mut taken = if goes_on { partial } else { 0 };
        if !goes_on {
            quota.release(partial).await;
        }
        // Changing a visible file works on a copy of it beside it: the copy is what is counted anew.
        let target = hint
            .unwrap_or(0)
            .max(if goes_on && partial == 0 { visible } else { 0 });
        if target > taken {
            quota.reserve(target - taken).await?;
            taken = target;
        }
        Ok(Account {
            quota,
            replaces: visible,
            taken: tokio::sync::Mutex::new(taken),
        })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn make_dir(&self, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::MakeDir(dir)).await?;
        let result = pass.tree().make_dir(pass.cx(), dir, attrs).await;
        pass.leave(result)
    }

    /// Removes a file or an empty directory. A pending upload of this session under that name is
    /// thrown away with it (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn remove(&self, path: &VPath, what: Removal) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::Remove(path, what)).await?;
        let result = async {
            let pending = if what == Removal::File {
                self.0.pending.removed(path)
            } else {
                Vec::new()
            };
            for open in &pending {
                open.file.discard().await?;
            }
            let quota = self.quota(&pass, path).await?;
            let freed = match (&quota, what) {
                (Some(_), Removal::File) => self.size_or_partial(&pass, path).await,
                _ => 0,
            };
            match pass.tree().remove(pass.cx(), path, what).await {
                Err(error) if error.kind() == FsErrorKind::NotFound && !pending.is_empty() => Ok(()),
                result => {
                    result?;
                    if let Some(quota) = quota {
                        quota.release(freed).await;
                    }
                    Ok(())
                }
            }
        }
        .await;
        pass.leave(result)
    }

    /// Gives another name. A pending upload of this session takes the name at its commit (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `CrossMount` between storages.
    pub async fn rename(&self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::Rename(from, to, how)).await?;
        let result = async {
            if let Some(open) = self.0.pending.at(from) {
                open.file.retarget(to, how).await?;
                self.0.pending.moved(from, to.clone());
                return Ok(());
            }
            let quota = self.quota(&pass, to).await?;
            pass.tree().rename(pass.cx(), from, to, how).await?;
            if let (Some(quota), Some(replaced)) = (quota, pass.there().filter(|entry| entry.is_file())) {
                quota.release(replaced.size.unwrap_or(0)).await;
            }
            Ok(())
        }
        .await;
        pass.leave(result)
    }

    /// Sets attributes; those of a pending upload of this session on the upload (V1).
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn set_attrs(&self, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::SetAttrs(path, &attrs)).await?;
        let result = async {
            if let Some(open) = self.0.pending.at(path) {
                return open.file.set_attrs(attrs).await;
            }
            let quota = match attrs.size {
                Some(_) => self.quota(&pass, path).await?,
                None => None,
            };
            let before = if quota.is_some() {
                self.size_or_partial(&pass, path).await
            } else {
                0
            };
            if let (Some(quota), Some(size)) = (&quota, attrs.size) {
                quota.reserve(size.saturating_sub(before)).await?;
            }
            let set = pass.tree().set_attrs(pass.cx(), path, attrs, links).await;
            if let (Some(quota), Some(size)) = (&quota, attrs.size) {
                let back = if set.is_ok() {
                    before.saturating_sub(size)
                } else {
                    size.saturating_sub(before)
                };
                quota.release(back).await;
            }
            set
        }
        .await;
        pass.leave(result)
    }

    /// Copies a file on the server, within one storage.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `CrossMount` between storages.
    pub async fn copy(&self, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::Copy(from, to, how)).await?;
        let result = async {
            let quota = self.quota(&pass, to).await?;
            let size = if quota.is_some() {
                self.size_or_partial(&pass, from).await
            } else {
                0
            };
            if let Some(quota) = &quota {
                quota.reserve(size).await?;
            }
            let copied = pass.tree().copy(pass.cx(), from, to, how).await;
            if let Some(quota) = &quota {
                let replaced = pass.there().and_then(|entry| entry.size).unwrap_or(0);
                quota.release(if copied.is_ok() { replaced } else { size }).await;
            }
            copied
        }
        .await;
        pass.leave(result)
    }

    /// Space of the storage behind a path; with a quota, that of the quota.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn space(&self, path: &VPath) -> FsResult<Space> {
        let pass = enter(&self.0, &Deed::Space(path)).await?;
        let result = async {
            let mut space = pass.tree().space(pass.cx(), path).await?;
            if let Some(quota) = self.quota(&pass, path).await? {
                let used = quota.book.used(&quota.key).await?.unwrap_or(0);
                space.total = space.total.min(quota.limit);
                space.available = space.available.min(quota.limit.saturating_sub(used));
                space.free = space.free.min(space.available);
            }
            Ok(space)
        }
        .await;
        pass.leave(result)
    }

    /// Makes a second name of a file.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn link(&self, existing: &VPath, new: &VPath) -> FsResult<()> {
        let pass = enter(&self.0, &Deed::Link(existing, new)).await?;
        let result = pass.tree().link(pass.cx(), existing, new).await;
        pass.leave(result)
    }

    /// What a symbolic link holds.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn read_link(&self, path: &VPath) -> FsResult<Vec<u8>> {
        let pass = enter(&self.0, &Deed::ReadLink(path)).await?;
        let result = pass.tree().read_link(pass.cx(), path).await;
        pass.leave(result)
    }

    async fn size_or_partial(&self, pass: &Pass, path: &VPath) -> u64 {
        match pass.tree().stat(pass.cx(), path, Links::Keep).await {
            Ok(entry) if entry.is_file() => entry.size.unwrap_or(0),
            Ok(_) => 0,
            Err(_) => pass
                .tree()
                .partial(pass.cx(), path)
                .await
                .ok()
                .flatten()
                .map_or(0, |p| p.size),
        }
    }

    /// The quota that `path` falls under, counted where nobody has counted yet.
    async fn quota(&self, pass: &Pass, path: &VPath) -> FsResult<Option<Quota>> {
        let Some((grant, _)) = pass.plan().grant(path) else {
            return Ok(None);
        };
        let Some(limit) = grant.limits.quota else {
            return Ok(None);
        };
        let quota = Quota {
            book: Arc::clone(&self.0.gate.0.quota),
            key: grant.quota_key(),
            limit: limit.0,
        };
        quota.ensure_counted(pass.cx(), pass.tree(), &grant.mount).await?;
        Ok(Some(quota))
    }

    fn bucket(&self, direction: &'static str, rate: u64) -> Arc<crate::rate::Bucket> {
        self.0
            .gate
            .0
            .rates
            .bucket(self.0.cx.owner.0.to_string(), direction, rate)
    }
}

fn named(mut entry: Entry, path: &VPath) -> Entry {
    entry.name = path.file_name();
    entry
}

/// An open directory.
pub struct Listing {
    inner: Box<dyn portreeve_vfs::Listing>,
    /// Pending uploads of this session in it: they stand in for what is visible.
    own: HashMap<Name, Entry>,
    /// Whether it began at the start: pending names that are not visible yet are told once.
    first: bool,
    done: bool,
}

impl Listing {
    /// The next entries, at most `max`; none means the end.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        if self.done {
            return Ok(Vec::new());
        }
        let mut entries = self.inner.next(max).await?;
        if self.own.is_empty() {
            self.done = entries.is_empty();
            return Ok(entries);
        }
        for entry in &mut entries {
            if let Some(own) = entry.name.as_ref().and_then(|name| self.own.remove(name)) {
                *entry = own;
            }
        }
        if entries.is_empty() {
            self.done = true;
            if self.first {
                entries.extend(self.own.drain().map(|(_, entry)| entry));
            }
        }
        Ok(entries)
    }

    /// Where it stands, for going on later without holding it.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

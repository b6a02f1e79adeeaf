//! The only file handle that a door can name. What looks is here; what changes is in `changes`, the
//! opening of uploads in `opening`.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use parking_lot::Mutex;
use portreeve_model::{Name, VPath, Verb, VerbSet};
use portreeve_vfs::{Cursor, Entry, FsError, FsErrorKind, FsResult, Links, Partial, Space};

use crate::{
    Download, Listing,
    choke::{Pass, enter},
    deed::Deed,
    digest::Digest,
    ledger::Quota,
    listing::{Begin, Unfinished},
    live::Live,
    mandate::Mandate,
    plan::Filter,
};

/// A person's files, through every layer. Cheap to clone.
#[derive(Clone)]
pub struct UserFs(pub(crate) Arc<Live>);

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

    /// Every verb that is allowed on a path: for telling a client, never instead of trying.
    #[must_use]
    pub fn verbs(&self, path: &VPath) -> VerbSet {
        self.0.view().plan.verbs(path)
    }

    /// The verbs that are allowed on every entry of `dir` alike; none where rules or mounts below it make
    /// a difference.
    #[must_use]
    pub fn verbs_below(&self, dir: &VPath) -> Option<VerbSet> {
        self.0.view().plan.verbs_below(dir)
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
            let listed = pass.plan().lists_partials(dir);
            let begin = Begin::of(from, listed)?;
            let (first, storage) = (begin.is_first(), begin.in_storage());
            let inner = pass.tree().list(pass.cx(), dir, storage).await?;
            let own = if self.0.pending.is_empty() {
                HashMap::new()
            } else {
                self.0.pending.in_dir(dir).await?
            };
            let filter = pass.plan().filter(dir);
            let unfinished = match &begin {
                Begin::Unfinished(_) => unfinished(&pass, dir, &own, &filter).await?,
                Begin::Storage(_) => Vec::new(),
            };
            let unfinished = listed.then(|| Unfinished::new(unfinished, &begin));
            Ok(Listing::new(inner, own, first, filter, unfinished))
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
                    note: pass.cx().noted().cloned(),
                    mandate: Mandate::new(vec![Verb::Read], pass.view()),
                    rate: limits.download_rate.map(|rate| self.bucket("down", rate.0)),
                    digest: live.gate.0.audit.digest().map(Digest::new),
                    began: pass.began(),
                    bytes: AtomicU64::new(0),
                    failed: Mutex::new(None),
                    tls_reused: OnceLock::new(),
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

    /// Space of the storage behind a path; with a quota, that of the quota.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan.
    pub async fn space(&self, path: &VPath) -> FsResult<Space> {
        let pass = enter(&self.0, &Deed::Space(path)).await?;
        let result = async {
            let mut space = pass.tree().space(pass.cx(), path).await?;
            if let Some(quota) = self.quota(&pass, path).await? {
                let used = quota.used().await?;
                space.total = space.total.min(quota.limit());
                space.available = space.available.min(quota.limit().saturating_sub(used));
                space.free = space.free.min(space.available);
            }
            Ok(space)
        }
        .await;
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

    /// The quota that `path` falls under.
    pub(crate) async fn quota(&self, pass: &Pass, path: &VPath) -> FsResult<Option<Quota>> {
        let Some((grant, _)) = pass.plan().grant(path) else {
            return Ok(None);
        };
        let Some(limit) = grant.limits.quota else {
            return Ok(None);
        };
        let ledger = &self.0.gate.0.ledger;
        let quota = ledger.quota(grant.quota_key(), limit.0, pass.cx(), pass.tree(), &grant.mount);
        quota.await.map(Some)
    }

    pub(crate) fn bucket(&self, direction: &'static str, rate: u64) -> Arc<crate::rate::Bucket> {
        self.0
            .gate
            .0
            .rates
            .bucket(self.0.cx.owner.0.to_string(), direction, rate)
    }
}

/// What the person left unfinished in `dir`, in the order of names, where nothing complete is to be seen
/// under the name; what this session goes on with is not among it.
async fn unfinished(
    pass: &Pass,
    dir: &VPath,
    own: &HashMap<Name, Entry>,
    filter: &Filter,
) -> FsResult<Vec<Entry>> {
    let mut kept = pass.tree().partials(pass.cx(), dir).await?;
    kept.retain(|(name, _)| filter.shows(name) && !own.contains_key(name));
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut entries = Vec::new();
    for (name, partial) in kept {
        let Ok(path) = dir.join(&name) else { continue };
        match pass.tree().stat(pass.cx(), &path, Links::Keep).await {
            Err(error) if error.kind() == FsErrorKind::NotFound => {
                let mut entry = Entry::file(name, partial.size);
                entry.modified = Some(partial.modified);
                entries.push(entry);
            }
            // Something is there, even if it cannot be looked at.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(entries)
}

fn named(mut entry: Entry, path: &VPath) -> Entry {
    entry.name = path.file_name();
    entry
}

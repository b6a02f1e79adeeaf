//! Opening a file for writing: what may be replaced, and what the upload may hold.

use std::sync::Arc;

use portreeve_model::{VPath, Verb};
use portreeve_vfs::{Entry, FsResult, Links, OpenWrite, Rename, WriteFile, WriteMode};

use crate::{
    Upload, UserFs,
    allowance::{Allowance, Share, fits},
    carried_through::carried_through,
    choke::{Pass, enter},
    deed::Deed,
    digest::Digest,
    ledger::Quota,
    upload::Parts,
};

impl UserFs {
    /// Opens a file for writing.
    ///
    /// # Errors
    /// What the storage says; `Refused` by the plan; `Quota` and `TooLarge` where the announced size
    /// does not fit.
    pub async fn upload(&self, path: &VPath, how: OpenWrite) -> FsResult<Upload> {
        let (fs, path) = (self.clone(), path.clone());
        carried_through(Box::pin(async move {
            let pass = enter(&fs.0, &Deed::Upload(&path, &how)).await?;
            let opened = fs.open_upload(&pass, &path, how).await;
            pass.leave(opened)
        }))
        .await
    }

    async fn open_upload(&self, pass: &Pass, path: &VPath, how: OpenWrite) -> FsResult<Upload> {
        let grant = pass.plan().grant(path);
        let limits = grant.map(|(grant, _)| grant.limits).unwrap_or_default();
        let max_size = limits.max_file_size.map(|size| size.0);
        fits(how.size_hint.unwrap_or(0), max_size)?;
        let (file, share) = match self.quota(pass, path).await? {
            None => (open(pass, path, how).await?, None),
            Some(quota) => {
                let (file, share) = open_within(quota, pass, path, how).await?;
                (file, Some(share))
            }
        };
        let live = pass.live();
        let open = live
            .pending
            .enter(path.clone(), file, Allowance { max_size, share });
        Ok(Upload::new(Parts {
            live: Arc::clone(live),
            path: path.clone(),
            open,
            rate: limits.upload_rate.map(|rate| self.bucket("up", rate.0)),
            digest: live.gate.0.audit.digest().map(Digest::new),
            began: pass.began(),
        }))
    }
}

/// Opens, and counts what the upload begins with.
async fn open_within(
    quota: Quota,
    pass: &Pass,
    path: &VPath,
    how: OpenWrite,
) -> FsResult<(Arc<dyn WriteFile>, Arc<Share>)> {
    let turn_keeper = quota.clone();
    let _turn = turn_keeper.turn(path).await;
    let begins_with = match how.mode {
        WriteMode::Replace | WriteMode::CreateNew => 0,
        WriteMode::Update { .. } | WriteMode::Append { .. } | WriteMode::Resume { .. } => {
            goes_on_from(pass, path).await?
        }
    };
    let size = how.size_hint.unwrap_or(0).max(begins_with);
    let share = Share::open(quota, &pass.cx().owner, path, size).await?;
    match open(pass, path, how).await {
        Ok(file) => Ok((file, share)),
        Err(error) => {
            share.withdraw(path).await;
            Err(error)
        }
    }
}

/// The bytes that an upload without truncation starts from: its owner's partial, else a copy of the
/// visible file, which is counted beside it until one replaces the other.
async fn goes_on_from(pass: &Pass, path: &VPath) -> FsResult<u64> {
    if let Some(partial) = pass.tree().partial(pass.cx(), path).await? {
        return Ok(partial.size);
    }
    let visible = pass.tree().stat(pass.cx(), path, Links::Follow).await;
    Ok(visible
        .ok()
        .filter(Entry::is_file)
        .and_then(|entry| entry.size)
        .unwrap_or(0))
}

/// Whoever may create but not change must win no race: if somebody else makes the file meanwhile, the
/// commit refuses to replace it.
async fn open(pass: &Pass, path: &VPath, mut how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
    let only_creates = pass.there().is_none() && !pass.plan().allows(path, Verb::Overwrite);
    if only_creates && how.mode == WriteMode::Replace {
        how.mode = WriteMode::CreateNew;
    }
    let goes_on = !matches!(how.mode, WriteMode::Replace | WriteMode::CreateNew);
    let file = pass.tree().open_write(pass.cx(), path, how).await?;
    if only_creates
        && goes_on
        && !pass.plan().allows(path, Verb::Append)
        && let Err(error) = file.retarget(path, Rename::NoReplace).await
    {
        file.keep().await?;
        return Err(error);
    }
    Ok(file)
}

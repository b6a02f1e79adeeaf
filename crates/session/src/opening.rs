//! Opening a file for writing: what may be replaced, and what the upload may hold.

use std::sync::Arc;

use portreeve_model::{VPath, Verb};
use portreeve_vfs::{Entry, FsError, FsErrorKind, FsResult, Links, OpenWrite, Rename, WriteFile, WriteMode};

use crate::{
    Upload, UserFs,
    allowance::{Allowance, Share, fits},
    carried_through::carried_through,
    choke::{Pass, enter},
    deed::Deed,
    digest::Digest,
    ledger::Quota,
    mandate::Mandate,
    upload::{Grown, Parts},
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
        let mandate = Mandate::to_write(&how, pass.there().is_some(), pass.view());
        let ((file, grown), share) = match self.quota(pass, path).await? {
            None => (open(pass, path, how).await?, None),
            Some(quota) => {
                let (opened, share) = open_within(quota, pass, path, how).await?;
                (opened, Some(share))
            }
        };
        let live = pass.live();
        let (allowance, note) = (Allowance { max_size, share }, pass.cx().noted().cloned());
        let open = live.pending.enter(path.clone(), file, allowance, note);
        Ok(Upload::new(Parts {
            live: Arc::clone(live),
            path: path.clone(),
            open,
            grown,
            mandate,
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
) -> FsResult<(Opened, Arc<Share>)> {
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
        Ok(opened) => Ok((opened, share)),
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

/// The file, and what of it may not be changed.
type Opened = (Arc<dyn WriteFile>, Option<Grown>);

async fn open(pass: &Pass, path: &VPath, mut how: OpenWrite) -> FsResult<Opened> {
    let may = |verb| pass.plan().allows(path, verb);
    let goes_on = !matches!(how.mode, WriteMode::Replace | WriteMode::CreateNew);
    if goes_on && how.read_back && !may(Verb::Read) {
        // What was left unfinished may be somebody else's who goes by the same name.
        how.read_back = pass.tree().partial(pass.cx(), path).await?.is_none();
    }
    if !may(Verb::Overwrite) {
        return match visible(pass, path).await? {
            Some(there) if goes_on => add_to(pass, path, how, &there).await,
            _ => make(pass, path, how).await,
        };
    }
    Ok((pass.tree().open_write(pass.cx(), path, how).await?, None))
}

async fn visible(pass: &Pass, path: &VPath) -> FsResult<Option<Entry>> {
    if let Some(there) = pass.there() {
        return Ok(Some(there.clone()));
    }
    match pass.tree().stat(pass.cx(), path, Links::Follow).await {
        Ok(there) => Ok(Some(there)),
        Err(error) if matches!(error.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => Ok(None),
        Err(error) => Err(error),
    }
}

/// For whoever may add to a file but not overwrite it: it has to begin with what all others see.
async fn add_to(pass: &Pass, path: &VPath, how: OpenWrite, there: &Entry) -> FsResult<Opened> {
    if pass.tree().partial(pass.cx(), path).await?.is_some() {
        let why = "an unfinished upload of yours lies under this name, and finishing it would replace the file \
                   that has come since: upload it under another name";
        return Err(FsError::new(FsErrorKind::Conflict).context(why));
    }
    let may = |verb| pass.plan().allows(path, verb);
    let grown = Grown {
        from: there.size.unwrap_or(0),
        by_offset: !matches!(how.mode, WriteMode::Append { .. }),
        may_truncate: may(Verb::Truncate),
        may_set_attrs: may(Verb::SetAttrs),
    };
    Ok((pass.tree().open_write(pass.cx(), path, how).await?, Some(grown)))
}

/// Whoever may create but not change must win no race: if somebody else makes the file meanwhile, the
/// commit refuses to replace it.
async fn make(pass: &Pass, path: &VPath, mut how: OpenWrite) -> FsResult<Opened> {
    if how.mode == WriteMode::Replace {
        how.mode = WriteMode::CreateNew;
    }
    let goes_on = how.mode != WriteMode::CreateNew;
    let file = pass.tree().open_write(pass.cx(), path, how).await?;
    if goes_on && let Err(error) = file.retarget(path, Rename::NoReplace).await {
        file.keep().await?;
        return Err(error);
    }
    Ok((file, None))
}

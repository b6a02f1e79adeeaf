//! Every operation there is: what it is called in the audit log, and what it needs.

use portreeve_model::{Act, Transfer, VPath, Verb};
use portreeve_vfs::{Attrs, FsError, FsErrorKind, FsResult, OpenWrite, Removal, Rename, WriteMode};

use crate::Plan;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed<'a> {
    Stat(&'a VPath),
    List(&'a VPath),
    Download(&'a VPath),
    Upload(&'a VPath, &'a OpenWrite),
    Remove(&'a VPath, Removal),
    MakeDir(&'a VPath),
    Rename(&'a VPath, &'a VPath, Rename),
    SetAttrs(&'a VPath, &'a Attrs),
    Copy(&'a VPath, &'a VPath, Rename),
    Space(&'a VPath),
    Link(&'a VPath, &'a VPath),
    ReadLink(&'a VPath),
}

/// Whether something is at the target: some verbs depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    Yes,
    No,
    /// Not asked, since the answer changes nothing.
    Either,
}

impl Deed<'_> {
    /// What it is called. A transfer that began makes its own record when it ends.
    pub(crate) fn act(&self) -> Act {
        let transfer = |path: &VPath| Transfer {
            path: path.clone(),
            bytes: 0,
            size: None,
            digest: None,
            kept: None,
        };
        match *self {
            Self::Stat(path) | Self::Space(path) | Self::ReadLink(path) => Act::Stat(path.clone()),
            Self::List(path) => Act::List(path.clone()),
            Self::Download(path) => Act::Download(transfer(path)),
            Self::Upload(path, _) => Act::Upload(transfer(path)),
            Self::Remove(path, Removal::File) => Act::RemoveFile(path.clone()),
            Self::Remove(path, Removal::Dir) => Act::RemoveDir(path.clone()),
            Self::MakeDir(path) => Act::MakeDir(path.clone()),
            Self::Rename(from, to, ..) => Act::Rename {
                from: from.clone(),
                to: to.clone(),
            },
            Self::SetAttrs(path, _) => Act::SetAttrs(path.clone()),
            Self::Copy(from, to, ..) => Act::Copy {
                from: from.clone(),
                to: to.clone(),
            },
            Self::Link(existing, new) => Act::Link {
                path: new.clone(),
                target: existing.as_bytes().to_vec(),
            },
        }
    }

    /// Whether its success is recorded: look-ups are recorded only when refused, transfers when they end.
    pub(crate) const fn is_recorded(&self) -> bool {
        !matches!(
            self,
            Self::Stat(_) | Self::Space(_) | Self::ReadLink(_) | Self::Download(_) | Self::Upload(..)
        )
    }

    /// The path of which must be known first whether something is there: where creating and changing
    /// are not both allowed, where a name may be replaced, and where a quota counts what is replaced.
    pub(crate) fn asks_about(&self, plan: &Plan) -> Option<&VPath> {
        let counted = |path: &VPath| {
            plan.grant(path)
                .is_some_and(|(grant, _)| grant.limits.quota.is_some())
        };
        match *self {
            Self::Upload(path, how) => {
                let same = check_upload(plan, path, how.mode, Present::Either).is_ok();
                (counted(path) || !same && how.mode != WriteMode::CreateNew).then_some(path)
            }
            Self::Rename(_, to, Rename::Replace) | Self::Copy(_, to, Rename::Replace) => Some(to),
            _ => None,
        }
    }

    /// Whether the plan allows it.
    ///
    /// # Errors
    /// `Refused` with the verb that is missing, or `NotFound` where the person may not even know.
    pub(crate) fn check(&self, plan: &Plan, present: Present) -> FsResult<()> {
        let need = |path: &VPath, verb: Verb| need_any(plan, path, &[verb]);
        match *self {
            Self::Stat(path) | Self::Space(path) | Self::ReadLink(path) => {
                if plan.leads_to_mount(path) {
                    return Ok(());
                }
                need_any(plan, path, &[Verb::List, Verb::Read])
            }
            Self::List(path) => {
                if plan.leads_to_mount(path) && plan.grant(path).is_none() {
                    return Ok(());
                }
                need(path, Verb::List)
            }
            Self::Download(path) => need(path, Verb::Read),
            Self::Upload(path, how) => check_upload(plan, path, how.mode, present),
            Self::Remove(path, _) => need(path, Verb::Delete),
            Self::MakeDir(path) => need(path, Verb::MakeDir),
            Self::Rename(from, to, how) => {
                need(from, Verb::Rename)?;
                need(to, Verb::Rename)?;
                if how == Rename::Replace && present == Present::Yes {
                    need(to, Verb::Overwrite)?;
                }
                Ok(())
            }
            Self::SetAttrs(path, attrs) => {
                if attrs.size.is_some() {
                    need(path, Verb::Truncate)?;
                }
                if attrs.mode.is_some() || attrs.modified.is_some() || attrs.accessed.is_some() {
                    need(path, Verb::SetAttrs)?;
                }
                Ok(())
            }
            Self::Copy(from, to, how) => {
                need(from, Verb::Read)?;
                match (how, present) {
                    (Rename::Replace, Present::Yes) => need(to, Verb::Overwrite),
                    _ => need(to, Verb::Create),
                }
            }
            Self::Link(existing, new) => {
                need(existing, Verb::Read)?;
                need(new, Verb::Create)
            }
        }
    }
}

fn check_upload(plan: &Plan, path: &VPath, mode: WriteMode, present: Present) -> FsResult<()> {
    let change: &[Verb] = match mode {
        WriteMode::CreateNew => return need_any(plan, path, &[Verb::Create]),
        WriteMode::Replace | WriteMode::Update { .. } => &[Verb::Overwrite],
        WriteMode::Append { .. } | WriteMode::Resume { .. } => &[Verb::Append, Verb::Overwrite],
    };
    match present {
        Present::Yes => need_any(plan, path, change),
        Present::No => need_any(plan, path, &[Verb::Create]),
        Present::Either => need_any(plan, path, &[Verb::Create]).and_then(|()| need_any(plan, path, change)),
    }
}

fn need_any(plan: &Plan, path: &VPath, verbs: &[Verb]) -> FsResult<()> {
    if verbs.iter().any(|verb| plan.allows(path, *verb)) {
        return Ok(());
    }
    // Refused and absent look the same to whoever may not list: nothing here has asked the backend yet,
    // and a client that looks before it puts must find "not there" rather than a refusal.
    let looks = verbs.iter().all(|verb| matches!(verb, Verb::List | Verb::Read));
    if looks && !plan.allows(path, Verb::List) || plan.grant(path).is_none() && !plan.leads_to_mount(path) {
        return Err(FsErrorKind::NotFound.into());
    }
    let missing = verbs.first().map_or("", |verb| verb.name());
    Err(FsError::new(FsErrorKind::Refused)
        .context(format!("permission denied: your account lacks '{missing}' here")))
}

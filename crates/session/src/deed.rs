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
    /// Not asked, since the answer changes nothing; or nobody could say, and both must be allowed.
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
    /// are not both allowed, and where a name may be replaced.
    pub(crate) fn asks_about(&self, plan: &Plan) -> Option<&VPath> {
        match *self {
            Self::Upload(path, how) => {
                let same = check_upload(plan, path, how, Present::Either).is_ok();
                (!same && how.mode != WriteMode::CreateNew).then_some(path)
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
            Self::Upload(path, how) => check_upload(plan, path, how, present),
            Self::Remove(path, _) => need(path, Verb::Delete),
            Self::MakeDir(path) => need(path, Verb::MakeDir),
            Self::Rename(from, to, how) => {
                need(from, Verb::Rename)?;
                need(to, Verb::Rename)?;
                if how == Rename::Replace && present != Present::No {
                    need(to, Verb::Overwrite)?;
                }
                // What may be made here must not come by a detour to where it may not be made.
                if present != Present::Yes && plan.allows(from, Verb::Create) {
                    need(to, Verb::Create)?;
                }
                gains_nothing(plan, from, to)
            }
            Self::SetAttrs(path, attrs) => {
                if attrs.size.is_some() {
                    need(path, Verb::Truncate)?;
                }
                // Setting nothing needs the verb as well, or it would tell whether something is there.
                let others = attrs.mode.is_some() || attrs.modified.is_some() || attrs.accessed.is_some();
                if others || attrs.size.is_none() {
                    need(path, Verb::SetAttrs)?;
                }
                Ok(())
            }
            Self::Copy(from, to, how) => {
                need(from, Verb::Read)?;
                match (how, present) {
                    (Rename::NoReplace, _) | (_, Present::No) => need(to, Verb::Create),
                    (Rename::Replace, Present::Yes) => need(to, Verb::Overwrite),
                    (Rename::Replace, Present::Either) => {
                        need(to, Verb::Create).and_then(|()| need(to, Verb::Overwrite))
                    }
                }
            }
            Self::Link(existing, new) => {
                need(existing, Verb::Read)?;
                need(new, Verb::Create)?;
                gains_nothing(plan, existing, new)
            }
        }
    }
}

fn check_upload(plan: &Plan, path: &VPath, how: &OpenWrite, present: Present) -> FsResult<()> {
    let change: &[Verb] = match how.mode {
        WriteMode::CreateNew => return need_any(plan, path, &[Verb::Create]),
        WriteMode::Replace | WriteMode::Update { .. } => &[Verb::Overwrite],
        WriteMode::Append { .. } | WriteMode::Resume { .. } => &[Verb::Append, Verb::Overwrite],
    };
    if how.read_back && how.mode != WriteMode::Replace && present != Present::No {
        // What is there shows through the handle.
        need_any(plan, path, &[Verb::Read])?;
    }
    match present {
        Present::Yes => need_any(plan, path, change),
        Present::No => need_any(plan, path, &[Verb::Create]),
        Present::Either => need_any(plan, path, &[Verb::Create]).and_then(|()| need_any(plan, path, change)),
    }
}

/// Nobody comes to a right over a file by giving it another name: what is denied at the old one has to
/// be denied at the new one. A rule that keeps files in `/Archive` from being deleted would otherwise
/// end at a rename out of it.
fn gains_nothing(plan: &Plan, from: &VPath, to: &VPath) -> FsResult<()> {
    const OVER_CONTENT: [Verb; 7] = [
        Verb::Read,
        Verb::Overwrite,
        Verb::Append,
        Verb::Truncate,
        Verb::Delete,
        Verb::SetAttrs,
        Verb::Share,
    ];
    let gained = OVER_CONTENT
        .iter()
        .find(|verb| plan.allows(to, **verb) && !plan.allows(from, **verb));
    gained.map_or(Ok(()), |verb| {
        Err(refused(format!(
            "permission denied: your account lacks '{verb}' on the old name and would have it on the new one"
        )))
    })
}

/// A verb is missing.
pub(crate) fn lacks(verb: Verb) -> FsError {
    refused(format!("permission denied: your account lacks '{verb}' here"))
}

/// A refusal by policy.
pub(crate) fn refused(why: String) -> FsError {
    FsError::new(FsErrorKind::Refused).context(why)
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
    Err(verbs
        .first()
        .map_or_else(|| FsErrorKind::Refused.into(), |verb| lacks(*verb)))
}

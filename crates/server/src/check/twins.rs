//! Two accounts of one private folder: what can be known of it from the configuration alone.
//!
//! Invariant: only accounts that somebody can reach count. Of two steps that know one name the first
//! decides, so the second one's account is a person of its own only where the first is not asked: at
//! another listener, for another kind of credential, or because it passes on what it rejects.

use std::collections::{BTreeSet, HashMap, HashSet};

use portreeve_auth::{CredentialKind, folder};
use portreeve_model::{GroupName, UserName};

use super::{problem::Problem, read::Partial, tree::Node};
use crate::options::{Group, MethodOptions, OnTrouble, StepKind};

/// What a subpath has that is named after its user.
const USER: &str = "{user}";

/// Whether some mount is named after its user.
pub(crate) fn any_private(groups: &[Group]) -> bool {
    let mut mounts = groups.iter().flat_map(|group| &group.options.mounts);
    mounts.any(|mount| mount.subpath.as_deref().is_some_and(|text| text.contains(USER)))
}

/// The accounts of one step that the configuration names.
pub(super) struct Known {
    /// The step's position among the steps that could be read.
    pub(super) step: usize,
    /// The accounts with their own groups.
    pub(super) accounts: Vec<(UserName, Vec<GroupName>)>,
}

/// A storage and a subpath with a place for the user.
type Folder<'a> = (&'a str, &'a str);

/// An account and the folders it would own.
type Owner<'a> = (&'a Way<'a>, &'a UserName, Vec<Folder<'a>>);

/// What is needed to walk the chain.
struct Way<'a> {
    known: &'a Known,
    shared: &'a MethodOptions,
    /// An anonymous step takes its names in any capitals and accepts them all.
    anonymous: bool,
    names: HashSet<String>,
}

/// Adds a problem for each account that shares a folder with one of an earlier step.
pub(super) fn check(tree: &Node, config: &Partial, known: &[Known], problems: &mut Vec<Problem>) {
    if !any_private(config.groups()) {
        return;
    }
    let ways: Vec<Way<'_>> = known.iter().filter_map(|known| way(config, known)).collect();
    let mut owners: HashMap<String, Vec<Owner<'_>>> = HashMap::new();
    for way in &ways {
        for (name, own) in &way.known.accounts {
            if !reachable(config, &ways, way, name) {
                continue;
            }
            let folders = folders(config, way.shared, own);
            let owners = owners
                .entry(folder(name, &way.shared.remove_username_suffix))
                .or_default();
            let twin = owners.iter().find(|(other, _, theirs)| {
                other.known.step != way.known.step && theirs.iter().any(|folder| folders.contains(folder))
            });
            if let (Some((_, twin, _)), Some((at, step)), Some((_, before))) = (
                twin,
                config.steps.get(way.known.step),
                twin.and_then(|(other, ..)| config.steps.get(other.known.step)),
            ) {
                let message = format!(
                    "'{name}' of '{}' and '{twin}' of '{}' are two people and would share one private folder",
                    step.name, before.name
                );
                let key = if way.anonymous { "usernames" } else { "path" };
                let problem = Problem::new(tree.place(&format!("auth.{at}.{key}")), message);
                problems.push(problem.hint("a mount has {user} in its subpath; rename one of the two"));
            }
            owners.push((way, name, folders));
        }
    }
}

fn way<'a>(config: &'a Partial, known: &'a Known) -> Option<Way<'a>> {
    let (_, step) = config.steps.get(known.step)?;
    let shared = step.kind.method().filter(|_| step.enabled)?;
    let anonymous = matches!(step.kind, StepKind::Anonymous(..));
    let names = known.accounts.iter().map(|(name, _)| match anonymous {
        true => name.folded(),
        false => name.to_string(),
    });
    Some(Way {
        known,
        shared,
        anonymous,
        names: names.collect(),
    })
}

impl Way<'_> {
    fn takes(&self) -> [CredentialKind; 2] {
        match self.anonymous {
            true => [CredentialKind::Password, CredentialKind::Nothing],
            false => [CredentialKind::Password, CredentialKind::PublicKey],
        }
    }

    /// Whether it leaves nobody who is called so to the steps behind it.
    fn keeps(&self, name: &UserName, behind: &Self) -> bool {
        match (self.anonymous, behind.anonymous) {
            (true, _) => self.names.contains(&name.folded()),
            // Some other capitals are left.
            (false, true) => false,
            (false, false) => self.shared.on_reject == OnTrouble::Stop && self.names.contains(name.as_str()),
        }
    }
}

/// Whether some listener leads to this account with some kind of credential.
fn reachable(config: &Partial, ways: &[Way<'_>], way: &Way<'_>, name: &UserName) -> bool {
    let counts = |way: &Way<'_>, part: Option<&Vec<String>>| {
        let step = config.steps.get(way.known.step);
        step.is_some_and(|(_, step)| part.is_none_or(|part| part.iter().any(|word| **word == *step.name)))
    };
    let parts: BTreeSet<Option<&Vec<String>>> = config
        .listeners
        .iter()
        .map(|(_, listener)| listener.auth.as_ref())
        .collect();
    parts.into_iter().filter(|part| counts(way, *part)).any(|part| {
        way.takes().into_iter().any(|kind| {
            let mut before = ways.iter().filter(|other| other.known.step < way.known.step);
            !before
                .any(|other| counts(other, part) && other.takes().contains(&kind) && other.keeps(name, way))
        })
    })
}

/// The folders of their own that members of these groups see.
fn folders<'a>(config: &'a Partial, shared: &MethodOptions, own: &[GroupName]) -> Vec<Folder<'a>> {
    let is_in = |group: &Group| {
        own.contains(&group.name) || shared.base_groups.iter().any(|name| name == group.name.as_str())
    };
    let mounts = config
        .groups()
        .iter()
        .filter(|group| is_in(group))
        .flat_map(|group| &group.options.mounts);
    mounts
        .filter_map(|mount| Some((mount.storage.as_str(), mount.subpath.as_deref()?)))
        .filter(|(_, subpath)| subpath.contains(USER))
        .collect()
}

//! What one person sees: the mounts of their groups, with verbs, rules and limits.

use std::{collections::BTreeMap, fmt, sync::Arc};

use portreeve_model::{GroupName, Name, PathError, UserName, VPath, Verb, VerbSet};
use portreeve_vfs::{FileSystem, FsError, FsErrorKind, FsResult, Mounts, OpCx, Subtree, contained};

use crate::{
    MountLimits, MountOptions, Partials,
    rules::{self, Rule},
};

/// A mount of a group, checked: its storage found, its rules compiled.
#[derive(Clone)]
pub struct MountPlan {
    path: VPath,
    storage: Arc<str>,
    backend: Arc<dyn FileSystem>,
    subpath: Option<String>,
    verbs: VerbSet,
    rules: Arc<[Rule]>,
    limits: MountLimits,
    partials: Partials,
}

/// The mounts of one group, in the configuration's order.
#[derive(Clone, Default)]
pub struct GroupPlan {
    /// The mounts.
    pub mounts: Vec<MountPlan>,
}

impl MountPlan {
    /// Checks one entry of `mounts` over the storage it names.
    ///
    /// # Errors
    /// Every problem, each a sentence.
    pub fn new(options: &MountOptions, backend: Arc<dyn FileSystem>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let path = VPath::parse(&options.path).unwrap_or_else(|error| {
            problems.push(format!("path: {error}"));
            VPath::root()
        });
        if !options.path.starts_with('/') {
            problems.push(format!("path: {:?} must start with '/'", options.path));
        }
        let verbs = rules::verbs(&options.verbs).unwrap_or_else(|problem| {
            problems.push(format!("verbs: {problem}"));
            VerbSet::NONE
        });
        let mut compiled = Vec::new();
        for rule in &options.rules {
            match Rule::new(rule) {
                Ok(rule) => compiled.push(rule),
                Err(problem) => problems.push(format!("rules: {problem}")),
            }
        }
        if let Some(text) = &options.subpath {
            let sample = UserName::new("user").map_err(|e| vec![e.to_string()])?;
            // A placeholder that is filled in later may be anything; its form is checked here.
            if let Err(problem) = fill(text, &sample, &|_| Some("x".into())) {
                problems.push(format!("subpath: {problem}"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if options.partials == Partials::Listed && !backend.capabilities().list_partials {
            tracing::warn!(
                mount = %path,
                storage = options.storage,
                "partials = \"listed\" shows nothing here: this storage cannot list unfinished uploads (a disk \
                 needs a file system with extended attributes)"
            );
        }
        Ok(Self {
            path,
            storage: options.storage.as_str().into(),
            backend,
            subpath: options.subpath.clone(),
            verbs,
            rules: compiled.into(),
            limits: options.limits,
            partials: options.partials,
        })
    }

    /// Where it appears.
    #[must_use]
    pub const fn path(&self) -> &VPath {
        &self.path
    }
}

/// Why a plan cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError(pub String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One mount, granted to one person.
#[derive(Clone)]
pub struct Grant {
    pub(crate) mount: VPath,
    pub(crate) storage: Arc<str>,
    pub(crate) group: GroupName,
    pub(crate) within: VPath,
    pub(crate) backend: Arc<dyn FileSystem>,
    pub(crate) verbs: VerbSet,
    /// What neither the mount's verbs nor a rule can give this person more than.
    pub(crate) ceiling: VerbSet,
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) limits: MountLimits,
    pub(crate) partials: Partials,
}

impl Grant {
    /// Whether `verb` is allowed on `path` (as seen from the mount), and what decided, where it was not
    /// the mount's verbs.
    fn decide(&self, path: &VPath, verb: Verb) -> (bool, Option<String>) {
        if !self.ceiling.has(verb) {
            return (false, Some("this person may only read".to_owned()));
        }
        let (allowed, rule) = rules::decide(&self.rules, self.verbs, path, verb);
        (allowed, rule.map(|rule| format!("the rule {rule}")))
    }

    /// The mount's verbs as its configuration would name them.
    fn words(&self) -> String {
        if self.verbs == VerbSet::full() {
            return "the verbs of the mount: full".to_owned();
        }
        let names: Vec<_> = self.verbs.iter().map(Verb::name).collect();
        format!("the verbs of the mount: {}", names.join(", "))
    }

    /// Where it appears.
    #[must_use]
    pub const fn mount(&self) -> &VPath {
        &self.mount
    }

    /// The storage behind it.
    #[must_use]
    pub fn storage(&self) -> &str {
        &self.storage
    }

    /// The group that brings it.
    #[must_use]
    pub const fn group(&self) -> &GroupName {
        &self.group
    }

    /// The directory of the storage that is mounted.
    #[must_use]
    pub const fn within(&self) -> &VPath {
        &self.within
    }

    /// What may be done, before the rules.
    #[must_use]
    pub const fn verbs(&self) -> VerbSet {
        self.verbs
    }

    /// What the quota of this grant is counted under: two people in one shared directory share it.
    pub(crate) fn quota_key(&self) -> String {
        format!("{}:{}", self.storage, self.within)
    }
}

/// The ordered grants of one person.
#[derive(Clone, Default)]
pub struct Plan {
    grants: Vec<Grant>,
}

/// Hides from a listing what the rules hide from a look-up: names on which neither List nor Read is
/// allowed. Without rules there are none.
pub(crate) struct Filter(Option<(Plan, VPath)>);

impl Filter {
    pub(crate) fn shows(&self, name: &Name) -> bool {
        let Some((plan, dir)) = &self.0 else { return true };
        dir.join(name).is_ok_and(|path| {
            plan.allows(&path, Verb::List) || plan.allows(&path, Verb::Read) || plan.leads_to_mount(&path)
        })
    }
}

/// How one verb stands on one path, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The verb.
    pub verb: Verb,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The mount it falls in; none where no mount holds the path.
    pub mount: Option<VPath>,
    /// The storage behind it.
    pub storage: Option<String>,
    /// The group that brings the mount.
    pub group: Option<String>,
    /// What decided: a rule, the mount's verbs, or that no mount holds the path.
    pub because: String,
}

impl Plan {
    /// The plan of `user`, from the groups in their order: where two mount the same path, the first
    /// group's mount counts.
    ///
    /// # Errors
    /// A placeholder of a `subpath` that cannot be filled safely.
    pub(crate) fn new<'a>(
        user: &UserName,
        groups: impl Iterator<Item = (&'a GroupName, &'a GroupPlan)>,
        claims: &BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        let read_only = claims
            .get(portreeve_auth::READ_ONLY_CLAIM)
            .is_some_and(|value| value == "true");
        let mut grants: Vec<Grant> = Vec::new();
        for (group, plan) in groups {
            for mount in &plan.mounts {
                if grants.iter().any(|grant| grant.mount == mount.path) {
                    continue;
                }
                let within = match &mount.subpath {
                    None => VPath::root(),
                    Some(text) => fill(text, user, &|claim| claims.get(claim).cloned()).map_err(|why| {
                        PlanError(format!("the mount {} of group '{group}': {why}", mount.path))
                    })?,
                };
                grants.push(Grant {
                    mount: mount.path.clone(),
                    storage: Arc::clone(&mount.storage),
                    group: group.clone(),
                    within,
                    backend: Arc::clone(&mount.backend),
                    verbs: mount.verbs,
                    ceiling: if read_only {
                        VerbSet::read_only()
                    } else {
                        VerbSet::full()
                    },
                    rules: Arc::clone(&mount.rules),
                    limits: mount.limits,
                    partials: mount.partials,
                });
            }
        }
        Ok(Self { grants })
    }

    /// The grants.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The grant that holds `path` (the deepest mount), and the path as seen from its mount.
    pub(crate) fn grant(&self, path: &VPath) -> Option<(&Grant, VPath)> {
        self.grants
            .iter()
            .filter_map(|grant| path.strip_prefix(&grant.mount).map(|within| (grant, within)))
            .max_by_key(|(grant, _)| grant.mount.depth())
    }

    /// Whether `path` lies above a mount: it is shown so that the mount can be reached.
    pub(crate) fn leads_to_mount(&self, path: &VPath) -> bool {
        path.is_root() || self.grants.iter().any(|grant| grant.mount.starts_with(path))
    }

    /// Whether `verb` is allowed on `path`.
    #[must_use]
    pub fn allows(&self, path: &VPath, verb: Verb) -> bool {
        match self.grant(path) {
            Some((grant, within)) => grant.decide(&within, verb).0,
            None => false,
        }
    }

    /// Every verb that is allowed on `path`.
    pub(crate) fn verbs(&self, path: &VPath) -> VerbSet {
        self.grant(path).map_or(VerbSet::NONE, |(grant, within)| {
            Verb::ALL
                .into_iter()
                .filter(|verb| grant.decide(&within, *verb).0)
                .fold(VerbSet::NONE, VerbSet::with)
        })
    }

    /// The verbs that are allowed on every entry of `dir` alike: where its mount has no rules, and no
    /// other mount lies below.
    pub(crate) fn verbs_below(&self, dir: &VPath) -> Option<VerbSet> {
        let (grant, _) = self.grant(dir)?;
        let others = self
            .grants
            .iter()
            .any(|other| other.mount != *dir && other.mount.starts_with(dir));
        (grant.rules.is_empty() && !others).then(|| self.verbs(dir))
    }

    /// Whether a rule speaks of something below the directory `from` and keeps it from becoming `to`:
    /// there the rule would no longer hold, or it forbids the renaming itself.
    pub(crate) fn bars_move(&self, from: &VPath, to: &VPath) -> bool {
        let (Some((grant, old)), Some((_, new))) = (self.grant(from), self.grant(to)) else {
            return false;
        };
        grant.rules.iter().any(|rule| rule.bars_move(&old, &new))
    }

    /// Which entries of `dir` a listing shows.
    pub(crate) fn filter(&self, dir: &VPath) -> Filter {
        let ruled = self.grant(dir).is_some_and(|(grant, _)| !grant.rules.is_empty());
        Filter(ruled.then(|| (self.clone(), dir.clone())))
    }

    /// Whether people see in `dir` what they left unfinished there.
    pub(crate) fn lists_partials(&self, dir: &VPath) -> bool {
        self.grant(dir)
            .is_some_and(|(grant, _)| grant.partials == Partials::Listed)
    }

    /// How every verb stands on `path`, and why: for `explain access`.
    #[must_use]
    pub fn explain(&self, path: &VPath) -> Vec<Explained> {
        let found = self.grant(path);
        Verb::ALL
            .into_iter()
            .map(|verb| match &found {
                None => Explained {
                    verb,
                    allowed: verb == Verb::List && self.leads_to_mount(path),
                    mount: None,
                    storage: None,
                    group: None,
                    because: "no mount holds this path".into(),
                },
                Some((grant, within)) => {
                    let (allowed, why) = grant.decide(within, verb);
                    Explained {
                        verb,
                        allowed,
                        mount: Some(grant.mount.clone()),
                        storage: Some(grant.storage.to_string()),
                        group: Some(grant.group.to_string()),
                        because: why.unwrap_or_else(|| grant.words()),
                    }
                }
            })
            .collect()
    }

    /// The tree that this plan describes, its directories made where they are missing.
    ///
    /// # Errors
    /// What the storages say.
    pub(crate) async fn build(&self, cx: &OpCx) -> FsResult<Mounts> {
        let mut mounts: Vec<(VPath, Arc<dyn FileSystem>)> = Vec::new();
        for grant in &self.grants {
            let backend = Arc::clone(&grant.backend);
            let tree: Arc<dyn FileSystem> = if grant.within.is_root() {
                backend
            } else {
                let subtree = Subtree::new(backend, grant.within.clone());
                contained(subtree.prepare(cx)).await?;
                Arc::new(subtree)
            };
            mounts.push((grant.mount.clone(), tree));
        }
        Mounts::new(mounts).map_err(|twice| {
            FsError::new(FsErrorKind::Conflict)
                .context("a path is mounted twice")
                .caused_by(twice)
        })
    }
}

/// Fills `{user}` and `{user.CLAIM}` into a path. A value becomes exactly one component, or part of
/// one: `/`, `.` and `..` in it are refused rather than repaired, so that no name reaches another's folder.
fn fill(text: &str, user: &UserName, claim: &dyn Fn(&str) -> Option<String>) -> Result<VPath, String> {
    let mut path = VPath::root();
    for part in text.split('/').filter(|part| !part.is_empty()) {
        let mut filled = String::new();
        let mut rest = part;
        while let Some((before, tail)) = rest.split_once('{') {
            let (name, after) = tail
                .split_once('}')
                .ok_or_else(|| format!("{text:?} has a '{{' without its '}}'"))?;
            filled.push_str(before);
            match name {
                "user" => filled.push_str(user.as_str()),
                other => {
                    let key = other.strip_prefix("user.").ok_or_else(|| {
                        format!("{{{other}}} is no placeholder; there are {{user}} and {{user.CLAIM}}")
                    })?;
                    filled.push_str(&claim(key).ok_or_else(|| format!("the account has no '{key}'"))?);
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        let name = Name::new(filled.as_bytes()).map_err(|error: PathError| format!("{filled:?}: {error}"))?;
        path = path.join(&name).map_err(|error| error.to_string())?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fills_one_component_or_none() {
        let claims = |key: &str| (key == "mail").then(|| "a@b".to_owned());
        for (text, user, want) in [
            ("/home/{user}", "alice", Ok("/home/alice")),
            ("{user}-x/{user.mail}", "alice", Ok("/alice-x/a@b")),
            ("/{user}", "../bob", Err("'/'")),
            ("/{user}", "..", Err("..")),
            ("/{user.phone}", "alice", Err("no 'phone'")),
            ("/{name}", "alice", Err("no placeholder")),
            ("/{user", "alice", Err("without")),
        ] {
            let got = fill(text, &UserName::new(user).unwrap(), &claims);
            match want {
                Ok(path) => assert_eq!(got.unwrap().as_str(), Some(path), "{text}"),
                Err(word) => assert!(got.unwrap_err().contains(word), "{text} {user}"),
            }
        }
    }
}

//! From what a method knows to what a person is here: suffixes removed, groups and roles resolved.

use std::{collections::HashMap, sync::Arc};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{
    Audience, Denial, Identity, Principal, Verified,
    principal::{Inner, expiry},
};

/// A group of the configuration and the foreign names that mean it.
#[derive(Debug, Clone)]
pub struct GroupRule {
    /// The group.
    pub group: GroupName,
    /// Foreign names (a DN, an object id), compared without regard to case.
    pub external: Vec<String>,
}

/// A role of the configuration and the foreign names that mean it.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// The role.
    pub role: RoleName,
    /// Foreign names, compared without regard to case.
    pub external: Vec<String>,
}

/// What every step's people get on top, by the step's name.
#[derive(Debug, Clone, Default)]
pub struct StepRules {
    /// Groups of everybody whom the step accepts, first.
    pub base_groups: Vec<GroupName>,
    /// Roles of every administrator whom the step accepts, first.
    pub base_roles: Vec<RoleName>,
    /// Suffixes of names; the first that fits is cut off.
    pub remove_username_suffix: Vec<String>,
}

impl StepRules {
    /// The name by which the step's person is known here: the first suffix that fits is cut off.
    #[must_use]
    pub fn plain_name(&self, user: &UserName) -> UserName {
        plain_name(user, &self.remove_username_suffix)
    }
}

/// A name without the first of the suffixes that fits, compared without regard to ASCII case.
pub(crate) fn plain_name(user: &UserName, suffixes: &[String]) -> UserName {
    let cut = suffixes.iter().find_map(|suffix| {
        let name = user.as_str();
        let at = name.len().checked_sub(suffix.len())?;
        let tail = name.get(at..)?;
        tail.eq_ignore_ascii_case(suffix)
            .then(|| name.get(..at))
            .flatten()
    });
    cut.and_then(|name| UserName::new(name).ok())
        .unwrap_or_else(|| user.clone())
}

/// What two names have in common that would share a folder named after its owner: the plain name, in one
/// spelling for all capitals, since storages differ in whether they tell those apart.
#[must_use]
pub fn folder(user: &UserName, suffixes: &[String]) -> String {
    plain_name(user, suffixes).folded()
}

/// What a person is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The name, suffixes removed.
    pub user: UserName,
    /// Groups, the primary one first; empty for administrators.
    pub groups: Vec<GroupName>,
    /// Roles, the primary one first; empty for transfer users.
    pub roles: Vec<RoleName>,
}

/// Turns a [`Verified`] into a [`Principal`].
#[derive(Debug, Default)]
pub struct Resolver {
    groups: Vec<GroupRule>,
    roles: Vec<RoleRule>,
    steps: HashMap<Arc<str>, StepRules>,
}

impl Resolver {
    /// From the groups and roles of the configuration, in its order.
    #[must_use]
    pub fn new(groups: Vec<GroupRule>, roles: Vec<RoleRule>) -> Self {
        Self {
            groups,
            roles,
            steps: HashMap::new(),
        }
    }

    /// Adds what the people of one step get on top.
    #[must_use]
    pub fn with_step(mut self, step: Arc<str>, rules: StepRules) -> Self {
        self.steps.insert(step, rules);
        self
    }

    /// Resolves. The order is: base groups of the step, groups of the identity, mapped groups in the
    /// configuration's order; the first is primary. Names that the configuration does not know count
    /// for nothing.
    ///
    /// # Errors
    /// [`Denial`] where no group (or, for administrators, no role) remains: there is no default.
    pub fn resolve(&self, verified: Verified) -> Result<Principal, Denial> {
        let parts = self.resolve_parts(&verified.method, &verified.identity, verified.audience)?;
        let expires = expiry(&verified.identity.claims)?;
        Ok(Principal(Arc::new(Inner {
            expires,
            verified,
            user: parts.user,
            groups: parts.groups,
            roles: parts.roles,
        })))
    }

    /// What [`Resolver::resolve`] would make of an identity of this step: for `explain`. It proves
    /// nothing and makes no principal.
    ///
    /// # Errors
    /// As [`Resolver::resolve`].
    pub fn resolve_parts(
        &self,
        step: &str,
        identity: &Identity,
        audience: Audience,
    ) -> Result<Parts, Denial> {
        let rules = self.steps.get(step);
        let mut parts = Parts {
            user: rules.map_or_else(|| identity.user.clone(), |rules| rules.plain_name(&identity.user)),
            groups: Vec::new(),
            roles: Vec::new(),
        };
        match audience {
            Audience::Transfer => {
                let base = rules.map(|r| r.base_groups.as_slice()).unwrap_or_default();
                let known = self.groups.iter().map(|r| (&r.group, r.external.as_slice()));
                parts.groups = belongs(base, &identity.groups, &known, &identity.external);
                if parts.groups.is_empty() {
                    return Err(Denial {
                        why: format!(
                            "no group: '{}' has none that the configuration knows (of the account: {:?}; \
                             foreign: {:?})",
                            identity.user, identity.groups, identity.external
                        ),
                    });
                }
            }
            Audience::Admin => {
                let base = rules.map(|r| r.base_roles.as_slice()).unwrap_or_default();
                let known = self.roles.iter().map(|r| (&r.role, r.external.as_slice()));
                parts.roles = belongs(base, &identity.roles, &known, &identity.external);
                if parts.roles.is_empty() {
                    return Err(Denial {
                        why: format!(
                            "no role: '{}' has none that the configuration knows (of the account: {:?}; \
                             foreign: {:?})",
                            identity.user, identity.roles, identity.external
                        ),
                    });
                }
            }
        }
        Ok(parts)
    }
}

/// Base, own and mapped names in this order, each once, and only those that the configuration knows.
fn belongs<'a, N: Clone + PartialEq + 'a>(
    base: &[N],
    own: &[N],
    known: &(impl Iterator<Item = (&'a N, &'a [String])> + Clone),
    external: &[String],
) -> Vec<N> {
    let external: Vec<String> = external.iter().map(|name| name.to_lowercase()).collect();
    let mapped = known
        .clone()
        .filter(|(_, ours)| ours.iter().any(|name| external.contains(&name.to_lowercase())))
        .map(|(name, _)| name);
    let mut names: Vec<N> = Vec::new();
    for name in base.iter().chain(own).chain(mapped) {
        if known.clone().any(|(ours, _)| ours == name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{group, identity};

    fn resolver() -> Resolver {
        let rule = |name: &str, external: &[&str]| GroupRule {
            group: group(name),
            external: external.iter().map(|e| (*e).to_owned()).collect(),
        };
        let rules = StepRules {
            base_groups: vec![group("everybody")],
            base_roles: Vec::new(),
            remove_username_suffix: vec!["@corp.example".into(), ".example".into()],
        };
        let role = RoleRule {
            role: RoleName::new("operator").unwrap(),
            external: vec!["CN=Ops".into()],
        };
        let groups = vec![
            rule("staff", &["CN=Staff"]),
            rule("sales", &["CN=Sales", "CN=Staff"]),
            rule("everybody", &[]),
        ];
        Resolver::new(groups, vec![role]).with_step("corp".into(), rules)
    }

    fn groups(step: &str, own: &[&str], external: &[&str]) -> Result<Vec<String>, Denial> {
        let mut who = identity("alice", own);
        who.external = external.iter().map(|e| (*e).to_owned()).collect();
        let parts = resolver().resolve_parts(step, &who, Audience::Transfer)?;
        assert!(parts.roles.is_empty());
        Ok(parts.groups.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn base_then_own_then_mapped_each_once_and_known() {
        for (step, own, external, want) in [
            (
                "corp",
                &["sales"][..],
                &["cn=staff"][..],
                &["everybody", "sales", "staff"][..],
            ),
            ("corp", &[], &[], &["everybody"]),
            ("other", &["staff"], &["CN=SALES"], &["staff", "sales"]),
            (
                "other",
                &["nowhere", "sales", "sales"],
                &["CN=Nobody"],
                &["sales"],
            ),
        ] {
            assert_eq!(
                groups(step, own, external).unwrap(),
                want,
                "{step} {own:?} {external:?}"
            );
        }
    }

    #[test]
    fn without_a_group_nobody_comes_in() {
        let denial = groups("other", &["nowhere"], &["CN=Nobody"]).unwrap_err();
        assert!(
            denial.why.contains("nowhere") && denial.why.contains("CN=Nobody"),
            "{}",
            denial.why
        );
        // Groups do not make an administrator, and roles do not make a transfer user.
        let mut who = identity("alice", &["staff"]);
        assert!(resolver().resolve_parts("corp", &who, Audience::Admin).is_err());
        who.groups.clear();
        who.roles = vec![RoleName::new("operator").unwrap()];
        assert!(
            resolver()
                .resolve_parts("other", &who, Audience::Transfer)
                .is_err()
        );
        let parts = resolver().resolve_parts("other", &who, Audience::Admin).unwrap();
        assert_eq!((parts.roles.len(), parts.groups.len()), (1, 0));
    }

    #[test]
    fn the_first_suffix_that_fits_is_cut_off_once() {
        for (name, step, want) in [
            ("alice@corp.example", "corp", "alice"),
            ("alice@CORP.example", "corp", "alice"),
            ("alice.example@corp.example", "corp", "alice.example"),
            ("alice", "corp", "alice"),
            ("@corp.example", "corp", "@corp.example"),
            ("alice@corp.example", "other", "alice@corp.example"),
            ("\u{e9}.example", "corp", "\u{e9}"),
        ] {
            let who = identity(name, &["staff"]);
            let parts = resolver().resolve_parts(step, &who, Audience::Transfer).unwrap();
            assert_eq!(parts.user.as_str(), want, "{name} by {step}");
        }
    }

    #[test]
    fn two_realms_never_share_a_key() {
        let principal = |method: &str, subject: &str| {
            let mut identity = identity("alice", &["staff"]);
            identity.subject = subject.to_owned();
            let verified = Verified {
                method: method.into(),
                audience: Audience::Transfer,
                identity,
            };
            resolver().resolve(verified).unwrap().key()
        };
        assert_eq!(principal("corp", "alice"), "corp:alice");
        assert_ne!(principal("a:b", "c"), principal("a", "b:c"));
        assert_ne!(principal("a%3Ab", "c"), principal("a:b", "c"));
    }
}

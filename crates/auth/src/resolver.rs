//! From what a method knows to what a person is here: suffixes removed, groups and roles resolved.

use std::{collections::HashMap, sync::Arc};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{Audience, Denial, Identity, Principal, Verified, principal::Inner};

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
        Ok(Principal(Arc::new(Inner {
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
            user: self.plain_name(&identity.user, rules),
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

    fn plain_name(&self, user: &UserName, rules: Option<&StepRules>) -> UserName {
        let cut = rules
            .into_iter()
            .flat_map(|r| &r.remove_username_suffix)
            .find_map(|suffix| {
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

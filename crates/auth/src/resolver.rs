//! From what a method knows to what a person is here: suffixes removed, groups and roles resolved.

use std::{collections::HashMap, sync::Arc};

use portreeve_model::{GroupName, RoleName, UserName};

use crate::{Audience, Denial, Principal, Verified, principal::Inner};

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
        let rules = self.steps.get(&verified.method);
        let user = self.plain_name(&verified.identity.user, rules);
        let identity = &verified.identity;
        let (mut groups, mut roles) = (Vec::new(), Vec::new());
        match verified.audience {
            Audience::Transfer => {
                let base = rules.map(|r| r.base_groups.as_slice()).unwrap_or_default();
                let mapped = self
                    .groups
                    .iter()
                    .filter(|r| means(&r.external, &identity.external));
                for group in base
                    .iter()
                    .chain(&identity.groups)
                    .chain(mapped.map(|r| &r.group))
                {
                    if self.groups.iter().any(|rule| rule.group == *group) && !groups.contains(group) {
                        groups.push(group.clone());
                    }
                }
                if groups.is_empty() {
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
                let mapped = self
                    .roles
                    .iter()
                    .filter(|r| means(&r.external, &identity.external));
                for role in base.iter().chain(&identity.roles).chain(mapped.map(|r| &r.role)) {
                    if self.roles.iter().any(|rule| rule.role == *role) && !roles.contains(role) {
                        roles.push(role.clone());
                    }
                }
                if roles.is_empty() {
                    return Err(Denial {
                        why: format!(
                            "no role: '{}' has none that the configuration knows",
                            identity.user
                        ),
                    });
                }
            }
        }
        Ok(Principal(Arc::new(Inner {
            verified,
            user,
            groups,
            roles,
        })))
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

fn means(ours: &[String], theirs: &[String]) -> bool {
    let folded: Vec<String> = theirs.iter().map(|name| name.to_lowercase()).collect();
    ours.iter().any(|name| folded.contains(&name.to_lowercase()))
}

//! The world: one immutable snapshot of everything that the configuration says about people and
//! files. A reload builds a new one and swaps; whoever holds the old one finishes with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portreeve_auth::{Chain, Resolver};
use portreeve_model::{GroupName, UserName};

use crate::{GroupPlan, LimitsOptions, Plan, PlanError};

/// Tells that something outside the world changed (an account, a local file): any change of its
/// number makes live sessions ask again whether they still stand.
pub type Changes = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The snapshot.
pub struct World {
    chain: Arc<Chain>,
    listeners: HashMap<Arc<str>, Arc<Chain>>,
    resolver: Resolver,
    groups: BTreeMap<GroupName, GroupPlan>,
    limits: LimitsOptions,
    changes: Vec<Changes>,
}

impl World {
    /// From checked parts. `chain` is the whole chain; a listener without a part of its own uses it.
    #[must_use]
    pub fn new(
        chain: Chain,
        resolver: Resolver,
        groups: BTreeMap<GroupName, GroupPlan>,
        limits: LimitsOptions,
    ) -> Self {
        Self {
            chain: Arc::new(chain),
            listeners: HashMap::new(),
            resolver,
            groups,
            limits,
            changes: Vec::new(),
        }
    }

    /// Gives a listener its own part of the chain.
    #[must_use]
    pub fn with_listener(mut self, name: Arc<str>, chain: Chain) -> Self {
        self.listeners.insert(name, Arc::new(chain));
        self
    }

    /// Adds a source of changes.
    #[must_use]
    pub fn with_changes(mut self, changes: Changes) -> Self {
        self.changes.push(changes);
        self
    }

    /// The chain of a listener.
    #[must_use]
    pub fn chain(&self, listener: &str) -> &Arc<Chain> {
        self.listeners.get(listener).unwrap_or(&self.chain)
    }

    /// The resolver.
    #[must_use]
    pub const fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The limits.
    #[must_use]
    pub const fn limits(&self) -> &LimitsOptions {
        &self.limits
    }

    /// What `user` would see as a member of `groups`, in their order. Makes nothing and opens nothing.
    ///
    /// # Errors
    /// A placeholder of a `subpath` that cannot be filled.
    pub fn plan(
        &self,
        user: &UserName,
        groups: &[GroupName],
        claims: &BTreeMap<String, String>,
    ) -> Result<Plan, PlanError> {
        let plans = groups.iter().filter_map(|name| self.groups.get_key_value(name));
        Plan::new(user, plans, claims)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.iter().fold(self.chain.generation(), |sum, changes| {
            sum.wrapping_add(changes())
        })
    }
}

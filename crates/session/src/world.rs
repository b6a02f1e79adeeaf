//! The world: one immutable snapshot of everything that the configuration says about people and
//! files. A reload builds a new one and swaps; whoever holds the old one finishes with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    known: Option<HashSet<Arc<str>>>,
    /// Lets nobody in.
    closed: Arc<Chain>,
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
            known: None,
            closed: Arc::new(Chain::new(Vec::new())),
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

    /// Names every listener there is: on others nobody signs in any more.
    #[must_use]
    pub fn with_listeners(mut self, names: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.known = Some(names.into_iter().collect());
        self
    }

    /// The chain of a listener, whole where it has no part of its own: for what is in already.
    #[must_use]
    pub fn chain(&self, listener: &str) -> &Arc<Chain> {
        self.listeners.get(listener).unwrap_or(&self.chain)
    }

    /// The chain by which somebody may come in: an empty one, which lets nobody in, on a listener that
    /// a reload has removed. Its part of the chain went with it, and the whole one may let in more.
    #[must_use]
    pub fn entrance(&self, listener: &str) -> &Arc<Chain> {
        if self.known.as_ref().is_some_and(|known| !known.contains(listener)) {
            return &self.closed;
        }
        self.chain(listener)
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

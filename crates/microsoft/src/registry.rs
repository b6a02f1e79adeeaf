//! What all storages share and reloads keep: token sources, budgets, the vault.
//!
//! Invariant: two storages of the same app share one token for a resource and one budget for a mailbox, whatever reload
//! made them; what nobody holds any more is forgotten once there is much of it.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{
    credential::Credential,
    graph::{Budget, Graph, GraphError, GraphLimits, Places},
    net::Net,
    token::{Asker, TokenError, TokenFault, TokenSource},
    vault::Vault,
};

/// How many entries a map may have before those that nobody holds are dropped.
const ENOUGH: usize = 1024;

/// An app registration and how it signs in.
#[derive(Debug, Clone)]
pub struct App {
    /// Where it signs in, e.g. `https://login.microsoftonline.com`.
    pub authority: String,
    /// The directory's id or domain.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// What it proves itself with.
    pub credential: Credential,
    /// The token endpoint itself, in the place of the one that authority and tenant make.
    pub token_endpoint: Option<String>,
    /// The way to the hosts.
    pub net: Arc<Net>,
    /// A token that holds for less than this is renewed.
    pub grace: Duration,
    /// The first wait before a token is asked for again; it doubles. A refusal stands for five of it.
    pub backoff: Duration,
}

impl App {
    /// An app of a cloud, with the usual times.
    #[must_use]
    pub fn new(
        cloud: crate::CloudName,
        tenant: String,
        client_id: String,
        credential: Credential,
        net: Arc<Net>,
    ) -> Self {
        Self {
            authority: cloud.authority().to_owned(),
            tenant,
            client_id,
            credential,
            token_endpoint: None,
            net,
            grace: Duration::from_secs(30),
            backoff: Duration::from_secs(1),
        }
    }

    /// Where its tokens come from.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.token_endpoint.clone().unwrap_or_else(|| {
            format!(
                "{}/{}/oauth2/v2.0/token",
                self.authority.trim_end_matches('/'),
                self.tenant
            )
        })
    }
}

/// What all mailboxes together cost so far, and how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests to Graph.
    pub calls: u64,
    /// Bytes of bodies that came in.
    pub bytes_in: u64,
    /// Bytes of bodies that went out.
    pub bytes_out: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// Mailboxes that Graph wants to be left alone about.
    pub throttled: usize,
}

/// One budget: the app's id and, in lower case, the mailbox.
type Account = (String, String);

/// What all storages share and reloads keep. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Shared>);

struct Shared {
    vault: Arc<dyn Vault>,
    sources: Mutex<HashMap<[u8; 32], Arc<TokenSource>>>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    budgets: Mutex<HashMap<Account, Arc<Budget>>>,
    apps: Mutex<HashMap<String, Arc<Places>>>,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud").finish_non_exhaustive()
    }
}

impl Cloud {
    /// A registry with nothing in it.
    #[must_use]
    pub fn new(vault: Arc<dyn Vault>) -> Self {
        Self(Arc::new(Shared {
            vault,
            sources: Mutex::default(),
            turns: Mutex::default(),
            budgets: Mutex::default(),
            apps: Mutex::default(),
        }))
    }

    /// Where an app's tokens for a scope come from; the same source for the same app, scope, credential and way.
    ///
    /// # Errors
    /// The endpoint is not an `https` URL, or the certificate or its key cannot be used.
    pub fn tokens(&self, app: &App, scope: &str) -> Result<Arc<TokenSource>, TokenError> {
        let endpoint = app.endpoint();
        let valid = reqwest::Url::parse(&endpoint).is_ok_and(|url| url.scheme() == "https");
        if !valid || endpoint.contains(['?', '#', '@', ' ']) {
            return Err(TokenError::here(
                TokenFault::Credential,
                format!("{endpoint:?} is no https URL of a token endpoint: check authority and tenant"),
            ));
        }
        app.credential.check()?;
        let mut digest = Sha256::new();
        for part in [&*endpoint, &*app.client_id, scope] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(app.credential.fingerprint());
        digest.update(app.net.identity());
        digest.update(app.grace.as_nanos().to_be_bytes());
        let key: [u8; 32] = digest.finalize().into();
        let turn = match &app.credential {
            Credential::Refresh { vault_name, .. } => Arc::clone(
                slim(&mut self.0.turns.lock())
                    .entry(vault_name.clone())
                    .or_default(),
            ),
            _ => Arc::default(),
        };
        let mut sources = self.0.sources.lock();
        let source = slim(&mut sources).entry(key).or_insert_with(|| {
            let asker = Asker {
                net: Arc::clone(&app.net),
                endpoint,
                client: app.client_id.clone(),
                scope: scope.to_owned(),
                credential: app.credential.clone(),
                vault: Arc::clone(&self.0.vault),
                turn,
                backoff: app.backoff,
            };
            TokenSource::new(asker, app.grace)
        });
        Ok(Arc::clone(source))
    }

    /// Graph for an app. `base` is the root with its version, e.g. `https://graph.microsoft.com/v1.0`; its token is
    /// asked for the root's `.default` scope.
    ///
    /// # Errors
    /// The base is not an `https` URL, or as for [`Cloud::tokens`].
    pub fn graph(&self, app: &App, base: &str, limits: GraphLimits) -> Result<Arc<Graph>, GraphError> {
        Graph::open(self, app, base, limits)
    }

    /// What all mailboxes together cost so far, and how they stand: for metrics.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let budgets: Vec<Arc<Budget>> = self.0.budgets.lock().values().cloned().collect();
        let now = std::time::Instant::now();
        let mut usage = Usage::default();
        for budget in budgets {
            usage.calls += budget.calls();
            usage.bytes_in += budget.bytes_in();
            usage.bytes_out += budget.bytes_out();
            usage.in_flight += budget.in_flight();
            usage.throttled += usize::from(budget.closed_until().is_some_and(|until| until > now));
        }
        usage
    }

    /// The budget of a mailbox, shared by all who ask for it. The last to ask decides how much may be under way.
    pub(crate) fn budget(&self, client: &str, mailbox: &str, limits: &GraphLimits) -> Arc<Budget> {
        let app = limits.app_in_flight.map(|most| {
            let mut apps = self.0.apps.lock();
            let places = slim(&mut apps)
                .entry(client.to_owned())
                .or_insert_with(|| Arc::new(Places::new(most)));
            places.resize(most);
            Arc::clone(places)
        });
        let mut budgets = self.0.budgets.lock();
        let budget = slim(&mut budgets)
            .entry((client.to_owned(), mailbox.to_lowercase()))
            .or_insert_with(|| Arc::new(Budget::new(limits, app.clone())));
        budget.resize(limits.in_flight, app);
        Arc::clone(budget)
    }
}

/// Drops what only the map holds, once there is much. A mailbox that nobody used for so long that nobody holds it has a
/// budget that has filled up again, or nearly.
fn slim<K: std::hash::Hash + Eq, V: ?Sized>(map: &mut HashMap<K, Arc<V>>) -> &mut HashMap<K, Arc<V>> {
    if map.len() >= ENOUGH {
        map.retain(|_, value| Arc::strong_count(value) > 1);
    }
    map
}

#[cfg(test)]
mod tests {
    use portreeve_model::Secret;

    use super::*;
    use crate::{CloudName, MemoryVault, NetOptions};

    fn app(secret: &str) -> App {
        let net = Net::open(&NetOptions::default()).unwrap();
        let credential = Credential::Secret(Secret::new(secret.to_owned()));
        App::new(CloudName::Global, "t".to_owned(), "c".to_owned(), credential, net)
    }

    #[test]
    fn a_reload_keeps_sources_and_budgets() {
        let cloud = Cloud::new(Arc::new(MemoryVault::default()));
        let first = cloud.tokens(&app("a"), "s").unwrap();
        assert!(Arc::ptr_eq(&first, &cloud.tokens(&app("a"), "s").unwrap()));
        assert!(!Arc::ptr_eq(&first, &cloud.tokens(&app("a"), "other").unwrap()));
        assert!(!Arc::ptr_eq(&first, &cloud.tokens(&app("b"), "s").unwrap()));
        let limits = GraphLimits::default();
        let budget = cloud.budget("c", "Box@x", &limits);
        assert!(Arc::ptr_eq(&budget, &cloud.budget("c", "box@X", &limits)));
        assert!(!Arc::ptr_eq(&budget, &cloud.budget("d", "box@x", &limits)));
        assert!(!Arc::ptr_eq(&budget, &cloud.budget("c", "other@x", &limits)));
        assert_eq!(budget.most(), 4);
        let fewer = GraphLimits {
            in_flight: 2,
            ..limits
        };
        cloud.budget("c", "box@x", &fewer);
        assert_eq!(budget.most(), 2, "a reload may change it");
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut map: HashMap<usize, Arc<usize>> = (0..ENOUGH).map(|n| (n, Arc::new(n))).collect();
        let held = Arc::clone(&map[&7]);
        assert_eq!(slim(&mut map).len(), 1);
        assert_eq!(map[&7], held);
    }

    #[test]
    fn an_endpoint_is_an_https_url() {
        let cloud = Cloud::new(Arc::new(MemoryVault::default()));
        for endpoint in [
            "http://login/token",
            "login",
            "https://u:p@login/token",
            "https://login/token?x",
        ] {
            let app = App {
                token_endpoint: Some(endpoint.to_owned()),
                ..app("a")
            };
            assert!(cloud.tokens(&app, "s").is_err(), "{endpoint}");
        }
    }
}

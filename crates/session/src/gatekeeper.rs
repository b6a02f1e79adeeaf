//! The gatekeeper: what outlives every world, and the first word with every connection.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use portreeve_auth::{Audience, Clock, MachineClock};
use portreeve_model::{Act, ConnectionId, Event, Origin, Outcome, UserName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    Connection, QuotaBook, SessionInfo, World,
    admission::{Admission, Full},
    audit::{Audit, AuditFault},
    damp::Crowds,
    knocks::Knocks,
    ledger::Ledger,
    rate::Rates,
    registry::Registry,
};

/// How often a live session's standing is asked even when nothing told of a change: a method may have a
/// clock of its own. What is known to expire ends at its time: see [`Live::is_expired`].
const RECHECK: Duration = Duration::from_secs(30);

/// How many sessions are asked about at the same time.
const AT_ONCE: usize = 256;
/// How long one round of asking takes at most.
const ROUND: Duration = Duration::from_secs(2);

/// One a process, cheap to clone, handed to every door.
#[derive(Clone)]
pub struct Gatekeeper(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) world: ArcSwap<World>,
    pub(crate) audit: Audit,
    pub(crate) ledger: Ledger,
    pub(crate) admission: Admission,
    pub(crate) rates: Rates,
    pub(crate) registry: Registry,
    knocks: Knocks,
    pub(crate) crowds: Crowds,
    generation: AtomicU64,
    /// By its wall clock accounts and keys of live sessions expire.
    pub(crate) clock: Arc<dyn Clock>,
    draining: CancellationToken,
}

/// A connection that is not served: drop it without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Why, for the log.
    pub why: String,
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Gatekeeper {
    /// With its first world.
    #[must_use]
    pub fn new(world: World, audit: Audit, quota: Arc<dyn QuotaBook>) -> Self {
        Self::by_clock(world, audit, quota, Arc::new(MachineClock::default()))
    }

    /// [`Gatekeeper::new`] with another clock.
    #[must_use]
    pub fn by_clock(world: World, audit: Audit, quota: Arc<dyn QuotaBook>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            world: ArcSwap::from_pointee(world),
            audit,
            ledger: Ledger::new(quota),
            admission: Admission::new(),
            rates: Rates::default(),
            registry: Registry::default(),
            knocks: Knocks::default(),
            crowds: Crowds::default(),
            generation: AtomicU64::new(1),
            clock,
            draining: CancellationToken::new(),
        }))
    }

    /// Puts a new world in place of the old one and answers its number. Live sessions follow with
    /// their next operation, idle ones at the next [`Gatekeeper::sweep`].
    pub fn swap(&self, world: World) -> u64 {
        self.0.world.store(Arc::new(world));
        self.0.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Puts the sinks of a new audit log in place of the old ones.
    pub fn swap_audit(&self, audit: Audit) {
        self.0.audit.become_like(audit);
    }

    /// The world that serves now.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.0.world.load_full()
    }

    /// The number of the world that serves now, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Records an act of the server or of an administrator.
    ///
    /// # Errors
    /// In mode `required`, when no record could be written.
    pub fn record(&self, event: &Event) -> Result<(), AuditFault> {
        self.0.audit.record(event)
    }

    /// Records that could not be written so far.
    #[must_use]
    pub fn audit_lost(&self) -> u64 {
        self.0.audit.lost()
    }

    /// At accept, before a byte is read: permits, then the gates, which judge the address alone. The
    /// connection holds its permits until it is dropped.
    ///
    /// # Errors
    /// [`TurnedAway`]: banned, too many, or the server is stopping. It is recorded.
    pub async fn knock(&self, origin: Origin, audience: Audience) -> Result<Connection, TurnedAway> {
        let began = Instant::now();
        let world = self.world();
        let limits = world.limits();
        let turned_away = |why: String| {
            self.turned_away(&origin, &why, began);
            TurnedAway { why }
        };
        if self.0.draining.is_cancelled() {
            return Err(turned_away("the server is stopping".into()));
        }
        let permit = self
            .0
            .admission
            .connections
            .take(origin.source(), limits.connections_per_ip, limits.connections)
            .map_err(|full| {
                turned_away(match full {
                    Full::Total => format!("{} connections are open: limits.connections", limits.connections),
                    Full::Key => format!(
                        "{} connections from {} are open: limits.connections_per_ip",
                        limits.connections_per_ip,
                        origin.source()
                    ),
                })
            })?;
        let chain = Arc::clone(world.chain(&origin.listener));
        let mut trail = Vec::new();
        if let Err(denial) = chain.admit(&origin, None, SystemTime::now(), &mut trail).await {
            return Err(turned_away(denial.why));
        }
        Ok(Connection::new(
            self.clone(),
            origin,
            audience,
            chain,
            permit,
            limits,
        ))
    }

    pub(crate) fn turned_away(&self, origin: &Origin, why: &str, began: Instant) {
        self.turned_away_from(origin, None, Act::Knock, why, began);
    }

    /// Records a refusal that cost the client nothing, unless there were too many of its source.
    pub(crate) fn turned_away_from(
        &self,
        origin: &Origin,
        who: Option<(ConnectionId, &UserName)>,
        act: Act,
        why: &str,
        began: Instant,
    ) {
        let Some(unrecorded) = self.0.knocks.note(origin.source(), began) else {
            metrics::counter!("portreeve_knocks_unrecorded_total").increment(1);
            return;
        };
        let more = match unrecorded {
            0 => String::new(),
            n => format!(" (and {n} before that were not recorded one by one)"),
        };
        let event = Event {
            at: SystemTime::now(),
            connection: who.map(|(connection, _)| connection),
            session: None,
            origin: Some(origin.clone()),
            user: who.map(|(_, user)| user.to_string()),
            act,
            item: None,
            outcome: Outcome::Refused(format!("{why}{more}")),
            took: began.elapsed(),
        };
        // Whoever is turned away gets no answer that a lost record could make untrue.
        let _ = self.record(&event);
    }

    /// Fires when the server stops: doors finish what runs and say goodbye.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Begins the drain: no new connection is let in.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// The live sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.0.registry.list()
    }

    /// Ends a session by its id; answers whether it was there.
    pub fn kill(&self, id: portreeve_model::SessionId) -> bool {
        self.0.registry.end(id, "killed")
    }

    /// Ends every session: the last step of a drain whose grace is over.
    pub fn end_all(&self, reason: &'static str) {
        self.0.registry.end_all(reason);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.0.admission.connections.total()
    }

    /// Asks of every live session whether it still stands, and ends those that do not or that did
    /// nothing for too long. To be called every second or two: a removed or expired user is out within
    /// five, and does not wait for a method that hangs over somebody else. An expired session does not
    /// wait for its own method either: who has no answer by the end of the round is out.
    pub async fn sweep(&self) {
        let idle = self.world().limits().idle.0;
        let (lazy, busy): (Vec<_>, Vec<_>) = self
            .0
            .registry
            .all()
            .into_iter()
            .partition(|live| live.is_idle(idle));
        lazy.iter().for_each(|live| live.end("idle"));
        let expired: Vec<_> = busy.iter().filter(|live| live.is_expired()).cloned().collect();
        let round = async {
            let mut asked = JoinSet::new();
            for live in busy.into_iter().filter(|live| live.is_stale(RECHECK)) {
                if asked.len() >= AT_ONCE {
                    asked.join_next().await;
                }
                asked.spawn(async move { live.standing_within(RECHECK).await });
            }
            while asked.join_next().await.is_some() {}
        };
        // Who was not answered for is asked about again in the next round.
        let _ = tokio::time::timeout(ROUND, round).await;
        for live in expired.iter().filter(|live| live.is_expired() && !live.is_over()) {
            tracing::info!(session = %live.id, "a session was revoked: it expired, and its method does not answer");
            live.end("revoked");
        }
    }

    /// A number that changes with every world and every change that a world was told to watch.
    pub(crate) fn pulse(&self) -> u64 {
        (self.generation() << 40).wrapping_add(self.0.world.load().changes())
    }
}

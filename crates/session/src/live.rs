//! A live session: who is in, what they see, and whether they still may.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use portreeve_auth::{Principal, Renewal};
use portreeve_model::{Act, ConnectionId, Event, Origin, Outcome, SessionId, UserName};
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Mounts, OpCx, Owner};
use tokio_util::sync::CancellationToken;

use crate::{Gatekeeper, Plan, SessionInfo, UserFs, World, admission::Permit, damp::Damp, pending::Pending};

/// What a session sees now: replaced as a whole when its world or its standing changes.
pub(crate) struct View {
    world: Arc<World>,
    pub(crate) principal: Principal,
    pub(crate) plan: Plan,
    pub(crate) tree: Mounts,
}

/// The session itself, shared by its handles, its transfers and (weakly) the register.
pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) gate: Gatekeeper,
    pub(crate) cx: OpCx,
    pub(crate) pending: Pending,
    pub(crate) transfers: AtomicU32,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) damp: Damp,
    connection: ConnectionId,
    origin: Origin,
    since: (SystemTime, Instant),
    view: ArcSwap<View>,
    reason: OnceLock<&'static str>,
    /// In place of `limits.idle`.
    patience: OnceLock<Duration>,
    /// Milliseconds after `since`.
    last_used: AtomicU64,
    /// The gatekeeper's pulse at which the standing was last asked, and when (as `last_used`).
    checked_pulse: AtomicU64,
    checked_at: AtomicU64,
    checking: tokio::sync::Mutex<()>,
    _permit: Permit<String>,
}

impl Live {
    /// Opens a session for a principal whose sign-in began at `pulse`: what changed since then is asked
    /// about at the first operation.
    ///
    /// # Errors
    /// Why it cannot be opened, for the log.
    pub(crate) async fn open(
        gate: Gatekeeper,
        connection: ConnectionId,
        origin: Origin,
        principal: Principal,
        permit: Permit<String>,
        pulse: u64,
    ) -> Result<Arc<Self>, String> {
        let id = SessionId::fresh();
        let cx = OpCx::new(id, Owner(principal.key().into()), CancellationToken::new());
        let world = gate.world();
        let view = View::of(world, principal, &cx).await?;
        Ok(Arc::new(Self {
            id,
            gate,
            cx,
            pending: Pending::of(origin.door),
            transfers: AtomicU32::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            damp: Damp::default(),
            connection,
            origin,
            since: (SystemTime::now(), Instant::now()),
            view: ArcSwap::from_pointee(view),
            reason: OnceLock::new(),
            patience: OnceLock::new(),
            last_used: AtomicU64::new(0),
            checked_pulse: AtomicU64::new(pulse),
            checked_at: AtomicU64::new(0),
            checking: tokio::sync::Mutex::new(()),
            _permit: permit,
        }))
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.since.1.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn touch(&self) {
        self.last_used.store(self.age_ms(), Ordering::Relaxed);
    }

    /// For how long nothing happened; an open transfer that stalls is not idleness, its door judges it.
    pub(crate) fn idle_for(&self) -> Duration {
        Duration::from_millis(
            self.age_ms()
                .saturating_sub(self.last_used.load(Ordering::Relaxed)),
        )
    }

    /// Whether it did nothing for too long, where `limit` is the world's word.
    pub(crate) fn is_idle(&self, limit: Duration) -> bool {
        self.idle_for() >= self.patience.get().copied().unwrap_or(limit)
    }

    pub(crate) fn end(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
        self.cx.cancel.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.cx.cancel.is_cancelled()
    }

    /// What `wait` waits for, unless the session ends first.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn unless_over(&self, wait: impl Future<Output = ()>) -> FsResult<()> {
        let over = || FsError::new(FsErrorKind::Cancelled).context("the session is over");
        self.cx.cancel.run_until_cancelled(wait).await.ok_or_else(over)
    }

    /// Whether the session still stands: asked anew only when something changed or it has expired.
    pub(crate) async fn standing(&self) -> bool {
        self.standing_within(Duration::MAX).await
    }

    /// As `standing`, and asked anew as well when the last answer is older than `age`.
    pub(crate) async fn standing_within(&self, age: Duration) -> bool {
        if self.is_over() {
            return false;
        }
        if !self.is_stale(age) {
            return true;
        }
        let _one_at_a_time = self.checking.lock().await;
        if !self.is_stale(age) {
            return !self.is_over();
        }
        // Taken before the question: a change in between is asked about the next time.
        let (pulse, asked_at) = (self.gate.pulse(), self.age_ms());
        let renewed = self.renew().await.and_then(|()| {
            // Its method may have given it more time; otherwise nobody has to vouch for its end.
            if self.is_expired() {
                Err("it has expired".to_owned())
            } else {
                Ok(())
            }
        });
        if let Err(why) = renewed {
            tracing::info!(session = %self.id, why, "a session was revoked");
            self.end("revoked");
            return false;
        }
        self.checked_pulse.store(pulse, Ordering::Release);
        self.checked_at.store(asked_at, Ordering::Release);
        true
    }

    /// Whether account or key have expired, by the wall clock, as far as was known at sign-in or when it
    /// was asked last. Without such an end no clock is read.
    pub(crate) fn is_expired(&self) -> bool {
        let expires = self.view.load().principal.expires();
        expires.is_some_and(|expires| self.gate.0.clock.wall() >= expires)
    }

    pub(crate) fn is_stale(&self, age: Duration) -> bool {
        let since = self
            .age_ms()
            .saturating_sub(self.checked_at.load(Ordering::Acquire));
        self.checked_pulse.load(Ordering::Acquire) != self.gate.pulse()
            || u128::from(since) > age.as_millis()
            || self.is_expired()
    }

    async fn renew(&self) -> Result<(), String> {
        let old = self.view();
        let world = self.gate.world();
        let chain = world.chain(&self.origin.listener);
        let proof = match chain.standing(&old.principal).await {
            // Somebody else's account changed: nothing here did.
            Renewal::Valid if Arc::ptr_eq(&world, &old.world) => return Ok(()),
            Renewal::Valid => old.principal.proof(),
            Renewal::Changed(proof) => proof,
            Renewal::Gone(reason) => return Err(reason.0),
            Renewal::Unknown(fault) => {
                tracing::warn!(session = %self.id, why = fault.0, "could not ask whether a session still stands");
                if Arc::ptr_eq(&world, &old.world) {
                    return Ok(());
                }
                old.principal.proof()
            }
        };
        let principal = world.resolver().resolve(proof).map_err(|denial| denial.why)?;
        let view = View::of(Arc::clone(&world), principal, &self.cx).await?;
        self.view.store(Arc::new(view));
        Ok(())
    }

    /// Where it comes from, as addresses are counted.
    pub(crate) fn source(&self) -> std::net::IpAddr {
        self.origin.source()
    }

    /// An event of this session.
    pub(crate) fn event(&self, act: Act, outcome: Outcome, took: Duration) -> Event {
        Event {
            at: SystemTime::now(),
            connection: Some(self.connection),
            session: Some(self.id),
            origin: Some(self.origin.clone()),
            user: Some(self.view.load().principal.user().to_string()),
            act,
            item: None,
            outcome,
            took,
        }
    }

    pub(crate) fn info(&self) -> SessionInfo {
        let view = self.view.load();
        SessionInfo {
            id: self.id,
            user: view.principal.user().to_string(),
            method: view.principal.method().to_owned(),
            origin: self.origin.clone(),
            since: self.since.0,
            idle: self.idle_for(),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            transfers: self.transfers.load(Ordering::Relaxed),
        }
    }
}

impl View {
    /// Administrators have no groups, hence an empty tree.
    async fn of(world: Arc<World>, principal: Principal, cx: &OpCx) -> Result<Self, String> {
        let plan = world
            .plan(principal.user(), principal.groups(), principal.claims())
            .map_err(|error| error.to_string())?;
        let tree = plan
            .build(cx)
            .await
            .map_err(|error| format!("a mount cannot be opened: {error}"))?;
        Ok(Self {
            world,
            principal,
            plan,
            tree,
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.gate.0.registry.leave(self.id);
        let reason = self.reason.get().copied().unwrap_or("closed");
        if reason == "unrecorded" {
            return;
        }
        let event = self.event(Act::Logout { reason }, Outcome::Ok, self.since.1.elapsed());
        // Nobody waits for an answer that a lost record could make untrue; the loss is counted.
        let _ = self.record(&event);
    }
}

/// A signed-in session. It ends when the last handle to it is dropped, transfers included, or when it
/// is ended.
#[derive(Clone)]
pub struct Session {
    fs: UserFs,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.id())
    }
}

impl Session {
    pub(crate) const fn new(live: Arc<Live>) -> Self {
        Self {
            fs: UserFs::new(live),
        }
    }

    fn live(&self) -> &Live {
        self.fs.live()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.live().id
    }

    /// The person's name.
    #[must_use]
    pub fn user(&self) -> UserName {
        self.live().view.load().principal.user().clone()
    }

    /// The person's groups, the primary one first.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.live()
            .view
            .load()
            .principal
            .groups()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The step of the chain that let the person in.
    #[must_use]
    pub fn method(&self) -> String {
        self.live().view.load().principal.method().to_owned()
    }

    /// The person's files.
    #[must_use]
    pub const fn fs(&self) -> &UserFs {
        &self.fs
    }

    /// Fires when the session is over: killed, revoked, idle or drained.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.live().cx.cancel
    }

    /// Why it is over, where somebody ended it.
    #[must_use]
    pub fn end_reason(&self) -> Option<&'static str> {
        self.live().reason.get().copied()
    }

    /// Records that a connection beside the session's own (an FTP data connection) was turned away, and
    /// why, with its address. Too many of them are counted instead.
    pub fn turned_away(&self, why: &str) {
        let refusal = crate::deed::refused(why.to_owned());
        // Whoever is turned away gets nothing that a lost record could make untrue.
        let _ = crate::choke::record(self.live(), Act::Knock, &Err(refusal), Duration::ZERO);
    }

    /// Says that something happened.
    pub fn touch(&self) {
        self.live().touch();
    }

    /// Lets it do nothing for `patience` in place of `limits.idle`: for doors at which people stay signed
    /// in without a connection. The first word counts.
    pub fn lives_by(&self, patience: Duration) {
        let _ = self.live().patience.set(patience);
    }

    /// Whether it still stands. Cheap while nothing changed; otherwise its method is asked.
    pub async fn standing(&self) -> bool {
        self.live().standing().await
    }

    /// Ends it. The first reason counts.
    pub fn end(&self, reason: &'static str) {
        self.live().end(reason);
    }
}

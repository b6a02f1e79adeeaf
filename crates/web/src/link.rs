//! One connection as requests see it: whom to ask for a sign-in, and how busy it is.
//!
//! Invariant: a request counts as running until its answer's body is gone, so that neither the drain
//! nor the idle clock cuts a transfer, and a transfer that nobody takes any more is seen.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portreeve_model::Origin;
use portreeve_session::Connection;
use tokio_util::sync::CancellationToken;

/// How long a connection without a request is kept once it was used.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// One connection.
pub(crate) struct Link {
    pub(crate) origin: Origin,
    /// Sign-ins of one connection come one after the other.
    pub(crate) connection: tokio::sync::Mutex<Connection>,
    /// Fires when the door wants the connection to end after what runs.
    pub(crate) goodbye: CancellationToken,
    began: Instant,
    /// Milliseconds after `began` when the last request ended.
    quiet_since: AtomicU64,
    running: AtomicUsize,
    served: AtomicUsize,
    /// Somebody who is signed in has asked for something.
    known: AtomicBool,
    turns: Mutex<Vec<Weak<Turn>>>,
    grace: Duration,
    patience: Duration,
}

/// One running request.
pub(crate) struct Turn {
    link: Arc<Link>,
    /// Milliseconds after the link's beginning when the client last took or gave something.
    moved: AtomicU64,
    /// Whether the client's pace counts: not while we are thinking.
    sending: AtomicUsize,
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Go on.
    Stay,
    /// Say goodbye: nobody asked for anything for a while.
    Leave,
    /// Cut it: nothing came at all, or nobody takes what we send.
    Cut,
}

impl Link {
    pub(crate) fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            origin: connection.origin().clone(),
            goodbye: CancellationToken::new(),
            began: Instant::now(),
            quiet_since: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            known: AtomicBool::new(false),
            turns: Mutex::new(Vec::new()),
            grace: connection.login_grace(),
            patience: connection.idle(),
            connection: tokio::sync::Mutex::new(connection),
        })
    }

    /// A request begins.
    pub(crate) fn turn(self: &Arc<Self>) -> Arc<Turn> {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.served.fetch_add(1, Ordering::AcqRel);
        let turn = Arc::new(Turn {
            link: Arc::clone(self),
            moved: AtomicU64::new(self.age_ms()),
            sending: AtomicUsize::new(0),
        });
        let mut turns = self.turns.lock();
        turns.retain(|turn| turn.strong_count() > 0);
        turns.push(Arc::downgrade(&turn));
        turn
    }

    /// Whoever is signed in has asked for something: the connection may stay.
    pub(crate) fn is_somebodys(&self) {
        self.known.store(true, Ordering::Release);
    }

    /// What is to become of it now. A stranger's ends after `login_grace`, as at every door, whatever is
    /// asked for on it meanwhile; what runs then gets as long again.
    pub(crate) fn fate(&self) -> Fate {
        let now = self.age_ms();
        let quiet = |since: u64| Duration::from_millis(now.saturating_sub(since));
        let strange = !self.known.load(Ordering::Acquire);
        if strange && quiet(0) > self.grace * 2 {
            return Fate::Cut;
        }
        if self.running.load(Ordering::Acquire) > 0 {
            let stuck = self.turns.lock().iter().filter_map(Weak::upgrade).any(|turn| {
                turn.sending.load(Ordering::Acquire) > 0
                    && quiet(turn.moved.load(Ordering::Acquire)) > self.patience
            });
            return if stuck { Fate::Cut } else { Fate::Stay };
        }
        if self.served.load(Ordering::Acquire) == 0 {
            return if quiet(0) > self.grace {
                Fate::Cut
            } else {
                Fate::Stay
            };
        }
        if strange && quiet(0) > self.grace {
            return Fate::Leave;
        }
        let quiet = quiet(self.quiet_since.load(Ordering::Acquire));
        if quiet > KEEP_ALIVE + self.patience {
            Fate::Cut
        } else if quiet > KEEP_ALIVE {
            Fate::Leave
        } else {
            Fate::Stay
        }
    }

    /// Whether a request ever came.
    pub(crate) fn was_used(&self) -> bool {
        self.served.load(Ordering::Acquire) > 0
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Turn {
    /// The answer is being sent, and the client took (or may now take) a piece of it.
    pub(crate) fn moves(&self) {
        self.sending.store(1, Ordering::Release);
        self.moved.store(self.link.age_ms(), Ordering::Release);
    }

    /// We have nothing to send yet: the client waits for us.
    pub(crate) fn thinks(&self) {
        self.sending.store(0, Ordering::Release);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.link.quiet_since.store(self.link.age_ms(), Ordering::Release);
        self.link.running.fetch_sub(1, Ordering::AcqRel);
    }
}

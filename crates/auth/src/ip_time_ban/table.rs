//! Sources with failures or bans, bounded, on the monotonic clock.
//!
//! Invariants: at most `capacity` sources; `order` holds each source of `sources` exactly once, by the
//! moment from which it no longer matters; a source is either banned or has failures, never both.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use super::Rule;

/// A moment on the monotonic clock, as time passed since an arbitrary one.
pub(super) type Moment = Duration;

/// A live ban.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) until: Moment,
    pub(super) since: SystemTime,
    pub(super) reason: String,
}

enum State {
    Failing(VecDeque<Moment>),
    Banned(Live),
}

struct Source {
    state: State,
    ends: Moment,
}

pub(super) struct Table {
    sources: HashMap<IpAddr, Source>,
    order: BTreeSet<(Moment, IpAddr)>,
    capacity: usize,
}

/// What a failure led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// The source is banned already: nothing changes.
    AlreadyBanned,
    /// One more.
    Failed,
    /// One too many.
    Banned,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sources: HashMap::new(),
            order: BTreeSet::new(),
            capacity: capacity.max(1),
        }
    }

    pub(super) fn banned(&mut self, source: IpAddr, now: Moment) -> Option<Live> {
        self.sweep(now);
        match &self.sources.get(&source)?.state {
            State::Banned(live) => Some(live.clone()),
            State::Failing(_) => None,
        }
    }

    /// Counts a failure that happened `at`, which is not after `now`.
    pub(super) fn failed(&mut self, source: IpAddr, at: Moment, now: Moment, rule: Rule) -> Counted {
        self.sweep(now);
        let mut failures = match self.take(source) {
            Some(State::Banned(live)) => {
                self.put(source, live.until, State::Banned(live));
                return Counted::AlreadyBanned;
            }
            Some(State::Failing(failures)) => failures,
            None => VecDeque::new(),
        };
        failures.push_back(at);
        failures.retain(|then| now.saturating_sub(*then) < rule.window);
        if failures.len() >= rule.count {
            return Counted::Banned;
        }
        if let Some(last) = failures.back().copied() {
            self.put(source, last.saturating_add(rule.window), State::Failing(failures));
        }
        Counted::Failed
    }

    pub(super) fn ban(&mut self, source: IpAddr, live: Live) {
        self.take(source);
        self.put(source, live.until, State::Banned(live));
    }

    /// Forgets a source; whether it was banned.
    pub(super) fn lift(&mut self, source: IpAddr, now: Moment) -> bool {
        self.sweep(now);
        matches!(self.take(source), Some(State::Banned(_)))
    }

    pub(super) fn bans(&mut self, now: Moment) -> Vec<(IpAddr, Live)> {
        self.sweep(now);
        let banned = self
            .order
            .iter()
            .filter_map(|(_, ip)| match &self.sources.get(ip)?.state {
                State::Banned(live) => Some((*ip, live.clone())),
                State::Failing(_) => None,
            });
        banned.collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.sources.len(), self.order.len());
        self.sources.len()
    }

    fn take(&mut self, source: IpAddr) -> Option<State> {
        let found = self.sources.remove(&source)?;
        self.order.remove(&(found.ends, source));
        Some(found.state)
    }

    fn put(&mut self, source: IpAddr, ends: Moment, state: State) {
        while self.sources.len() >= self.capacity {
            // The one that would be forgotten next anyway: failures before bans, as a rule.
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.sources.remove(&oldest);
        }
        self.order.insert((ends, source));
        self.sources.insert(source, Source { state, ends });
    }

    fn sweep(&mut self, now: Moment) {
        while let Some((ends, source)) = self.order.first().copied() {
            if ends > now {
                break;
            }
            self.order.pop_first();
            self.sources.remove(&source);
        }
    }
}

//! How many records a signed-in client may cause that tell of nothing done: refusals, failures and
//! listings cost it a packet each, and without an end they would push the history out of the audit log.
//! What was done is none of its business: whatever changed something or moved a byte has its own record.
//!
//! Invariants: what is not written is counted, and a later record of the same session says so, its
//! `logout` at the latest. The room is bounded: one counter a kind (the table of acts is closed), and at
//! most [`CROWDS`] crowds.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portreeve_model::{Act, Event, Outcome, Transfer};

use crate::{
    audit::{AuditFault, Beside},
    live::Live,
};

const WINDOW: Duration = Duration::from_mins(1);
/// Records of one kind and one session in a window.
const OF_SESSION: u32 = 100;
/// Records of one kind, one user and one address in a window: who signs in anew gains little by it.
const OF_CROWD: u32 = 1_000;
const CROWDS: usize = 4096;
/// While the log cannot be written somebody has to try, or it would not be known to work again.
const PROBE: Duration = Duration::from_secs(1);

/// Act and outcome.
type Kind = (&'static str, &'static str);

/// Records that were not written, by act and outcome.
pub(crate) type Unwritten = BTreeMap<Kind, u64>;

impl Live {
    /// Whether an act is counted instead of recorded. Then it has been.
    pub(crate) fn damps(&self, act: &Act, outcome: &Outcome) -> bool {
        let Some(kind) = idle_kind(act, outcome) else {
            return false;
        };
        let (now, inner) = (Instant::now(), &self.gate.0);
        let crowd = || inner.crowds.take(&self.cx.owner.0, self.source(), kind, now);
        if self.damp.take(kind, now, crowd) || !inner.audit.healthy() && self.damp.probes(now) {
            return false;
        }
        self.damp.owe(&Unwritten::from([(kind, 1)]));
        metrics::counter!("portreeve_events_damped_total", "act" => act.name()).increment(1);
        true
    }

    /// Writes an event, and what was not written since the last.
    ///
    /// # Errors
    /// In mode `required`, when no record could be written.
    pub(crate) fn record(&self, event: &Event) -> Result<(), AuditFault> {
        self.record_over(event, None)
    }

    /// As [`Live::record`], with what is known of the data connection of a transfer.
    ///
    /// # Errors
    /// As [`Live::record`].
    pub(crate) fn record_over(&self, event: &Event, tls_reused: Option<bool>) -> Result<(), AuditFault> {
        let beside = Beside {
            unwritten: self.damp.owed(),
            tls_reused,
        };
        self.gate
            .0
            .audit
            .record_with(event, &beside)
            .inspect_err(|_| self.damp.owe(&beside.unwritten))
    }
}

/// The kind of an act that changed nothing and moved nothing; none for every other.
const fn idle_kind(act: &Act, outcome: &Outcome) -> Option<Kind> {
    let is_idle = match act {
        Act::List(_) | Act::Stat(_) => true,
        Act::Download(passed) => moved_nothing(passed),
        Act::Upload(passed) => !matches!(outcome, Outcome::Ok) && moved_nothing(passed),
        Act::RemoveFile(_)
        | Act::RemoveDir(_)
        | Act::Rename { .. }
        | Act::MakeDir(_)
        | Act::SetAttrs(_)
        | Act::Copy { .. }
        | Act::Link { .. }
        // Of a session: a data connection that was turned away.
        | Act::Knock => !matches!(outcome, Outcome::Ok),
        Act::Login { .. }
        | Act::Logout { .. }
        | Act::Reload { .. }
        | Act::Admin { .. }
        | Act::Start
        | Act::Stop => false,
    };
    if is_idle {
        Some((act.name(), outcome.name()))
    } else {
        None
    }
}

const fn moved_nothing(passed: &Transfer) -> bool {
    passed.bytes == 0 && matches!(passed.kept, None | Some(0))
}

/// What one session did lately.
#[derive(Default)]
pub(crate) struct Damp(Mutex<State>);

#[derive(Default)]
struct State {
    windows: Windows,
    owed: Unwritten,
    probed: Option<Instant>,
}

impl Damp {
    /// Whether one more of a kind may be written; where the session may, the crowd is asked.
    fn take(&self, kind: Kind, now: Instant, crowd: impl FnOnce() -> bool) -> bool {
        self.0.lock().windows.take(kind, now, OF_SESSION) && crowd()
    }

    fn probes(&self, now: Instant) -> bool {
        let probed = &mut self.0.lock().probed;
        let is_due = probed.is_none_or(|last| now.saturating_duration_since(last) >= PROBE);
        if is_due {
            *probed = Some(now);
        }
        is_due
    }

    fn owed(&self) -> Unwritten {
        std::mem::take(&mut self.0.lock().owed)
    }

    fn owe(&self, more: &Unwritten) {
        let owed = &mut self.0.lock().owed;
        for (kind, n) in more {
            let sum = owed.entry(*kind).or_default();
            *sum = sum.saturating_add(*n);
        }
    }
}

/// What the sessions of one user from one address did lately, all together.
#[derive(Default)]
pub(crate) struct Crowds(Mutex<Known>);

#[derive(Default)]
struct Known {
    crowds: HashMap<(Arc<str>, IpAddr), Windows>,
    /// When the quiet ones were last forgotten.
    swept: Option<Instant>,
}

impl Crowds {
    fn take(&self, user: &Arc<str>, source: IpAddr, kind: Kind, now: Instant) -> bool {
        let Known { crowds, swept } = &mut *self.0.lock();
        if crowds.len() >= CROWDS && swept.is_none_or(|swept| is_over(swept, now)) {
            crowds.retain(|_, windows| !windows.are_over(now));
            *swept = Some(now);
        }
        let mut key = (Arc::clone(user), source);
        if crowds.len() >= CROWDS && !crowds.contains_key(&key) {
            // Beyond, the rest share one.
            key = (Arc::from(""), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
        crowds.entry(key).or_default().take(kind, now, OF_CROWD)
    }
}

/// For each kind the begin of its window, and how many were let through in it.
#[derive(Default)]
struct Windows(BTreeMap<Kind, (Instant, u32)>);

impl Windows {
    fn take(&mut self, kind: Kind, now: Instant, limit: u32) -> bool {
        let window = self.0.entry(kind).or_insert((now, 0));
        if is_over(window.0, now) {
            *window = (now, 0);
        }
        let is_free = window.1 < limit;
        window.1 += u32::from(is_free);
        is_free
    }

    fn are_over(&self, now: Instant) -> bool {
        self.0.values().all(|(since, _)| is_over(*since, now))
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= WINDOW
}

#[cfg(test)]
mod tests {
    use portreeve_model::VPath;

    use super::*;

    const KIND: Kind = ("make-dir", "refused");

    #[test]
    fn a_session_and_a_crowd_have_so_many_a_minute_of_each_kind() {
        let began = Instant::now();
        let (crowds, alice) = (Crowds::default(), Arc::from("alice"));
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let flood = |damp: &Damp, kind, from, now| {
            (0..1_000)
                .filter(|_| damp.take(kind, now, || crowds.take(&alice, from, kind, now)))
                .count()
        };
        let first = Damp::default();
        assert_eq!(flood(&first, KIND, here, began), 100);
        assert_eq!(flood(&first, ("list", "ok"), here, began), 100, "another kind");
        assert_eq!(flood(&first, KIND, here, began + WINDOW / 2), 0);
        let next_window = began + WINDOW;
        let again: usize = (0..50)
            .map(|_| flood(&Damp::default(), KIND, here, next_window))
            .sum();
        assert_eq!(again, 1_000, "who signs in anew");
        assert_eq!(
            flood(&Damp::default(), KIND, there, next_window),
            100,
            "another place"
        );
        assert_eq!(flood(&first, KIND, here, next_window + WINDOW), 100);
    }

    #[test]
    fn many_crowds_take_bounded_room() {
        let (crowds, alice, began) = (Crowds::default(), Arc::from("alice"), Instant::now());
        let through = (0..100_000u32)
            .filter(|n| crowds.take(&alice, IpAddr::from(n.to_be_bytes()), KIND, began))
            .count();
        assert!(through <= CROWDS + OF_CROWD as usize, "{through}");
        assert!(crowds.0.lock().crowds.len() <= CROWDS + 1);
        assert!(crowds.take(&alice, IpAddr::from([9, 9, 9, 9]), KIND, began + WINDOW));
        assert!(crowds.0.lock().crowds.len() < 3, "the quiet ones are forgotten");
    }

    #[test]
    fn only_what_did_nothing_is_damped() {
        let path = || VPath::parse(b"/x").unwrap();
        let passed = |bytes, kept| Transfer {
            path: path(),
            bytes,
            size: None,
            digest: None,
            kept,
        };
        let (ok, failed) = (Outcome::Ok, Outcome::Failed("no".into()));
        for (act, of_ok, of_failed) in [
            (Act::List(path()), true, true),
            (Act::Stat(path()), true, true),
            (Act::MakeDir(path()), false, true),
            (Act::RemoveFile(path()), false, true),
            (Act::SetAttrs(path()), false, true),
            (Act::Upload(passed(0, None)), false, true),
            (Act::Upload(passed(1, None)), false, false),
            (Act::Upload(passed(0, Some(7))), false, false),
            (Act::Download(passed(0, None)), true, true),
            (Act::Download(passed(1, None)), false, false),
            (Act::Logout { reason: "closed" }, false, false),
        ] {
            assert_eq!(idle_kind(&act, &ok).is_some(), of_ok, "{act:?} ok");
            assert_eq!(idle_kind(&act, &failed).is_some(), of_failed, "{act:?} failed");
        }
    }

    #[test]
    fn what_is_owed_is_told_once() {
        let damp = Damp::default();
        damp.owe(&Unwritten::from([(KIND, 2)]));
        damp.owe(&Unwritten::from([(KIND, 3), (("list", "ok"), 1)]));
        assert_eq!(damp.owed(), Unwritten::from([(KIND, 5), (("list", "ok"), 1)]));
        assert_eq!(damp.owed(), Unwritten::new());
        let now = Instant::now();
        assert!(damp.probes(now) && !damp.probes(now) && damp.probes(now + PROBE));
    }
}

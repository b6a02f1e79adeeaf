//! How many records a source may cause that is turned away at accept: knocking costs it nothing, and
//! without an end it would push the history out of the audit log.
//!
//! Invariant: at most [`SOURCES`] sources are held; beyond, the rest share one.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_mins(1);
/// Records of one source in a window.
const RECORDS: u32 = 100;
const SOURCES: usize = 4096;

/// What each source did lately.
#[derive(Default)]
pub(crate) struct Knocks(Mutex<State>);

#[derive(Default)]
struct State {
    sources: HashMap<IpAddr, Source>,
    /// When the quiet ones were last forgotten.
    swept: Option<Instant>,
}

struct Source {
    since: Instant,
    recorded: u32,
    muted: u64,
}

impl Knocks {
    /// Whether a knock is to be recorded; then how many of that source were not, since the last that was.
    pub(crate) fn note(&self, source: IpAddr, now: Instant) -> Option<u64> {
        let State { sources, swept } = &mut *self.0.lock();
        let is_old = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if sources.len() >= SOURCES && swept.is_none_or(is_old) {
            sources.retain(|_, known| !is_old(known.since));
            *swept = Some(now);
        }
        let key = if sources.len() < SOURCES || sources.contains_key(&source) {
            source
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let known = sources.entry(key).or_insert(Source {
            since: now,
            recorded: 0,
            muted: 0,
        });
        if is_old(known.since) {
            (known.since, known.recorded) = (now, 0);
        }
        if known.recorded >= RECORDS {
            known.muted = known.muted.saturating_add(1);
            return None;
        }
        known.recorded += 1;
        Some(std::mem::take(&mut known.muted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_window_tells() {
        let (knocks, began) = (Knocks::default(), Instant::now());
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let recorded = (0..1000).filter(|_| knocks.note(one, began).is_some()).count();
        assert_eq!(recorded, 100);
        assert_eq!(knocks.note(two, began), Some(0));
        assert_eq!(knocks.note(one, began + WINDOW), Some(900));
        assert_eq!(knocks.note(one, began + WINDOW), Some(0));
    }

    #[test]
    fn many_sources_take_bounded_room() {
        let (knocks, began) = (Knocks::default(), Instant::now());
        let recorded = (0..100_000u32)
            .filter(|n| knocks.note(IpAddr::from(n.to_be_bytes()), began).is_some())
            .count();
        assert!(recorded <= SOURCES + 100, "{recorded}");
        assert!(knocks.0.lock().sources.len() <= SOURCES + 1);
    }
}

//! What runs, and what must wait for it (V3).
//!
//! READ, WRITE and READDIR of one handle run side by side; OPEN, CLOSE, SETSTAT, RENAME, REMOVE, FSYNC
//! and their like are barriers for their handle and path, and a READ waits for a WRITE that overlaps it.
//! Requests begin in order of arrival, so what comes after a waiting one waits too.
//!
//! Invariant: a claim is held from the beginning of a request until its reply has been made.

use std::ops::Range;

use portreeve_model::VPath;

/// What one request touches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim {
    pub(crate) handles: [Option<u64>; 2],
    pub(crate) paths: [Option<VPath>; 2],
    /// Nothing else may touch its handles and paths.
    pub(crate) exclusive: bool,
    /// The part of the file that it reads or writes.
    pub(crate) range: Option<Range<u64>>,
    pub(crate) writes: bool,
}

impl Claim {
    /// Looks at `path`.
    pub(crate) fn shared(path: VPath) -> Self {
        Self {
            paths: [Some(path), None],
            ..Self::default()
        }
    }

    /// Changes what is at `path`.
    pub(crate) fn barrier(path: VPath) -> Self {
        Self {
            exclusive: true,
            ..Self::shared(path)
        }
    }

    /// Changes what is at both.
    pub(crate) fn two(from: VPath, to: VPath) -> Self {
        Self {
            paths: [Some(from), Some(to)],
            exclusive: true,
            ..Self::default()
        }
    }

    /// Works with an open handle.
    pub(crate) fn handle(handle: u64, path: VPath) -> Self {
        Self {
            handles: [Some(handle), None],
            ..Self::shared(path)
        }
    }

    pub(crate) fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    pub(crate) fn range(mut self, at: u64, len: u64, writes: bool) -> Self {
        self.range = Some(at..at.saturating_add(len));
        self.writes = writes;
        self
    }

    fn conflicts(&self, other: &Self) -> bool {
        let same = |a: &Option<u64>| a.is_some() && other.handles.contains(a);
        if self.handles.iter().any(same) {
            return self.exclusive || other.exclusive || self.overlaps(other);
        }
        (self.exclusive || other.exclusive) && self.related(other)
    }

    fn overlaps(&self, other: &Self) -> bool {
        if !self.writes && !other.writes {
            return false;
        }
        match (&self.range, &other.range) {
            (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
            _ => false,
        }
    }

    /// Whether one path is the other, or lies beneath it.
    fn related(&self, other: &Self) -> bool {
        self.paths.iter().flatten().any(|a| {
            let mut others = other.paths.iter().flatten();
            others.any(|b| a.starts_with(b) || b.starts_with(a))
        })
    }
}

/// Names one running request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The claims of everything that runs in one channel.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Vec<(Ticket, Claim)>,
    last: u64,
}

impl Claims {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing that runs stands in the way.
    pub(crate) fn is_free(&self, claim: &Claim) -> bool {
        !self.held.iter().any(|(_, held)| held.conflicts(claim))
    }

    pub(crate) fn hold(&mut self, claim: Claim) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.held.push((ticket, claim));
        ticket
    }

    pub(crate) fn release(&mut self, ticket: Ticket) {
        if let Some(at) = self.held.iter().position(|(held, _)| *held == ticket) {
            self.held.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VPath {
        VPath::parse(text).unwrap()
    }

    fn check(a: &Claim, b: &Claim, expected: bool) {
        assert_eq!(a.conflicts(b), expected, "{a:?} / {b:?}");
        assert_eq!(b.conflicts(a), expected, "{b:?} / {a:?}");
    }

    #[test]
    fn reads_and_writes_run_side_by_side_unless_they_overlap() {
        let on = |handle| Claim::handle(handle, path("/f"));
        check(&on(1).range(0, 10, false), &on(1).range(5, 10, false), false);
        check(&on(1).range(0, 10, true), &on(1).range(10, 10, true), false);
        check(&on(1).range(0, 10, true), &on(1).range(9, 10, false), true);
        check(&on(1).range(0, 10, true), &on(1).range(5, 1, true), true);
        check(
            &on(1).range(u64::MAX, 10, true),
            &on(2).range(0, u64::MAX, false),
            false,
        );
    }

    #[test]
    fn barriers_hold_back_their_handle_their_path_and_what_lies_beneath() {
        let close = Claim::handle(1, path("/d/f")).exclusive();
        check(&close, &Claim::handle(1, path("/d/f")).range(0, 1, true), true);
        check(&close, &Claim::shared(path("/d/f")), true);
        check(&close, &Claim::shared(path("/d")), true);
        check(&close, &Claim::two(path("/d/f"), path("/d/g")), true);
        check(&close, &Claim::two(path("/d/g"), path("/d/f")), true);
        check(&close, &Claim::barrier(path("/d/g")), false);
        check(&close, &Claim::shared(path("/d/fg")), false);
        check(&Claim::shared(path("/d")), &Claim::shared(path("/d/f")), false);
    }

    #[test]
    fn released_claims_are_gone() {
        let mut claims = Claims::default();
        let ticket = claims.hold(Claim::barrier(path("/a")));
        let other = claims.hold(Claim::barrier(path("/b")));
        assert!(!claims.is_free(&Claim::shared(path("/a"))));
        claims.release(ticket);
        claims.release(ticket);
        assert!(claims.is_free(&Claim::shared(path("/a"))));
        claims.release(other);
        assert_eq!(claims.len(), 0);
    }
}

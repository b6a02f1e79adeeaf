//! Digests of what passed in a transfer, where it passed in order.
//!
//! A door has several reads in flight, and a storage that is far away answers them as it can: what comes a
//! little early is put aside until its turn. That is bounded, in bytes and in pieces, for each transfer and
//! for all together: who opens many files and leaves gaps loses digests, and holds no memory.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use sha2::Digest as _;

use crate::DigestKind;

/// Most bytes put aside: what OpenSSH's clients have in flight.
const EARLY: usize = 2 << 20;
/// Most pieces put aside.
const EARLY_PIECES: usize = 256;
/// Most bytes put aside by all transfers of the process.
const EARLY_IN_ALL: usize = 64 << 20;
/// How many are.
static IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// A digest that grows with the bytes. A gap that stays, or a step back, ends it: no digest is better than one
/// of something else.
pub(crate) struct Digest {
    state: Mutex<Option<State>>,
}

struct State {
    next: u64,
    hash: Hash,
    early: Early,
}

/// What came before its turn, by offset.
#[derive(Default)]
struct Early {
    pieces: BTreeMap<u64, Vec<u8>>,
    held: usize,
}

impl Early {
    /// Puts a piece aside; false where there is no room for it, or another of its offset.
    fn put(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.held + bytes.len() > EARLY || self.pieces.len() >= EARLY_PIECES {
            return false;
        }
        // Counted before it is taken: it is given back with the rest.
        self.held += bytes.len();
        let all = IN_ALL.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        all <= EARLY_IN_ALL && self.pieces.insert(at, bytes.to_vec()).is_none()
    }

    /// The first piece, if it begins at `next` or before.
    fn take(&mut self, next: u64) -> Option<(u64, Vec<u8>)> {
        let first = self.pieces.first_entry().filter(|first| *first.key() <= next)?;
        let (at, bytes) = first.remove_entry();
        self.held = self.held.saturating_sub(bytes.len());
        IN_ALL.fetch_sub(bytes.len(), Ordering::Relaxed);
        Some((at, bytes))
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        IN_ALL.fetch_sub(self.held, Ordering::Relaxed);
    }
}

impl State {
    /// Takes in bytes at `at`; false where no digest can come of it any more.
    fn take(&mut self, at: u64, bytes: &[u8]) -> bool {
        if at > self.next {
            return self.early.put(at, bytes);
        }
        if at < self.next {
            return false;
        }
        self.grow(bytes);
        while let Some((at, bytes)) = self.early.take(self.next) {
            if at < self.next {
                return false;
            }
            self.grow(&bytes);
        }
        true
    }

    fn grow(&mut self, bytes: &[u8]) {
        self.next += bytes.len() as u64;
        match &mut self.hash {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Blake3(hash) => {
                hash.update(bytes);
            }
        }
    }
}

enum Hash {
    Sha256(sha2::Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Digest {
    pub(crate) fn new(kind: DigestKind) -> Self {
        let hash = match kind {
            DigestKind::Sha256 => Hash::Sha256(sha2::Sha256::new()),
            DigestKind::Blake3 => Hash::Blake3(Box::default()),
        };
        Self {
            state: Mutex::new(Some(State {
                next: 0,
                hash,
                early: Early::default(),
            })),
        }
    }

    /// Bytes that passed at offset `at`.
    pub(crate) fn update(&self, at: u64, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.as_mut().is_some_and(|live| !live.take(at, bytes)) {
            *state = None;
        }
    }

    /// The digest, where everything passed once and in order, but for what was in flight together:
    /// `sha256:…` or `blake3:…`.
    pub(crate) fn finish(&self) -> Option<String> {
        let whole = self
            .state
            .lock()
            .take()
            .filter(|state| state.early.pieces.is_empty())?;
        Some(match whole.hash {
            Hash::Sha256(hash) => format!("sha256:{}", hex(&hash.finalize())),
            Hash::Blake3(hash) => format!("blake3:{}", hash.finalize().to_hex()),
        })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passed_in_order_has_a_digest() {
        let digest = Digest::new(DigestKind::Sha256);
        digest.update(0, b"ab");
        digest.update(2, b"c");
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.finish().as_deref(), Some(abc));
        // Reads that were in flight together.
        let digest = Digest::new(DigestKind::Sha256);
        digest.update(2, b"c");
        digest.update(1, b"b");
        digest.update(0, b"a");
        assert_eq!(digest.finish().as_deref(), Some(abc));
    }

    #[test]
    fn what_passed_with_gaps_or_twice_has_none() {
        let pieces: [&[(u64, &[u8])]; 5] = [
            &[(1, b"b")],
            &[(0, b"a"), (2, b"c")],
            &[(0, b"ab"), (1, b"b")],
            &[(2, b"c"), (2, b"c"), (0, b"ab")],
            &[(1, b"bc"), (2, b"c"), (0, b"a")],
        ];
        for pieces in pieces {
            let digest = Digest::new(DigestKind::Blake3);
            for (at, bytes) in pieces {
                digest.update(*at, bytes);
            }
            assert_eq!(digest.finish(), None, "{pieces:?}");
        }
    }

    #[test]
    fn what_is_put_aside_is_bounded() {
        let digest = Digest::new(DigestKind::Sha256);
        digest.update(EARLY as u64, &vec![0; EARLY]);
        digest.update(0, &vec![0; EARLY]);
        assert!(digest.finish().is_some());
        for (len, pieces) in [(EARLY + 1, 1), (1, EARLY_PIECES + 1)] {
            let digest = Digest::new(DigestKind::Sha256);
            for n in (0..pieces).rev() {
                digest.update((1 + n * len) as u64, &vec![0; len]);
            }
            digest.update(0, b"0");
            assert_eq!(digest.finish(), None, "{len} {pieces}");
        }
        // All together, too: who leaves gaps in many files keeps few of them.
        let many: Vec<Digest> = (0..2 * EARLY_IN_ALL / EARLY)
            .map(|_| {
                let digest = Digest::new(DigestKind::Sha256);
                digest.update(1, &vec![0; EARLY]);
                digest
            })
            .collect();
        let held = many.iter().filter(|digest| digest.state.lock().is_some()).count();
        assert!(held <= EARLY_IN_ALL / EARLY, "{held}");
        drop(many);
        let digest = Digest::new(DigestKind::Sha256);
        digest.update(1, &vec![0; EARLY]);
        assert!(digest.state.lock().is_some(), "what was held is given back");
    }
}

//! Digests of what passed in a transfer, where it passed in order.

use parking_lot::Mutex;
use sha2::Digest as _;

use crate::DigestKind;

/// A digest that grows with the bytes. A gap, or a step back, ends it: no digest is better than one
/// of something else.
pub(crate) struct Digest {
    state: Mutex<Option<State>>,
}

struct State {
    next: u64,
    hash: Hash,
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
            state: Mutex::new(Some(State { next: 0, hash })),
        }
    }

    /// Bytes that passed at offset `at`.
    pub(crate) fn update(&self, at: u64, bytes: &[u8]) {
        let mut state = self.state.lock();
        let Some(live) = state.as_mut() else { return };
        if at != live.next {
            *state = None;
            return;
        }
        live.next += bytes.len() as u64;
        match &mut live.hash {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Blake3(hash) => {
                hash.update(bytes);
            }
        }
    }

    /// The digest, where everything passed in order: `sha256:…` or `blake3:…`.
    pub(crate) fn finish(&self) -> Option<String> {
        Some(match self.state.lock().take()?.hash {
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
        let torn = Digest::new(DigestKind::Blake3);
        torn.update(1, b"b");
        torn.update(0, b"a");
        assert_eq!(torn.finish(), None);
    }
}

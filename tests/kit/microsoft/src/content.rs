//! What files are made of: bytes that are there, bytes made up from a size and a seed, or several such one after the other, some
//! of them in base64: so 150 MB cost no memory, and neither does the message that carries them.
//! Invariant: the same size and seed give the same bytes at every offset, always.

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// How much is made at a time.
const PIECE: usize = 64 * 1024;
/// Bytes of a line of base64, before and after.
const LINE: (u64, u64) = (57, 78);

/// The bytes of an attachment.
#[derive(Debug, Clone)]
pub enum Content {
    /// These.
    Bytes(Bytes),
    /// Made up when they are asked for.
    Generated {
        /// How many.
        size: u64,
        /// Which.
        seed: u64,
    },
    /// One after the other.
    Joined(Arc<Vec<Section>>),
}

/// A part of a longer content.
#[derive(Debug, Clone)]
pub struct Section {
    content: Content,
    /// Whether it stands there in base64, in lines of 76 characters.
    base64: bool,
}

impl Section {
    pub(crate) const fn plain(content: Content) -> Self {
        Self {
            content,
            base64: false,
        }
    }

    pub(crate) const fn base64(content: Content) -> Self {
        Self {
            content,
            base64: true,
        }
    }

    fn len(&self) -> u64 {
        let len = self.content.len();
        if self.base64 {
            len.div_ceil(3) * 4 + len.div_ceil(LINE.0) * 2
        } else {
            len
        }
    }

    fn piece(&self, offset: u64, most: usize) -> Bytes {
        if !self.base64 {
            return self.content.piece(offset, most);
        }
        let (first, skip) = (
            offset / LINE.1,
            usize::try_from(offset % LINE.1).unwrap_or_default(),
        );
        let lines = (skip + most).div_ceil(78);
        let mut text = Vec::with_capacity(lines * 78);
        for line in self.content.piece(first * LINE.0, lines * 57).chunks(57) {
            text.extend_from_slice(STANDARD.encode(line).as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        let text = Bytes::from(text);
        text.slice(skip.min(text.len())..(skip + most).min(text.len()))
    }
}

impl Content {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated { size, .. } => *size,
            Self::Joined(sections) => sections.iter().map(Section::len).sum(),
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `most` bytes from `offset` on; nothing at the end.
    #[must_use]
    pub fn piece(&self, offset: u64, most: usize) -> Bytes {
        let left = self.len().saturating_sub(offset);
        let many = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(from..from + many)
            }
            Self::Generated { seed, .. } => {
                let mut made = Vec::with_capacity(many + 16);
                let mut word = offset / 8;
                let skip = usize::try_from(offset % 8).unwrap_or_default();
                while made.len() < many + skip {
                    made.extend_from_slice(&mix(seed.wrapping_add(word)).to_le_bytes());
                    word += 1;
                }
                Bytes::from(made).slice(skip..skip + many)
            }
            Self::Joined(sections) => {
                let (mut made, mut offset) = (Vec::with_capacity(many), offset);
                for section in sections.iter() {
                    let len = section.len();
                    if offset < len {
                        made.extend_from_slice(&section.piece(offset, many - made.len()));
                        offset = 0;
                    } else {
                        offset -= len;
                    }
                    if made.len() == many {
                        break;
                    }
                }
                made.into()
            }
        }
    }

    /// Everything at once.
    #[must_use]
    pub fn all(&self) -> Bytes {
        self.piece(0, usize::try_from(self.len()).expect("it fits in memory"))
    }

    /// SHA-256 of everything, in lower-case hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let mut at = 0;
        loop {
            let piece = self.piece(at, PIECE);
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            hash.update(&piece);
        }
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

/// The finalizer of splitmix64: one number of another, evenly spread.
pub(crate) const fn mix(n: u64) -> u64 {
    let mut z = n
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_bytes_are_the_same_at_every_offset() {
        let content = Content::Generated {
            size: 100_003,
            seed: 7,
        };
        let all = content.all();
        assert_eq!(all.len(), 100_003);
        for (offset, most) in [
            (0, 10),
            (1, 9),
            (7, 1),
            (8, 64),
            (99_999, 100),
            (100_003, 5),
            (200_000, 5),
        ] {
            let from = usize::try_from(offset).unwrap().min(all.len());
            let to = (from + most).min(all.len());
            assert_eq!(
                content.piece(offset, most),
                all.slice(from..to),
                "{offset} {most}"
            );
        }
        assert_eq!(content.sha256(), Content::Bytes(all).sha256());
        assert_ne!(
            content.sha256(),
            Content::Generated {
                size: 100_003,
                seed: 8
            }
            .sha256()
        );
    }

    #[test]
    fn what_is_joined_is_the_same_at_every_offset() {
        for size in [0, 1, 56, 57, 58, 113, 114, 1000] {
            let inner = Content::Generated { size, seed: 2 };
            let joined = Content::Joined(Arc::new(vec![
                Section::plain("head".into()),
                Section::base64(inner.clone()),
                Section::plain("tail".into()),
            ]));
            let mut expected = b"head".to_vec();
            for line in inner.all().chunks(57) {
                expected.extend_from_slice(STANDARD.encode(line).as_bytes());
                expected.extend_from_slice(b"\r\n");
            }
            expected.extend_from_slice(b"tail");
            assert_eq!(joined.len(), expected.len() as u64, "{size}");
            for from in 0..expected.len() {
                for most in [1, 5, 77, 78, 79, 5000] {
                    let to = (from + most).min(expected.len());
                    assert_eq!(
                        joined.piece(from as u64, most),
                        expected[from..to],
                        "{size} {from} {most}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_digest_is_sha256() {
        assert_eq!(
            Content::from("abc").sha256(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

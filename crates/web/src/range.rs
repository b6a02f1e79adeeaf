//! `Range` and `Content-Range` (RFC 9110 §14): pure functions over hostile text.
//!
//! Invariant: what comes out lies within the file, in order, without overlap, and in at most
//! [`MAX_PARTS`] pieces. Whatever is no valid byte range is ignored, as §14.2 asks.

use std::ops::Range;

/// Most parts that a `Range` may name; more are answered with the whole file.
pub const MAX_PARTS: usize = 16;

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No range, or none that we understand: the whole file (200).
    Whole,
    /// These parts (206): coalesced, in order, never empty.
    Parts(Vec<Range<u64>>),
    /// Nothing of the file (416).
    Outside,
}

/// Reads a `Range` header for a file of `size` bytes.
#[must_use]
pub fn wanted(header: &str, size: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut named = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        named += 1;
        if named > MAX_PARTS {
            return Wanted::Whole;
        }
        let Some(part) = one(spec, size) else {
            return Wanted::Whole;
        };
        if !part.is_empty() {
            parts.push(part);
        }
    }
    if named == 0 {
        return Wanted::Whole;
    }
    if parts.is_empty() {
        return Wanted::Outside;
    }
    Wanted::Parts(coalesced(parts))
}

/// One `first-last`, `first-` or `-suffix`; empty where it lies outside, none where it is no range.
fn one(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(first.min(size)..end)
}

/// Overlapping and adjacent parts become one; order is by offset.
fn coalesced(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.sort_by_key(|part| part.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

/// Digits only: `u64::from_str` alone would take a sign. A number too large for `u64` lies beyond
/// every file, so it is the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Where the body of a `PUT` belongs: `Content-Range: bytes first-last/total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
    /// Size of the whole file; none for `*`: not known yet.
    pub total: Option<u64>,
}

impl Piece {
    /// Whether the file is whole once this piece has come.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.total == Some(self.end)
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Reads `bytes first-last/total` or `bytes first-last/*`; none for anything else.
#[must_use]
pub fn piece(header: &str) -> Option<Piece> {
    let (unit, rest) = header.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, last) = (exact(first)?, exact(last)?);
    let end = last.checked_add(1)?;
    let total = match total {
        "*" => None,
        digits => Some(exact(digits)?),
    };
    if start > last || total.is_some_and(|total| end > total) {
        return None;
    }
    Some(Piece { start, end, total })
}

fn exact(text: &str) -> Option<u64> {
    number(text).filter(|_| text.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_ranges() {
        let parts = |list: &[(u64, u64)]| Wanted::Parts(list.iter().map(|(a, b)| *a..*b).collect());
        for (header, want) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-", parts(&[(0, 100)])),
            ("bytes=10-19", parts(&[(10, 20)])),
            ("bytes=90-1000", parts(&[(90, 100)])),
            ("bytes=-10", parts(&[(90, 100)])),
            ("bytes=-1000", parts(&[(0, 100)])),
            ("BYTES = 5-6", parts(&[(5, 7)])),
            ("bytes=0-1, 2-3", parts(&[(0, 4)])),
            ("bytes=50-59,0-9,5-14", parts(&[(0, 15), (50, 60)])),
            ("bytes=0-9,200-300", parts(&[(0, 10)])),
            ("bytes=0-18446744073709551616", parts(&[(0, 100)])),
            ("bytes=100-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=18446744073709551616-", Wanted::Outside),
            ("bytes=", Wanted::Whole),
            ("bytes=,,", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=--2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 100), want, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Outside);
        let many = format!("bytes={}", ["0-0"; 17].join(","));
        assert_eq!(wanted(&many, 100), Wanted::Whole);
    }

    #[test]
    fn reads_pieces() {
        let piece_of = |start, end, total| Some(Piece { start, end, total });
        for (header, want) in [
            ("bytes 0-9/10", piece_of(0, 10, Some(10))),
            ("bytes 5-9/100", piece_of(5, 10, Some(100))),
            ("bytes 5-9/*", piece_of(5, 10, None)),
            ("Bytes 5-9/10", piece_of(5, 10, Some(10))),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-99999999999999999999/*", None),
            ("bytes=0-9/10", None),
            ("bytes -1-9/10", None),
            ("", None),
        ] {
            assert_eq!(piece(header), want, "{header}");
        }
        assert!(piece("bytes 5-9/10").is_some_and(|p| p.is_last() && p.length() == 5));
        assert!(piece("bytes 5-9/*").is_some_and(|p| !p.is_last()));
    }

    proptest! {
        #[test]
        fn never_leaves_the_file(header in "(bytes=)?[-0-9, ]{0,60}", size in 0u64..200) {
            if let Wanted::Parts(parts) = wanted(&header, size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
                let mut end = None;
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= size);
                    prop_assert!(end.is_none_or(|end| end < part.start));
                    end = Some(part.end);
                }
            }
        }

        #[test]
        fn takes_any_text(header in ".{0,80}", size: u64) {
            let _ = wanted(&header, size);
            if let Some(piece) = piece(&header) {
                prop_assert!(piece.start < piece.end);
            }
        }
    }
}

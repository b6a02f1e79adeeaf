//! Range and Content-Range of HTTP: what is answered lies within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_web::range::{MAX_PARTS, Wanted, piece, wanted};

fuzz_target!(|input: (&str, u64)| {
    let (header, size) = input;
    if let Some(piece) = piece(header) {
        assert!(piece.start < piece.end && piece.total.is_none_or(|total| piece.end <= total));
    }
    if let Wanted::Parts(parts) = wanted(header, size) {
        assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        assert!(parts.is_sorted_by(|a, b| a.end < b.start), "they overlap or touch: {parts:?}");
    }
});

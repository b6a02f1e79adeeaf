//! What an SFTP client sends, whole and in pieces: whatever the cut, the same is understood.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_sftp::wire::parse_everything;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = parse_everything(bytes, bytes.len());
    assert_eq!(parse_everything(bytes, usize::from(cut)), whole, "the cut changed what was understood");
});

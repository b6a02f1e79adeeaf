//! Names made of subjects that strangers write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_mailbox::name::{BaseName, MAX_BYTES, MAX_CHARS, is_clean, sanitise};

fuzz_target!(|input: (&str, u32)| {
    let (raw, number) = input;
    let clean = sanitise(raw);
    assert_eq!(sanitise(&clean), clean, "cleaning twice changes it");
    let name = BaseName::new(raw).numbered(number);
    assert!(is_clean(&name), "{name:?}");
    assert!(name.chars().count() <= MAX_CHARS && name.len() <= MAX_BYTES, "{name:?}");
    assert!(portreeve_model::Name::new(name.as_bytes()).is_ok());
});

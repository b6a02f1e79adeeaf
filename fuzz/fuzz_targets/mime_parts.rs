//! A message as it lies in a mailbox: its parts have names, exact sizes, and places within it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_mailbox::inspect;
use portreeve_model::Timestamp;

fuzz_target!(|raw: &[u8]| {
    let first = inspect(raw, Timestamp::from_seconds(0));
    let second = inspect(raw, Timestamp::from_seconds(0));
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "one message, two readings");
});

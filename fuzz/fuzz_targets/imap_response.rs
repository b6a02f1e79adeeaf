//! What a mail server says: responses, the messages and folders that they tell of.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| portreeve_mailbox::fuzz_imap(raw));

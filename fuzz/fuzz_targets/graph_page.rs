//! Pages of messages as Graph, or whoever sits in its place, may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    for (message, again) in portreeve_mailbox::fuzz_page(page) {
        assert_eq!(Some(&message), again.as_ref(), "written down and read, it is another");
        for attachment in &message.attachments {
            assert!(!attachment.name.is_empty());
            assert_eq!(attachment.size, None, "a size that Graph reports was believed");
        }
    }
});

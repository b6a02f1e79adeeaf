//! A proxy's reply to CONNECT: only a status line of HTTP/1 that means success opens the tunnel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_microsoft::net::fuzz_reply;

fuzz_target!(|head: &[u8]| {
    if fuzz_reply(head) {
        assert!(head.starts_with(b"HTTP/1.1 2") || head.starts_with(b"HTTP/1.0 2"));
    }
});

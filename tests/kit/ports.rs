//! Free ports, chosen below the range from which the kernel takes numbers for outgoing connections.

use std::{
    net::{TcpListener, UdpSocket},
    ops::RangeInclusive,
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 20_000;
const LAST: u16 = 27_999;
/// Behind it, for data connections.
const PASSIVE: u16 = 28_000;
const PASSIVE_LAST: u16 = 31_999;
/// So many for one server.
const PASSIVE_COUNT: u16 = 200;

/// A port that was free a moment ago; two calls of one process never give the same one.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = LAST - FIRST;
    // Test processes run side by side: each begins somewhere else.
    let start = u16::try_from(std::process::id() * 37 % u32::from(span)).unwrap_or(0);
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % span;
        let port = FIRST + (start + step) % span;
        let free =
            TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {LAST}");
}

/// Ports for passive data connections. Servers of other processes may use the same ones: each takes what it can get.
#[must_use]
pub fn passive() -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (PASSIVE_LAST - PASSIVE + 1) / PASSIVE_COUNT;
    let start = u16::try_from(std::process::id() % u32::from(blocks)).unwrap_or(0);
    let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
    let first = PASSIVE + block * PASSIVE_COUNT;
    first..=first + PASSIVE_COUNT - 1
}

/// Whether this machine has IPv6 within itself.
#[must_use]
pub fn six() -> bool {
    TcpListener::bind(("::1", 0)).is_ok()
}

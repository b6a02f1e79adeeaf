//! The end of a connection over which we spoke last.
//!
//! A socket that is closed while bytes lie in it unread is reset by the kernel, and the reset may overtake
//! what we sent. So what the client still says (its own close_notify at least) is read and thrown away for
//! a while, behind the back of the transfer.
//!
//! Invariant: bounded in time, in bytes and in number; where there are too many the socket just closes.

use std::time::Duration;

use tokio::{io::AsyncReadExt, sync::Semaphore, time::timeout};

use super::socket::{Socket, Wire};

/// How much is thrown away, and how long a client may take to close its side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    bytes: usize,
    time: Duration,
}

/// After a farewell of ours.
pub(super) const SHORT: Patience = Patience {
    bytes: 256 << 10,
    time: Duration::from_secs(5),
};
/// After an upload that the storage refused in its course (a full disk): clients such as curl send on to
/// the end and only then listen to why.
pub(super) const LONG: Patience = Patience {
    bytes: 64 << 20,
    time: Duration::from_secs(30),
};
/// Thrown away at once.
const AT_ONCE: usize = 16 << 10;
/// How many may linger in the whole process.
const MANY: usize = 512;

static LINGERING: Semaphore = Semaphore::const_new(MANY);

/// Reads `socket` to its end, in the background.
pub(super) fn linger<S: Wire>(mut socket: Socket<S>, patience: Patience) {
    let Ok(permit) = LINGERING.try_acquire() else {
        return;
    };
    tokio::spawn(async move {
        let _permit = permit;
        let _ = timeout(patience.time, async {
            let (mut bin, mut left) = (vec![0; AT_ONCE], patience.bytes);
            while let Ok(n @ 1..) = socket.read(&mut bin).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        })
        .await;
    });
}

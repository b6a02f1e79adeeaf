//! Answers that come late: in which order they are sent, and that none is left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod desk;

use std::sync::Arc;

use desk::{CREAT, Desk, Pace, Sftp, Slow, TRUNC, WRITE, desk_over};
use portreeve_sftp::SftpOptions;
use portreeve_vfs::Memory;

fn slow_desk() -> (Desk, Arc<Pace>) {
    let memory = Arc::new(Memory::new());
    let slow = Slow::over(&memory);
    let pace = Arc::clone(&slow.1);
    (desk_over(slow, memory, None, &SftpOptions::default()), pace)
}

/// WRITEs with ids from 1 on, none adjacent to the one before it: the storage gets them one by one.
fn writes(handle: &[u8], count: u32, len: usize) -> Vec<u8> {
    let data = vec![7; len];
    let packet = |id: u32| {
        let at = u64::from(count - id) * len as u64;
        Sftp::packet(6, id, &Sftp::write_body(handle, at, &data))
    };
    (1..=count).flat_map(packet).collect()
}

/// What callbacks send at once and what the driver sends by russh's queue, each overtaking the other if
/// they could: a storage takes the WRITEs of one handle one after the other, so their answers are made
/// in that order. paramiko waits for ever for one that comes too early.
///
/// More is sent than the server puts aside for a storage that is slower than the client, so callbacks
/// and the driver also wait for each other here.
#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_the_order_in_which_they_were_made() {
    const COUNT: u32 = 30_000;
    let (desk, _) = slow_desk();
    let mut sftp = desk.sftp().await;
    let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
    let answers = sftp.flood(&writes(&handle, COUNT, 200), COUNT as usize).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!((answer.id, answer.code()), (n as u32 + 1, 0));
    }
    assert_eq!(sftp.close(&handle).await.code(), 0);
    assert_eq!(desk.gate.sessions()[0].bytes_written, u64::from(COUNT) * 200);
}

/// More than a callback leaves to a storage that does not answer; the last answers come when no callback
/// waits any more, and nothing further comes from the client. Several times: whether the callback waited
/// when the storage began to answer cannot be seen from here.
#[tokio::test(flavor = "multi_thread")]
async fn the_driver_takes_over_when_a_callback_stops_waiting() {
    let (desk, pace) = slow_desk();
    let mut sftp = desk.sftp().await;
    for count in 129..145 {
        let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
        pace.hold_writes();
        sftp.raw(&writes(&handle, count, 32_768)).await;
        let mut id = 0;
        for more in [20, count as usize - 22, 1, 1] {
            pace.writes.add_permits(more);
            for _ in 0..more {
                let answer = sftp.answer().await;
                id += 1;
                assert_eq!((answer.id, answer.code()), (id, 0));
            }
        }
        assert_eq!(id, count);
        assert_eq!(sftp.close(&handle).await.code(), 0);
    }
}

//! What all channels of a connection, and all connections of a user, may have together. Apart from the
//! other hostile clients, whose memory is measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod desk;

use desk::{READ, Sftp, desk, noise, string};

/// A user's connections have a bound together, so that nobody takes the server's descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn handles_of_one_user_are_bounded() {
    let desk = desk();
    desk.sftp().await.put("/f", b"x").await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut sftp = desk.sftp().await;
        for _ in 0..256 {
            assert_eq!(sftp.open("/f", READ).await.kind, 102);
        }
        connections.push(sftp);
    }
    let mut fifth = desk.sftp().await;
    for _ in 0..300 {
        let refused = fifth.open("/f", READ).await;
        assert!(refused.text().contains("of this user"), "{}", refused.text());
    }
    connections.pop().unwrap().cut().await;
    // They come back one by one.
    let mut opened = 0;
    while opened < 256 {
        opened += usize::from(fifth.open("/f", READ).await.kind == 102);
    }
}

/// Two channels of a client that does not read are each within the bounds, and together beyond them.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_connection_is_bounded() {
    const COUNT: u32 = 100;
    let desk = desk();
    let mut one = desk.sftp().await;
    one.put("/f", &noise(1 << 20)).await;
    let mut two = one.beside().await;
    let mut flood = Vec::new();
    for channel in [&mut one, &mut two] {
        let handle = channel.open("/f", READ).await.handle();
        // More than the client's window holds: nothing further is answered.
        let reads = Sftp::packet(5, 1, &Sftp::read_body(&handle, 0, 250_000)).repeat(COUNT as usize);
        let large = Sftp::packet(200, 2, &string(&[b'x'; 200_000])).repeat(COUNT as usize);
        flood.push([reads, large].concat());
    }
    one.raw(&flood[0]).await;
    two.push(&flood[1]).await;
    while two.try_answer().await.is_some() {}
    for _ in 0..COUNT {
        assert_eq!(one.answer().await.data().len(), 250_000);
    }
    for _ in 0..COUNT {
        assert_eq!(one.answer().await.code(), 8);
    }
    // What waited is given back: the same again fits.
    one.raw(&flood[0]).await;
    for _ in 0..2 * COUNT {
        one.answer().await;
    }
}

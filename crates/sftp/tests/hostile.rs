//! What no decent client does.

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

use desk::{CREAT, READ, Sftp, Slow, TRUNC, WRITE, desk, desk_over, listen, noise, string};
use portreeve_sftp::SftpOptions;
use portreeve_vfs::Memory;

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 100,000 READs of 32 KiB each are asked for before a single reply is taken: 3 GiB of replies.
#[tokio::test(flavor = "multi_thread")]
async fn unlimited_prefetch_is_served_in_bounded_memory() {
    for slow in [false, true] {
        let memory = Arc::new(Memory::new());
        let storage: Arc<dyn portreeve_vfs::FileSystem> = match slow {
            true => Slow::over(&memory),
            false => Arc::clone(&memory) as _,
        };
        let desk = desk_over(storage, memory, None, &SftpOptions::default());
        let mut sftp = desk.sftp().await;
        let data = noise(1 << 20);
        sftp.put("/f", &data).await;
        let handle = sftp.open("/f", READ).await.handle();
        let before = resident_kib();
        let count = 100_000_u32;
        let mut asked = Vec::new();
        for id in 0..count {
            let at = u64::from(id % 32) * 32_768;
            asked.extend(Sftp::packet(5, 1000 + id, &Sftp::read_body(&handle, at, 32_768)));
        }
        for piece in asked.chunks(30_000) {
            sftp.raw(piece).await;
        }
        // Everything was taken; far from everything was answered.
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 48 * 1024, "{grown} KiB");
        let mut seen = vec![false; count as usize];
        for _ in 0..if slow { 2000 } else { 6000 } {
            let answer = sftp.answer().await;
            let n = answer.id - 1000;
            assert!(!std::mem::replace(&mut seen[n as usize], true));
            let at = (n % 32) as usize * 32_768;
            assert!(answer.data() == &data[at..at + 32_768]);
        }
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 64 * 1024, "{grown} KiB");
        sftp.cut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_close_their_channel_only() {
    let desk = desk();
    let ssh = desk.alice().await;
    for (bytes, words) in [
        (vec![0, 0, 0, 0, 1], "this is not SFTP"),
        (vec![255; 20], "this is not SFTP"),
        (
            Sftp::packet(17, 1, &string(b"/")),
            "the first packet must be INIT",
        ),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "this is not SFTP"),
    ] {
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        channel.data(&bytes[..]).await.unwrap();
        let (text, status) = listen(channel).await;
        assert!(text.contains(words), "{text:?}");
        assert_eq!(status, Some(1));
    }
    let mut sftp = Sftp::over(ssh).await;
    assert_eq!(sftp.stat("/").await.kind, 105, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_cost_themselves_only() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    for (kind, body) in [
        (3, vec![]),
        (17, vec![0, 0, 0, 9]),
        (6, string(b"x")),
        (200, vec![0; 3]),
    ] {
        assert_eq!(sftp.ask(kind, &body).await.code(), 5, "{kind}");
    }
    assert_eq!(sftp.ask(1, &[]).await.code(), 5, "INIT again");
    assert_eq!(sftp.ask(77, &[]).await.code(), 8);
    for handle in [string(b""), string(b"12345678"), string(&[0; 100])] {
        assert_eq!(sftp.ask(4, &handle).await.code(), 4);
        assert_eq!(sftp.ask(5, &Sftp::read_body(&handle, 0, 10)).await.code(), 4);
        assert_eq!(sftp.ask(6, &Sftp::write_body(&handle, 0, b"x")).await.code(), 4);
        assert_eq!(sftp.ask(12, &handle).await.code(), 4);
    }
    for path in [&b"a\0b"[..], &[b'x'; 300], &[b'/'; 5000]] {
        assert_eq!(sftp.ask(17, &string(path)).await.code(), 4);
    }
    let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
    let far = sftp
        .ask(6, &Sftp::write_body(&handle, u64::MAX - 1, b"123"))
        .await;
    assert_ne!(far.code(), 0);
    sftp.put("/g", b"x").await;
    let handle = sftp.open("/g", READ).await.handle();
    assert_eq!(
        sftp.ask(5, &Sftp::read_body(&handle, u64::MAX, u32::MAX))
            .await
            .code(),
        1
    );
    assert_eq!(
        sftp.ask(5, &Sftp::read_body(&handle, 0, u32::MAX)).await.data(),
        b"x"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_bounded_and_closed_ones_are_gone() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    sftp.put("/f", b"x").await;
    let mut handles = Vec::new();
    for _ in 0..256 {
        handles.push(sftp.open("/f", READ).await.handle());
    }
    // All channels of a connection together; another connection has its own.
    let mut beside = sftp.beside().await;
    let mut other = desk.sftp().await;
    for refused in [
        sftp.open("/f", READ).await,
        beside.open("/f", READ).await,
        beside.ask(11, &string(b"/")).await,
    ] {
        assert!(refused.text().contains("256"), "{}", refused.text());
    }
    assert_eq!(other.open("/f", READ).await.kind, 102);
    let handle = handles.pop().unwrap();
    assert_eq!(sftp.close(&handle).await.code(), 0);
    assert_eq!(sftp.close(&handle).await.code(), 4);
    assert_eq!(sftp.open("/f", READ).await.kind, 102);
    assert_eq!(sftp.open("/missing", READ).await.code(), 4, "full again");
    // What is refused by the storage, or goes with its channel, gives its place back.
    let handle = handles.pop().unwrap();
    assert_eq!(sftp.close(&handle).await.code(), 0);
    for _ in 0..300 {
        assert_eq!(beside.open("/missing", READ).await.code(), 2);
    }
    assert_eq!(beside.open("/f", READ).await.kind, 102);
    assert_eq!(sftp.open("/f", READ).await.code(), 4);
    drop(beside);
    while sftp.open("/f", READ).await.kind != 102 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_sftp_is_refused() {
    let desk = desk();
    let ssh = desk.alice().await;
    let channel = ssh.channel_open_session().await.unwrap();
    channel.exec(true, "id").await.unwrap();
    assert_eq!(
        listen(channel).await,
        ("This server speaks SFTP only.\r\n".to_owned(), Some(1))
    );
    let channel = ssh.channel_open_session().await.unwrap();
    channel.request_shell(true).await.unwrap();
    assert_eq!(
        listen(channel).await,
        ("This server speaks SFTP only.\r\n".to_owned(), Some(1))
    );
    let channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "netconf").await.unwrap();
    channel.set_env(true, "LD_PRELOAD", "x").await.unwrap();
    channel.agent_forward(true).await.unwrap();
    channel
        .request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0)
        .await
        .unwrap();
    channel
        .request_pty(true, "xterm", 80, 24, 0, 0, &[])
        .await
        .unwrap();
    channel.eof().await.unwrap();
    assert_eq!(listen(channel).await.0, "(failure)".repeat(5));
    assert!(
        ssh.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1)
            .await
            .is_err()
    );
    assert!(ssh.channel_open_direct_streamlocal("/run/x").await.is_err());
    assert!(ssh.channel_open_x11("127.0.0.1", 1).await.is_err());
    assert!(ssh.tcpip_forward("127.0.0.1", 8080).await.is_err());
    // A flood of requests that bring no data does not stop the connection.
    let channel = ssh.channel_open_session().await.unwrap();
    for _ in 0..1000 {
        channel.window_change(1, 1, 1, 1).await.unwrap();
        channel.set_env(false, "A", "B").await.unwrap();
    }
    let mut sftp = Sftp::over(ssh).await;
    assert_eq!(sftp.stat("/").await.kind, 105);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_bounded() {
    let desk = desk();
    let ssh = desk.alice().await;
    let mut channels = Vec::new();
    for _ in 0..10 {
        channels.push(ssh.channel_open_session().await.unwrap());
    }
    assert!(ssh.channel_open_session().await.is_err());
    channels.pop().unwrap().close().await.unwrap();
    let mut reopened = 0;
    for _ in 0..1100 {
        if let Ok(channel) = ssh.channel_open_session().await {
            reopened += 1;
            channel.close().await.unwrap();
        }
    }
    assert!((900..1000).contains(&reopened), "{reopened}");
}

/// A client that writes 40,000 requests in one go and reads nothing until it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_before_it_reads_is_not_stuck() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    sftp.put("/f", &noise(1 << 20)).await;
    let handle = sftp.open("/f", READ).await.handle();
    let ask = Sftp::packet(5, 7, &Sftp::read_body(&handle, 0, 32_768));
    // The desk's pipe holds 256 KiB each way: far less than the window that the replies may fill.
    sftp.raw(&ask.repeat(40_000)).await;
    for _ in 0..1000 {
        assert_eq!(sftp.answer().await.data().len(), 32_768);
    }
}

use portreeve_session::{FsErrorKind, WriteMode};
use portreeve_vfs::{Call, Fault};
use tokio::io::AsyncWriteExt;

use crate::{
    CloseNotify::{self, Lenient, Require},
    data::{
        Broken, Progress, Text, receive,
        rig::{Files, PACE, bytes, drained, plain, tls},
    },
    tls::rig::{TLS12, TLS13},
};

const SIZES: [usize; 8] = [0, 1, 32767, 32768, 32769, 32768 + 262_144, 300_000, 1_500_007];

#[tokio::test]
async fn are_whole_and_the_client_has_our_farewell_before_the_commit() {
    let files = Files::new().await;
    for tls in [tls(TLS12), tls(TLS13)] {
        for (size, holds) in SIZES
            .into_iter()
            .flat_map(|size| [(size, 1 << 20), (size, 10_000)])
        {
            let content = bytes(size);
            let (near, mut far) = tls.pipe(holds).await;
            let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
            let received = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
            let client = async {
                far.write_all(&content).await.unwrap();
                far.shutdown().await.unwrap();
                drained(far).await
            };
            let (received, (came, end)) = tokio::join!(received, client);
            assert_eq!((received.unwrap(), progress.bytes()), (size as u64, size as u64));
            assert!(came.is_empty() && end.is_ok(), "close_notify");
            file.commit().await.unwrap();
            assert!(files.content().await == content, "{size}");
        }
    }
}

#[tokio::test]
async fn without_tls_end_with_the_connection() {
    let files = Files::new().await;
    for size in SIZES {
        let content = bytes(size);
        let (near, mut far) = plain(10_000).await;
        let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
        let received = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
        let client = async {
            far.write_all(&content).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let (received, ()) = tokio::join!(received, client);
        assert_eq!(received.unwrap(), size as u64);
        file.commit().await.unwrap();
        assert!(files.content().await == content);
    }
}

/// Sends `size` bytes and closes without close_notify; answers what came of it and what was kept.
async fn cut(size: usize, end: CloseNotify) -> (Result<u64, Broken>, u64) {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let (near, mut far) = tls.pipe(1 << 20).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let received = receive(near, &file, Some(0), Text::AsIs, &PACE, end, &progress);
    let client = async {
        far.write_all(&bytes(size)).await.unwrap();
        far.flush().await.unwrap();
        far.into_inner().0.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(received, client);
    let why = received.as_ref().err().map(Broken::error);
    let kept = file
        .keep(why.unwrap_or_else(|| FsErrorKind::Cancelled.into()))
        .await
        .unwrap();
    (received, kept)
}

#[tokio::test]
async fn without_a_farewell_are_cut_and_all_that_came_is_kept() {
    for size in [0, 1, 32768, 400_000] {
        let (received, kept) = cut(size, Require).await;
        assert!(matches!(received, Err(Broken::CutShort)), "{received:?}");
        assert_eq!(kept, size as u64);
        let (received, kept) = cut(size, Lenient).await;
        assert_eq!((received.unwrap(), kept), (size as u64, size as u64));
    }
}

#[tokio::test]
async fn that_break_within_a_record_are_broken_whatever_is_lenient() {
    for end in [Require, Lenient] {
        let (files, tls) = (Files::new().await, tls(TLS13));
        let (near, far) = tls.pipe(1 << 20).await;
        let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
        let received = receive(near, &file, Some(0), Text::AsIs, &PACE, end, &progress);
        let client = async {
            let mut raw = far.into_inner().0;
            let mut record = vec![0; 5 + 64];
            record[..5].copy_from_slice(&[23, 3, 3, 0, 64]);
            raw.write_all(&record).await.unwrap();
            raw
        };
        let (received, _raw) = tokio::join!(received, client);
        assert!(matches!(received, Err(Broken::Reset(_))), "{received:?}");
    }
}

#[tokio::test]
async fn resume_and_append_where_they_should() {
    let (files, tls, content) = (Files::new().await, tls(TLS13), bytes(600_000));
    for (mode, at, part) in [
        (WriteMode::Replace, Some(0), 0..100_000),
        (WriteMode::Append { create: false }, None, 100_000..600_000),
    ] {
        let (near, mut far) = tls.pipe(1 << 20).await;
        let (file, progress) = (files.upload(mode).await, Progress::default());
        let received = receive(near, &file, at, Text::AsIs, &PACE, Require, &progress);
        let client = async {
            far.write_all(&content[part.clone()]).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let (received, ()) = tokio::join!(received, client);
        assert_eq!(received.unwrap(), part.len() as u64);
        file.commit().await.unwrap();
    }
    assert!(files.content().await == content);
}

#[tokio::test]
async fn go_on_coming_while_the_storage_writes() {
    let (files, tls, content) = (Files::new().await, tls(TLS13), bytes(2_000_000));
    let hold = files.faulty.hold(Call::Write);
    let (near, mut far) = tls.pipe(1000).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let received = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
    let client = async {
        far.write_all(&content).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let storage = async {
        // 32 KiB, and 256 KiB at a time; before each write is let go, the next block is there.
        let mut expected = 32u64 << 10;
        for n in 1..=9 {
            expected = (expected + (256 << 10)).min(2_000_000);
            while hold.arrived() < n || progress.bytes() < expected {
                tokio::task::yield_now().await;
            }
            assert_eq!(
                (hold.arrived(), progress.bytes()),
                (n, expected),
                "no more than two blocks are held"
            );
            hold.let_go(1);
        }
    };
    let (received, (), ()) = tokio::join!(received, client, storage);
    assert_eq!(received.unwrap(), 2_000_000);
    file.commit().await.unwrap();
    assert!(files.content().await == content);
}

#[tokio::test]
async fn end_at_once_when_the_storage_refuses() {
    for nth in 1..=3 {
        let (files, tls) = (Files::new().await, tls(TLS13));
        let (near, mut far) = tls.pipe(1000).await;
        let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
        files.faulty.set(Fault {
            call: Some(Call::Write),
            nth,
            times: 1,
            error: FsErrorKind::NoSpace.into(),
        });
        let received = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
        // The client would go on for ever.
        let client = async { while far.write_all(&bytes(100_000)).await.is_ok() {} };
        let (received, ()) = tokio::join!(received, client);
        let Err(Broken::Storage(error)) = received else {
            panic!("{received:?}");
        };
        assert_eq!(error.kind(), FsErrorKind::NoSpace);
    }
}

/// curl sends on to the end and only then listens: what it sends must not be answered by a reset.
#[tokio::test]
async fn that_a_storage_refuses_are_taken_in_to_their_end() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let (near, mut far) = tls.pipe(64 << 10).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    files.faulty.set(Fault {
        call: Some(Call::Write),
        nth: 1,
        times: 1,
        error: FsErrorKind::NoSpace.into(),
    });
    let received = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
    let client = async {
        far.write_all(&bytes(5_000_000)).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(received, client);
    assert!(matches!(received, Err(Broken::Storage(_))));
}

#[tokio::test]
async fn of_texts_have_their_line_ends_changed() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let text = "one\r\ntwo\n\r\nfour\r".repeat(40_000);
    let (near, mut far) = tls.pipe(777).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let received = receive(near, &file, Some(0), Text::Convert, &PACE, Require, &progress);
    let client = async {
        far.write_all(text.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(received, client);
    file.commit().await.unwrap();
    let expected = text.replace("\r\n", "\n");
    assert!(files.content().await == expected.as_bytes());
    assert_eq!(
        (received.unwrap(), progress.bytes()),
        (expected.len() as u64, text.len() as u64)
    );
}

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use portreeve_session::FsErrorKind;
use portreeve_vfs::{Call, Fault};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};

use crate::{
    data::{
        Broken, Progress, Sheet, Text,
        rig::{Files, PACE, bytes, drained, plain, tls},
        send,
    },
    tls::rig::{TLS12, TLS13},
};

const SIZES: [usize; 9] = [0, 1, 16384, 65535, 65536, 65537, 262_144, 262_145, 1_500_007];

#[tokio::test]
async fn arrive_whole_with_their_end() {
    let files = Files::new().await;
    for tls in [tls(TLS12), tls(TLS13)] {
        for (size, holds) in SIZES
            .into_iter()
            .flat_map(|size| [(size, 1 << 20), (size, 10_000)])
        {
            let content = bytes(size);
            let (near, far) = tls.pipe(holds).await;
            let (file, progress) = (files.download(&content).await, Progress::default());
            let sent = send(near, &file, 0, Text::AsIs, &PACE, &progress);
            let (sent, (came, end)) = tokio::join!(sent, drained(far));
            assert!(came == content, "{size}");
            assert_eq!((sent.unwrap(), progress.bytes()), (size as u64, size as u64));
            end.unwrap();
        }
    }
    for size in SIZES {
        let content = bytes(size);
        let (near, far) = plain(10_000).await;
        let file = files.download(&content).await;
        let progress = Progress::default();
        let sent = send(near, &file, 0, Text::AsIs, &PACE, &progress);
        let (sent, (came, end)) = tokio::join!(sent, drained(far));
        assert!(came == content && end.is_ok(), "{size}");
        assert_eq!(sent.unwrap(), size as u64);
    }
}

#[tokio::test]
async fn begin_where_they_are_asked_to() {
    let (files, tls, content) = (Files::new().await, tls(TLS13), bytes(700_000));
    for at in [0, 1, 262_144, 699_999, 700_000, 700_001] {
        let (near, far) = tls.pipe(1 << 20).await;
        let (file, progress) = (files.download(&content).await, Progress::default());
        let sent = send(near, &file, at as u64, Text::AsIs, &PACE, &progress);
        let (sent, (came, _)) = tokio::join!(sent, drained(far));
        let rest = content.get(at..).unwrap_or_default();
        assert!(came == rest, "{at}");
        assert_eq!(sent.unwrap(), rest.len() as u64);
    }
}

#[tokio::test]
async fn are_read_ahead_where_the_storage_takes_its_time() {
    let (files, tls, content) = (Files::new().await, tls(TLS13), bytes(2_000_000));
    let file = files.download(&content).await;
    let hold = files.faulty.hold(Call::Read);
    let (near, far) = tls.pipe(1000).await;
    let progress = Progress::default();
    let sent = send(near, &file, 0, Text::AsIs, &PACE, &progress);
    let storage = async {
        // One call at a time comes, and never more.
        for n in 1..=8 {
            while hold.arrived() < n {
                tokio::task::yield_now().await;
            }
            assert_eq!(hold.arrived(), n);
            hold.let_go(1);
        }
    };
    let (sent, (came, end), ()) = tokio::join!(sent, drained(far), storage);
    assert!(came == content && end.is_ok());
    assert_eq!(sent.unwrap(), 2_000_000);
}

#[tokio::test]
async fn that_fail_are_no_whole_files_to_the_client() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let file = files.download(&bytes(1_000_000)).await;
    files.faulty.set(Fault {
        call: Some(Call::Read),
        nth: 3,
        times: 1,
        error: FsErrorKind::Backend.into(),
    });
    let (near, far) = tls.pipe(1 << 20).await;
    let progress = Progress::default();
    let sent = send(near, &file, 0, Text::AsIs, &PACE, &progress);
    let (sent, (came, end)) = tokio::join!(sent, drained(far));
    let Err(Broken::Storage(error)) = sent else {
        panic!("{sent:?}");
    };
    assert_eq!(error.kind(), FsErrorKind::Backend);
    assert_eq!((came.len(), progress.bytes()), (2 << 18, 2 << 18));
    assert_eq!(
        end.unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof,
        "no close_notify"
    );
}

#[tokio::test]
async fn end_with_the_client() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let file = files.download(&bytes(1_000_000)).await;
    let (near, far) = tls.pipe(1000).await;
    drop(far);
    let sent = send(near, &file, 0, Text::AsIs, &PACE, &Progress::default()).await;
    assert!(matches!(sent, Err(Broken::Reset(_))), "{sent:?}");
}

#[tokio::test]
async fn of_texts_have_their_line_ends_changed() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let text = "one\ntwo\r\n\nfour".repeat(40_000);
    let file = files.download(text.as_bytes()).await;
    let (near, far) = tls.pipe(1 << 20).await;
    let progress = Progress::default();
    let sent = send(near, &file, 0, Text::Convert, &PACE, &progress);
    let (sent, (came, _)) = tokio::join!(sent, drained(far));
    let expected = "one\r\ntwo\r\n\r\nfour".repeat(40_000);
    assert!(came == expected.as_bytes());
    assert_eq!(
        (sent.unwrap(), progress.bytes()),
        (expected.len() as u64, expected.len() as u64)
    );
}

/// What a client read, before TLS.
struct Tap<S> {
    wire: S,
    seen: Arc<Mutex<Vec<u8>>>,
    most: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // As little as the test says: then the server's writes are cut anywhere.
        let room = buf.remaining().min(self.most.load(Ordering::SeqCst));
        let mut part = buf.take(room);
        let done = Pin::new(&mut self.wire).poll_read(cx, &mut part);
        let came = part.filled().to_vec();
        self.seen.lock().extend_from_slice(&came);
        buf.put_slice(&came);
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

/// The lengths of TLS records of application data.
fn records(mut seen: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = seen {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 23 {
            lengths.push(length);
        }
        seen = rest.get(length..).unwrap();
    }
    lengths
}

#[tokio::test]
async fn go_in_full_records_however_slowly_the_client_reads() {
    let (files, tls, content) = (Files::new().await, tls(TLS12), bytes(1 << 20));
    for (holds, most) in [(1 << 20, 1 << 20), (30_000, 7_001), (1_000, 333)] {
        let (near, far) = duplex(holds);
        let (seen, most) = (Arc::default(), Arc::new(AtomicUsize::new(most)));
        let far = Tap {
            wire: far,
            seen: Arc::<Mutex<Vec<u8>>>::clone(&seen),
            most,
        };
        let (near, far) = tls.join(near, far).await;
        let (file, progress) = (files.download(&content).await, Progress::default());
        let sent = send(near, &file, 0, Text::AsIs, &PACE, &progress);
        let (sent, (came, _)) = tokio::join!(sent, drained(far));
        assert!(came == content && sent.is_ok());
        let lengths = records(&seen.lock());
        // 16 KiB, and 24 bytes of AES-GCM in TLS 1.2.
        assert_eq!(lengths, vec![16384 + 24; 64], "{holds}");
    }
}

#[tokio::test]
async fn of_listings_go_from_one_buffer() {
    let tls = tls(TLS13);
    for lines in [0, 1, 100_000] {
        let (near, far) = tls.pipe(1 << 20).await;
        let progress = Progress::default();
        let list = async {
            let mut sheet = Sheet::new(near, &PACE, &progress);
            for n in 0..lines {
                sheet
                    .room()
                    .extend_from_slice(format!("line {n:06}\r\n").as_bytes());
                sheet.flush_if_full().await?;
                assert!(sheet.room().capacity() <= 256 << 10);
            }
            sheet.finish().await
        };
        let (listed, (came, end)) = tokio::join!(list, drained(far));
        let expected: String = (0..lines).map(|n| format!("line {n:06}\r\n")).collect();
        assert!(came == expected.as_bytes() && end.is_ok());
        assert_eq!(
            (listed.unwrap(), progress.bytes()),
            (came.len() as u64, came.len() as u64)
        );
    }
}

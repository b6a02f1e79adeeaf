//! The spool over a memory that knows sequences only.

use super::*;
use crate::{Call, Fault, Faulty, Memory, testing::*};

struct Bench {
    _dir: tempfile::TempDir,
    memory: Memory,
    below: Arc<Faulty>,
    area: Arc<SpoolArea>,
    fs: Spool,
}

fn bench(total: u64, file: u64) -> Bench {
    let memory = Memory::with(Capabilities {
        ranges: Ranges::Sequential,
        write: WriteAccess::Sequential,
        ..Capabilities::full()
    });
    memory.plant(&path("/file"), b"0123456789").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let below = Arc::new(Faulty::over(Arc::new(memory.clone())));
    let area = Arc::new(SpoolArea::new(dir.path().into(), total, file));
    let fs = Spool::over(below.clone(), area.clone());
    Bench {
        _dir: dir,
        memory,
        below,
        area,
        fs,
    }
}

async fn open(bench: &Bench, name: &str, mode: WriteMode) -> FsResult<Arc<dyn WriteFile>> {
    bench
        .fs
        .open_write(&cx("alice"), &path(name), OpenWrite::new(mode))
        .await
}

fn piece(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

#[tokio::test]
async fn says_what_limit_was_hit_and_gives_everything_back() {
    let bench = bench(30, 20);
    let first = open(&bench, "/first", WriteMode::Replace).await.unwrap();
    let end = first.write(15, piece("0123456789")).await.unwrap_err();
    assert_eq!(end.kind(), FsErrorKind::TooLarge);
    assert!(end.message().contains("at most 20 bytes"), "{end}");
    first.write(0, piece("01234567890123456789")).await.unwrap();
    let second = open(&bench, "/second", WriteMode::Replace).await.unwrap();
    let end = second.write(0, piece("01234567890")).await.unwrap_err();
    assert_eq!(end.kind(), FsErrorKind::NoSpace);
    assert!(end.message().contains("spool"), "{end}");
    assert_eq!(bench.area.used(), 20);
    first
        .set_attrs(Attrs {
            size: Some(1),
            ..Attrs::default()
        })
        .await
        .unwrap();
    assert_eq!(bench.area.used(), 1);
    second.write(0, piece("01234567890")).await.unwrap();
    second.commit().await.unwrap();
    first.discard().await.unwrap();
    drop((first, second));
    assert_eq!(bench.area.used(), 0);
    assert_eq!(get(&bench.memory, "/second").await.unwrap(), b"01234567890");
}

#[tokio::test]
async fn refuses_early_what_is_announced_too_large() {
    let bench = bench(30, 5);
    let how = OpenWrite {
        size_hint: Some(6),
        ..OpenWrite::new(WriteMode::Replace)
    };
    let end = bench.fs.open_write(&cx("a"), &path("/new"), how).await.map(drop);
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::TooLarge);
    let end = bench.fs.open_read(&cx("a"), &path("/file")).await.map(drop);
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::TooLarge);
    let end = open(&bench, "/file", WriteMode::Append { create: false })
        .await
        .map(drop);
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::TooLarge);
    assert_eq!(bench.area.used(), 0);
}

#[tokio::test]
async fn a_storage_that_fails_halfway_shows_nothing() {
    let bench = bench(1 << 20, 1 << 20);
    let file = open(&bench, "/file", WriteMode::Replace).await.unwrap();
    file.write(0, vec![Bytes::from(vec![1; 600_000])]).await.unwrap();
    bench.below.set(Fault {
        call: Some(Call::Write),
        nth: 2,
        times: 1,
        error: FsErrorKind::Backend.into(),
    });
    assert_eq!(file.commit().await.unwrap_err().kind(), FsErrorKind::Backend);
    assert_eq!(get(&bench.memory, "/file").await.unwrap(), b"0123456789");
    // How much the storage took is unknown: a second commit must not add to it.
    assert_eq!(file.commit().await.unwrap_err().kind(), FsErrorKind::Conflict);
    file.discard().await.unwrap();
    assert_eq!(get(&bench.memory, "/file").await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_commit_that_failed_can_be_tried_again_and_is_handed_over_once() {
    let bench = bench(100, 100);
    let file = open(&bench, "/new", WriteMode::Replace).await.unwrap();
    file.write(3, piece("x")).await.unwrap();
    bench.below.set(Fault {
        call: Some(Call::Commit),
        nth: 1,
        times: 1,
        error: FsErrorKind::TimedOut.into(),
    });
    assert_eq!(file.commit().await.unwrap_err().kind(), FsErrorKind::TimedOut);
    assert_eq!(
        file.write(0, piece("late")).await.unwrap_err().kind(),
        FsErrorKind::Conflict
    );
    file.commit().await.unwrap();
    assert_eq!(get(&bench.memory, "/new").await.unwrap(), b"\0\0\0x");
}

#[tokio::test]
async fn every_byte_is_fetched_once_and_in_order() {
    let bench = bench(10 << 20, 10 << 20);
    let content: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 253) as u8).collect();
    bench.memory.plant(&path("/large"), &content).unwrap();
    let file = bench.fs.open_read(&cx("a"), &path("/large")).await.unwrap();
    let reads = (0..20_usize)
        .rev()
        .map(|i| file.read(i as u64 * 100_000, 100_000, Vec::new()));
    let mut pieces = futures::future::try_join_all(reads).await.unwrap();
    pieces.reverse();
    assert_eq!(pieces.concat(), content);
    let calls = bench.below.calls();
    file.read(0, 2_000_000, Vec::new()).await.unwrap();
    assert_eq!(bench.below.calls(), calls);
    drop(file);
    assert_eq!(bench.area.used(), 0);
}

#[tokio::test]
async fn a_fetch_that_failed_goes_on_where_it_was() {
    let bench = bench(100, 100);
    let file = bench.fs.open_read(&cx("a"), &path("/file")).await.unwrap();
    bench.below.fail_nth(1, FsErrorKind::Throttled);
    assert_eq!(
        file.read(5, 2, Vec::new()).await.unwrap_err().kind(),
        FsErrorKind::Throttled
    );
    assert_eq!(file.read(5, 2, Vec::new()).await.unwrap(), b"56");
    assert_eq!(file.read(0, 100, Vec::new()).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_costs_nothing() {
    let bench = bench(100, 100);
    let file = bench.fs.open_read(&cx("alice"), &path("/file")).await.unwrap();
    for at in [0, 5] {
        // The storage has moved on by then: it cannot be asked for the same bytes again.
        let given_up = futures::future::poll_immediate(file.read(at, 4, Vec::new())).await;
        assert!(given_up.is_none() || at > 0);
    }
    assert_eq!(file.read(2, 100, Vec::new()).await.unwrap(), b"23456789");
    drop(file);
    assert_eq!(bench.area.used(), 0);
}

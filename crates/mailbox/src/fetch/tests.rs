use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_vfs::{FsErrorKind, FsResult, SpoolArea};
use tokio::sync::Semaphore;

use super::*;
use crate::Content;

const KEEP: Duration = Duration::from_secs(60);

/// One stream of a store: from where, what it promises, what it brings, and whether it then breaks.
#[derive(Clone)]
struct Plan {
    goes_on: bool,
    length: Option<u64>,
    content: Vec<u8>,
    breaks_at: Option<usize>,
}

impl Plan {
    fn whole(content: &[u8]) -> Self {
        Self {
            goes_on: false,
            length: Some(content.len() as u64),
            content: content.to_vec(),
            breaks_at: None,
        }
    }

    fn breaks(mut self, at: usize) -> Self {
        self.breaks_at = Some(at);
        self
    }
}

/// A store that hands out one planned stream after the other, the last one again and again.
struct Store {
    plans: VecDeque<Plan>,
    opened: Arc<AtomicU32>,
    brought: Arc<AtomicU32>,
    /// A permit for each piece.
    pace: Option<Arc<Semaphore>>,
}

struct Stream {
    plan: Plan,
    at: usize,
    brought: Arc<AtomicU32>,
    pace: Option<Arc<Semaphore>>,
}

#[async_trait]
impl Source for Store {
    async fn open(&mut self, from: u64) -> FsResult<Opened> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let plan = if self.plans.len() > 1 {
            self.plans.pop_front().unwrap()
        } else {
            self.plans[0].clone()
        };
        let at = if plan.goes_on { from } else { 0 };
        Ok(Opened {
            at,
            length: plan.length,
            pieces: Box::new(Stream {
                at: at as usize,
                plan,
                brought: Arc::clone(&self.brought),
                pace: self.pace.clone(),
            }),
        })
    }
}

const PIECE: usize = 10_000;

#[async_trait]
impl Pieces for Stream {
    async fn next(&mut self) -> FsResult<Option<Bytes>> {
        if let Some(pace) = &self.pace {
            pace.acquire().await.unwrap().forget();
        }
        let end = self.plan.breaks_at.unwrap_or(self.plan.content.len());
        if self.at >= end {
            return match self.plan.breaks_at {
                Some(_) => Err(FsErrorKind::Backend.into()),
                None => Ok(None),
            };
        }
        let stop = (self.at + PIECE).min(end);
        let piece = Bytes::copy_from_slice(&self.plan.content[self.at..stop]);
        self.at = stop;
        self.brought.fetch_add(1, Ordering::SeqCst);
        Ok(Some(piece))
    }
}

struct Rig {
    _dir: tempfile::TempDir,
    area: Arc<SpoolArea>,
    fetches: Arc<Fetches>,
    opened: Arc<AtomicU32>,
    brought: Arc<AtomicU32>,
    pace: Option<Arc<Semaphore>>,
}

impl Rig {
    fn new(total: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let area = Arc::new(SpoolArea::new(dir.path().to_owned(), total, total));
        Self {
            _dir: dir,
            fetches: Arc::new(Fetches::new(Arc::clone(&area))),
            area,
            opened: Arc::default(),
            brought: Arc::default(),
            pace: None,
        }
    }

    async fn open(&self, key: &str, plans: &[Plan]) -> FsResult<Arc<dyn Content>> {
        let store = Store {
            plans: plans.iter().cloned().collect(),
            opened: Arc::clone(&self.opened),
            brought: Arc::clone(&self.brought),
            pace: self.pace.clone(),
        };
        self.fetches.open(key, KEEP, Box::new(store)).await
    }

    fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7 + n * 31) as u8).collect()
}

async fn all(content: &dyn Content) -> FsResult<Vec<u8>> {
    let mut out = Vec::new();
    while (out.len() as u64) < content.size() {
        let at = out.len() as u64;
        out = content.read(at, 64 << 10, out).await?;
    }
    Ok(out)
}

#[tokio::test(start_paused = true)]
async fn brings_parts_of_every_size_whole() {
    for len in [0, 1, PIECE, SMALL as usize, SMALL as usize + 1, 1_000_000] {
        for length in [Some(len as u64), None] {
            let rig = Rig::new(10 << 20);
            let mut plan = Plan::whole(&bytes(len));
            plan.length = length;
            let content = rig.open("a", &[plan]).await.unwrap();
            assert_eq!(content.size(), len as u64);
            assert!(all(&*content).await.unwrap() == bytes(len), "{len} {length:?}");
            // In any order, and beyond the end.
            let tail = content.read(len as u64 / 2, len, Vec::new()).await.unwrap();
            assert!(tail == bytes(len)[len / 2..]);
            assert!(content.read(len as u64, 9, Vec::new()).await.unwrap().is_empty());
            assert_eq!(rig.area.used() > 0, len as u64 > SMALL);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn goes_on_over_broken_streams() {
    let want = bytes(900_000);
    let whole = Plan::whole(&want);
    for goes_on in [false, true] {
        let mut last = whole.clone();
        last.goes_on = goes_on;
        let mut short = last.clone();
        short.content.truncate(777_777);
        let rig = Rig::new(10 << 20);
        let plans = [
            whole.clone().breaks(300_001),
            last.clone().breaks(300_001),
            short,
            last,
        ];
        let content = rig.open("a", &plans).await.unwrap();
        assert!(all(&*content).await.unwrap() == want, "{goes_on}");
        assert_eq!(rig.opened(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn never_passes_on_what_is_torn() {
    let want = bytes(900_000);
    let whole = Plan::whole(&want);
    let mut short = whole.clone();
    short.content.truncate(899_999);
    let mut long = whole.clone();
    long.content.push(0);
    let mut changed = whole.clone();
    changed.content[299_999] ^= 1;
    let mut other_length = Plan::whole(&bytes(900_001));
    other_length.goes_on = true;
    let cut = whole.clone().breaks(300_000);
    for (case, plans) in [
        ("short", vec![short.clone()]),
        ("long", vec![long]),
        ("broken again and again", vec![cut.clone()]),
        ("changed", vec![cut.clone(), changed]),
        ("another length", vec![cut, other_length]),
    ] {
        let rig = Rig::new(10 << 20);
        let content = rig.open("a", &plans).await.unwrap();
        let error = all(&*content).await.unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::Backend, "{case}");
        assert!(rig.opened() <= 8, "{case}: {}", rig.opened());
        // It is not kept: the next reader asks anew.
        let before = rig.opened();
        let again = rig.open("a", std::slice::from_ref(&whole)).await.unwrap();
        assert!(all(&*again).await.unwrap() == want, "{case}");
        assert_eq!(rig.opened(), before + 1);
    }
    // Small ones fail at once.
    let mut small = Plan::whole(b"hello");
    small.content.pop();
    let rig = Rig::new(10 << 20);
    assert_eq!(
        rig.open("a", &[small]).await.err().map(|error| error.kind()),
        Some(FsErrorKind::Backend)
    );
    assert_eq!(rig.fetches.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_given_when_the_stream_has_ended() {
    let mut rig = Rig::new(10 << 20);
    let pace = Arc::new(Semaphore::new(0));
    rig.pace = Some(Arc::clone(&pace));
    let mut long = Plan::whole(&bytes(300_000));
    long.content.push(0);
    let content = rig.open("a", &[long]).await.unwrap();
    // Every promised byte has come, and the stream has not ended.
    pace.add_permits(30);
    let middle = content.read(0, 299_999, Vec::new()).await.unwrap();
    assert!(middle == bytes(299_999));
    let last = content.read(299_999, 1, Vec::new());
    let waits = tokio::time::timeout(Duration::from_secs(60), last).await;
    assert!(waits.is_err(), "the last byte was given before the end");
    pace.add_permits(1);
    assert!(content.read(299_999, 1, Vec::new()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn readers_share_one_fetch_that_is_kept_and_let_go() {
    let rig = Rig::new(10 << 20);
    let plan = [Plan::whole(&bytes(500_000))];
    let small = [Plan::whole(&bytes(500))];
    let opens = futures::future::join_all((0..20).map(|_| rig.open("a", &plan))).await;
    let readers: Vec<_> = opens.into_iter().map(Result::unwrap).collect();
    let read = futures::future::join_all(readers.iter().map(|reader| all(&**reader))).await;
    assert!(read.into_iter().all(|read| read.unwrap() == bytes(500_000)));
    rig.open("b", &small).await.unwrap();
    assert_eq!((rig.opened(), rig.area.used()), (2, 500_000));
    drop(readers);
    tokio::time::sleep(KEEP / 2).await;
    rig.open("a", &plan).await.unwrap();
    rig.open("b", &small).await.unwrap();
    assert_eq!(rig.opened(), 2, "what is kept serves");
    tokio::time::sleep(KEEP + Duration::from_secs(10)).await;
    assert_eq!((rig.fetches.len(), rig.area.used()), (0, 0));
    rig.open("a", &plan).await.unwrap();
    assert_eq!(rig.opened(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_with_its_last_reader() {
    let mut rig = Rig::new(10 << 20);
    let pace = Arc::new(Semaphore::new(3));
    rig.pace = Some(Arc::clone(&pace));
    let plan = [Plan::whole(&bytes(500_000))];
    let (one, other) = (
        rig.open("a", &plan).await.unwrap(),
        rig.open("a", &plan).await.unwrap(),
    );
    drop(one);
    assert!(other.read(0, 100, Vec::new()).await.unwrap() == bytes(100));
    drop(other);
    pace.add_permits(1000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(rig.brought.load(Ordering::SeqCst) <= 4);
    assert_eq!((rig.fetches.len(), rig.area.used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_makes_room_and_what_is_read_does_not() {
    let rig = Rig::new(1_000_000);
    let plan = |len: usize| [Plan::whole(&bytes(len))];
    for key in ["a", "b"] {
        let content = rig.open(key, &plan(400_000)).await.unwrap();
        all(&*content).await.unwrap();
        drop(content);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let held = rig.open("b", &plan(400_000)).await.unwrap();
    let content = rig.open("c", &plan(600_000)).await.unwrap();
    assert!(all(&*content).await.unwrap() == bytes(600_000));
    assert_eq!(rig.opened(), 3);
    assert_eq!(
        rig.open("d", &plan(300_000))
            .await
            .err()
            .map(|error| error.kind()),
        Some(FsErrorKind::NoSpace)
    );
    assert!(all(&*held).await.unwrap() == bytes(400_000));
    assert_eq!(
        rig.open("e", &plan(1_000_001))
            .await
            .err()
            .map(|error| error.kind()),
        Some(FsErrorKind::TooLarge)
    );
}

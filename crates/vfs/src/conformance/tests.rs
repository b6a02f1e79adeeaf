//! The conformance suite over the reference backend and over every layer.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::VPath;

use super::{Fixture, Stage};
use crate::{
    Cache, CacheLimits, Capabilities, Checked, FileSystem, Memory, Mounts, Names, Patience, PatienceLimits,
    Ranges, Spool, SpoolArea, Subtree, WriteAccess,
};

/// How a storage is built for one case.
struct Built {
    fs: Arc<dyn FileSystem>,
    memory: Memory,
    wrap: fn(Memory) -> Arc<dyn FileSystem>,
    base: VPath,
    sample: Option<(VPath, Vec<u8>)>,
}

#[async_trait]
impl Stage for Built {
    fn fs(&self) -> Arc<dyn FileSystem> {
        self.fs.clone()
    }

    fn base(&self) -> VPath {
        self.base.clone()
    }

    fn sample(&self) -> Option<(VPath, Vec<u8>)> {
        self.sample.clone()
    }

    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        Some((self.wrap)(self.memory.clone()))
    }
}

struct Over {
    caps: Capabilities,
    wrap: fn(Memory) -> Arc<dyn FileSystem>,
    base: &'static str,
    sample: bool,
}

#[async_trait]
impl Fixture for Over {
    async fn stage(&self) -> Box<dyn Stage> {
        let memory = Memory::with(self.caps.clone());
        let sample = self.sample.then(|| {
            let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
            (VPath::parse("/folder/sample.bin").unwrap(), content)
        });
        if let Some((path, content)) = &sample {
            memory.plant(path, content).unwrap();
        }
        Box::new(Built {
            fs: (self.wrap)(memory.clone()),
            memory,
            wrap: self.wrap,
            base: VPath::parse(self.base).unwrap(),
            sample,
        })
    }
}

fn full() -> Capabilities {
    Memory::new().capabilities().clone()
}

/// Runs the suite; `skips` is how many cases the capabilities rule out, so that none goes silently.
async fn check(over: Over, skips: usize) {
    let report = super::run(&over).await.unwrap();
    assert_eq!(report.skipped.len(), skips, "{:?}", report.skipped);
}

/// Over a storage that can do everything: only the refusals of what is missing are ruled out.
async fn check_full(wrap: fn(Memory) -> Arc<dyn FileSystem>) {
    let over = Over {
        caps: full(),
        wrap,
        base: "/",
        sample: false,
    };
    check(over, 1).await;
}

#[tokio::test]
async fn memory() {
    let over = Over {
        caps: full(),
        wrap: |memory| Arc::new(memory),
        base: "/",
        sample: false,
    };
    check(over, 1).await;
}

/// Runs the suite with one ability off after the other.
async fn check_switches(wrap: fn(Memory) -> Arc<dyn FileSystem>) {
    let switches: [fn(&mut Capabilities); 20] = [
        |c| c.names = Names::Utf8,
        |c| c.ranges = Ranges::Sequential,
        |c| c.write = WriteAccess::Sequential,
        |c| c.update = false,
        |c| c.append = false,
        |c| c.resume = false,
        |c| c.list_partials = false,
        |c| c.replace = false,
        |c| c.remove = false,
        |c| c.directories = false,
        |c| c.rename = false,
        |c| (c.rename, c.moves) = (false, false),
        |c| c.rename_dir = false,
        |c| c.set_times = false,
        |c| c.set_mode = false,
        |c| c.copy = false,
        |c| c.symlinks = false,
        |c| c.hard_links = false,
        |c| c.space = false,
        |c| c.max_name = 100,
    ];
    for (i, switch) in switches.iter().enumerate() {
        let mut caps = full();
        switch(&mut caps);
        let over = Over {
            caps,
            wrap,
            base: "/",
            sample: false,
        };
        if let Err(failures) = super::run(&over).await {
            panic!("switch {i}: {failures}");
        }
    }
}

#[tokio::test]
async fn memory_with_every_ability_off_in_turn() {
    check_switches(|memory| Arc::new(memory)).await;
}

#[tokio::test]
async fn checked() {
    let wrap = |memory| Arc::new(Checked::over(Arc::new(memory))) as Arc<dyn FileSystem>;
    check_full(wrap).await;
    check_switches(wrap).await;
}

#[tokio::test]
async fn cache() {
    let wrap = |memory| {
        let cache = Cache::over(Arc::new(memory), CacheLimits::default());
        Arc::new(cache) as Arc<dyn FileSystem>
    };
    check_full(wrap).await;
}

#[tokio::test]
async fn read_only_memory() {
    let over = Over {
        caps: Capabilities::read_only(),
        wrap: |memory| Arc::new(memory),
        base: "/folder",
        sample: true,
    };
    let report = super::run(&over).await.unwrap();
    for case in [
        "reading::sample",
        "reading::parallel",
        "refusals::read_only",
        "listing::wrong_kinds",
    ] {
        assert!(report.passed.contains(&case), "{case}");
    }
}

/// Mounts one storage at `at` among two others.
fn mounted(memory: Memory, at: &str) -> Arc<dyn FileSystem> {
    let other = || Arc::new(Memory::new()) as Arc<dyn FileSystem>;
    let paths = [at, "/a-neighbour", "/above/deep"].map(|raw| VPath::parse(raw).unwrap());
    Arc::new(Mounts::new(paths.into_iter().zip([Arc::new(memory), other(), other()])).unwrap())
}

#[tokio::test]
async fn mounts_with_the_storage_at_the_root() {
    let wrap = |memory| mounted(memory, "/");
    check_full(wrap).await;
}

#[tokio::test]
async fn mounts_with_the_storage_below_another_mount() {
    let wrap = |memory| mounted(memory, "/above/deep/er");
    check(
        Over {
            caps: full(),
            wrap,
            base: "/above/deep/er",
            sample: false,
        },
        1,
    )
    .await;
}

#[tokio::test]
async fn subtree() {
    let wrap = |memory: Memory| {
        let base = VPath::parse("/home/alice").unwrap();
        if let Err(e) = memory.plant(&base.resolve("x").unwrap(), b"") {
            assert_eq!(e.kind(), crate::FsErrorKind::Exists);
        }
        Arc::new(Subtree::new(Arc::new(memory), base)) as Arc<dyn FileSystem>
    };
    check_full(wrap).await;
}

#[tokio::test]
async fn patience() {
    let wrap = |memory| {
        let patience = Patience::over(Arc::new(memory), PatienceLimits::default());
        Arc::new(patience) as Arc<dyn FileSystem>
    };
    check_full(wrap).await;
}

/// A spool over a storage that reads and writes only from the start to the end; resuming, and being
/// read-only, are all that is missing then.
#[tokio::test]
async fn spool() {
    let caps = Capabilities {
        ranges: Ranges::Sequential,
        write: WriteAccess::Sequential,
        update: false,
        append: false,
        resume: false,
        ..full()
    };
    let wrap = |memory| {
        let area = SpoolArea::new(std::env::temp_dir(), 64 << 20, 16 << 20);
        Arc::new(Spool::over(
            Arc::new(Checked::over(Arc::new(memory))),
            Arc::new(area),
        )) as Arc<dyn FileSystem>
    };
    check(
        Over {
            caps,
            wrap,
            base: "/",
            sample: false,
        },
        18,
    )
    .await;
}

/// All layers at once, in the order of the documentation; no storage of today needs all of them.
#[tokio::test]
async fn the_whole_stack() {
    let wrap = |memory: Memory| {
        let patience = Patience::over(Arc::new(memory), PatienceLimits::default());
        let area = SpoolArea::new(std::env::temp_dir(), 64 << 20, 16 << 20);
        let spool = Spool::over(Arc::new(patience), Arc::new(area));
        let cache = Cache::over(Arc::new(spool), CacheLimits::default());
        let checked = Checked::over(Arc::new(cache));
        let other = Arc::new(Memory::new()) as Arc<dyn FileSystem>;
        let root = (VPath::root(), Arc::new(checked) as Arc<dyn FileSystem>);
        let mounts = Mounts::new([root, (VPath::parse("/a-neighbour").unwrap(), other)]);
        Arc::new(mounts.unwrap()) as Arc<dyn FileSystem>
    };
    check_full(wrap).await;
}

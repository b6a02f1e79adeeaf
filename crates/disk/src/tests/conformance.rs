//! The suite of the contract, on every kind of disk that this machine offers.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use portreeve_vfs::{
    FileSystem,
    conformance::{self, Fixture, Stage},
};
use tempfile::TempDir;

use crate::{Disk, Options};

struct On<'a> {
    parent: &'a Path,
    change: fn(&mut Options),
    disk: fn(&Options) -> Disk,
}

struct Root {
    _dir: TempDir,
    options: Options,
    open: fn(&Options) -> Disk,
    disk: Arc<Disk>,
}

#[async_trait]
impl Fixture for On<'_> {
    async fn stage(&self) -> Box<dyn Stage> {
        let dir = TempDir::new_in(self.parent).unwrap();
        let mut options = Options::new(dir.path());
        options.hard_links = true;
        (self.change)(&mut options);
        let disk = Arc::new((self.disk)(&options));
        Box::new(Root {
            _dir: dir,
            options,
            open: self.disk,
            disk,
        })
    }
}

#[async_trait]
impl Stage for Root {
    fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.disk) as _
    }

    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        Some(Arc::new((self.open)(&self.options)))
    }
}

async fn passes(parent: &Path, change: fn(&mut Options), disk: fn(&Options) -> Disk) {
    let report = conformance::run(&On { parent, change, disk }).await.unwrap();
    // A full backend: only refusals of abilities that are missing have nothing to test.
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .filter(|skip| !format!("{skip:?}").contains("refusals"))
        .collect();
    assert!(skipped.is_empty(), "{skipped:?}");
}

fn plain(options: &Options) -> Disk {
    Disk::open(options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk() {
    passes(&std::env::temp_dir(), |_| (), plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    passes(Path::new("/dev/shm"), |_| (), plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_hops() {
    passes(
        &std::env::temp_dir(),
        |_| (),
        |options| plain(options).as_if_remote(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_openat2() {
    passes(
        &std::env::temp_dir(),
        |_| (),
        |options| plain(options).as_if_without_openat2(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_extended_attributes() {
    let on = On {
        parent: &std::env::temp_dir(),
        change: |_| (),
        disk: |options| plain(options).as_if_without_attributes(),
    };
    let partials = |case: &str| case.starts_with("partials::");
    let report = conformance::run_where(&on, partials).await.unwrap();
    assert_eq!(report.skipped.len(), 1, "{:?}", report.skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fsync_and_without_links() {
    let change = |options: &mut Options| {
        options.fsync = false;
        options.symlinks = crate::Symlinks::Refuse;
    };
    passes(&std::env::temp_dir(), change, plain).await;
}

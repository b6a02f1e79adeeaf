//! Directories of 100,000 entries, in bounded memory.

use std::{collections::BTreeSet, fs};

use portreeve_vfs::{Cursor, FileSystem, FsErrorKind};
use tempfile::TempDir;

use super::{child, cx, disk, p};

const MANY: usize = 100_000;

#[test]
fn a_hundred_thousand_entries() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    for n in 0..MANY {
        fs::File::create(dir.path().join(format!("entry-with-an-ordinary-name-{n:06}.dat"))).unwrap();
    }
    let mut lister = child::start("list", dir.path(), None).unwrap();
    let answer = child::answer(&mut lister);
    lister.wait().unwrap();
    let (entries, grown) = answer.split_once(' ').unwrap();
    assert_eq!(entries, MANY.to_string());
    // A page of 200 and a buffer of 32 KiB; all at once would be some 20 MiB.
    assert!(
        grown.parse::<u64>().unwrap() < 2048,
        "the listing took {grown} KiB"
    );
}

#[tokio::test]
async fn a_listing_goes_on_after_its_cursor_was_kept_and_everything_changed() {
    let (dir, disk) = disk();
    let host = dir.path().join("root");
    for n in 0..1_000 {
        fs::File::create(host.join(n.to_string())).unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut from = None;
    let mut pages = 0;
    loop {
        let mut listing = disk.list(&cx("a"), &p("/"), from.take()).await.unwrap();
        let page = listing.next(64).await.unwrap();
        let Some(last) = page.last() else { break };
        // What was listed goes, also the entry at which the cursor stands.
        fs::remove_file(host.join(last.name.as_ref().unwrap().to_string())).unwrap();
        for entry in page {
            assert!(seen.insert(entry.name.unwrap()), "told twice");
        }
        from = listing.cursor();
        pages += 1;
        assert!(pages < 100, "it never ends");
    }
    assert_eq!(seen.len(), 1_000);
}

#[tokio::test]
async fn foreign_cursors_are_refused() {
    let (_dir, disk) = disk();
    for bad in [
        &b""[..],
        &[1],
        &[2, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1; 300],
    ] {
        let listed = disk.list(&cx("a"), &p("/"), Some(Cursor(bad.into()))).await;
        assert_eq!(
            listed.map(drop).unwrap_err().kind(),
            FsErrorKind::Conflict,
            "{bad:?}"
        );
    }
}

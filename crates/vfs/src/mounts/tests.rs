//! The mount table over several memories.

use super::*;
use crate::{Memory, WriteMode, testing::*};

fn mounts(paths: &[&str]) -> (Vec<Memory>, Mounts) {
    let memories: Vec<Memory> = paths.iter().map(|_| Memory::new()).collect();
    let table = paths.iter().zip(&memories);
    let table = table.map(|(raw, memory)| (path(raw), Arc::new(memory.clone()) as Arc<dyn FileSystem>));
    let mounts = Mounts::new(table).unwrap();
    (memories, mounts)
}

#[test]
fn the_longest_prefix_wins() {
    let (_, mounts) = mounts(&["/", "/mail", "/mail/archive", "/data/in"]);
    for (raw, index) in [
        ("/", Some(0)),
        ("/x/y", Some(0)),
        ("/mail", Some(1)),
        ("/mailbox", Some(0)),
        ("/mail/x", Some(1)),
        ("/mail/archive", Some(2)),
        ("/mail/archive/2026", Some(2)),
        ("/mail/archived", Some(1)),
        ("/data", Some(0)),
        ("/data/in/x", Some(3)),
    ] {
        assert_eq!(mounts.index(&path(raw)), index, "{raw}");
    }
}

#[test]
fn two_mounts_at_one_path_are_an_error() {
    let fs = || Arc::new(Memory::new()) as Arc<dyn FileSystem>;
    let end = Mounts::new([(path("/a"), fs()), (path("/b"), fs()), (path("/a"), fs())]);
    assert_eq!(end.err(), Some(MountTwice(path("/a"))));
}

#[tokio::test]
async fn a_mount_shadows_what_lies_under_it() {
    let (memories, mounts) = mounts(&["/", "/mail"]);
    memories[0].plant(&path("/mail/hidden"), b"below").unwrap();
    memories[0].plant(&path("/note"), b"n").unwrap();
    memories[1].plant(&path("/letter"), b"l").unwrap();
    assert_eq!(names(&mounts, "/").await.unwrap(), ["mail", "note"]);
    assert_eq!(names(&mounts, "/mail").await.unwrap(), ["letter"]);
    assert_eq!(
        get(&mounts, "/mail/hidden").await.unwrap_err().kind(),
        FsErrorKind::NotFound
    );
}

#[tokio::test]
async fn parents_of_mounts_are_listed() {
    let (memories, mounts) = mounts(&["/a/b/c", "/a/d", "/a/b/e"]);
    memories[0].plant(&path("/deep"), b"x").unwrap();
    for (dir, want) in [
        ("/", &["a"][..]),
        ("/a", &["b", "d"]),
        ("/a/b", &["c", "e"]),
        ("/a/b/c", &["deep"]),
        ("/a/d", &[]),
    ] {
        assert_eq!(names(&mounts, dir).await.unwrap(), want, "{dir}");
        assert!(
            mounts
                .stat(&cx("a"), &path(dir), Links::Keep)
                .await
                .unwrap()
                .is_dir(),
            "{dir}"
        );
    }
    for missing in ["/b", "/a/x", "/a/b/c/x"] {
        assert_eq!(
            names(&mounts, missing).await.unwrap_err().kind(),
            FsErrorKind::NotFound,
            "{missing}"
        );
    }
    let end = put(&mounts, "/a/new", b"x").await.unwrap_err();
    assert_eq!(end.kind(), FsErrorKind::Refused);
    assert!(end.message().contains("only holds mount points"), "{end}");
}

#[tokio::test]
async fn parents_are_merged_with_a_real_directory_and_with_a_file_of_their_name() {
    let (memories, mounts) = mounts(&["/", "/real/m", "/file/m"]);
    memories[0].plant(&path("/real/own"), b"x").unwrap();
    memories[0]
        .plant(&path("/real/m"), b"a file that the mount shadows")
        .unwrap();
    memories[0].plant(&path("/file"), b"a file").unwrap();
    assert_eq!(names(&mounts, "/").await.unwrap(), ["file", "real"]);
    assert_eq!(names(&mounts, "/real").await.unwrap(), ["m", "own"]);
    assert_eq!(names(&mounts, "/file").await.unwrap(), ["m"]);
    assert!(
        mounts
            .stat(&cx("a"), &path("/file"), Links::Keep)
            .await
            .unwrap()
            .is_dir()
    );
}

#[tokio::test]
async fn a_cursor_goes_on_from_anywhere() {
    let (memories, mounts) = mounts(&["/", "/m1", "/m3", "/m2/deep"]);
    for name in ["/a", "/b", "/m1", "/m2", "/z"] {
        memories[0].plant(&path(name), b"x").unwrap();
    }
    let all = names(&mounts, "/").await.unwrap();
    assert_eq!(all, ["m1", "m2", "m3", "a", "b", "z"]);
    for step in 1..=7 {
        let (mut got, mut from) = (Vec::new(), None);
        loop {
            let mut listing = mounts.list(&cx("a"), &VPath::root(), from).await.unwrap();
            let page = listing.next(step).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= step);
            got.extend(page.into_iter().map(|entry| entry.name.unwrap().to_string()));
            from = Some(listing.cursor().unwrap());
        }
        assert_eq!(got, all, "step {step}");
    }
    for bad in [&b""[..], b"\0", b"\0abcde", b"\x07x"] {
        let end = mounts
            .list(&cx("a"), &VPath::root(), Some(Cursor(bad.into())))
            .await
            .map(drop);
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::Conflict, "{bad:?}");
    }
}

#[tokio::test]
async fn mount_points_and_their_parents_stay() {
    let (memories, mounts) = mounts(&["/", "/a/m"]);
    memories[0].plant(&path("/a/m/shadowed"), b"x").unwrap();
    memories[0].plant(&path("/free"), b"x").unwrap();
    let me = cx("alice");
    for fixed in ["/", "/a", "/a/m"] {
        let fixed = &path(fixed);
        for end in [
            mounts.remove(&me, fixed, Removal::Dir).await,
            mounts.remove(&me, fixed, Removal::File).await,
            mounts.rename(&me, fixed, &path("/b"), Rename::NoReplace).await,
            mounts.rename(&me, &path("/free"), fixed, Rename::Replace).await,
            mounts.copy(&me, &path("/free"), fixed, Rename::Replace).await,
            mounts.link(&me, &path("/free"), fixed).await,
        ] {
            assert_eq!(end.unwrap_err().kind(), FsErrorKind::Refused, "{fixed}");
        }
        let end = mounts.make_dir(&me, fixed, Attrs::default()).await;
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::Exists, "{fixed}");
        for mode in [WriteMode::Replace, WriteMode::Update { create: true }] {
            let end = mounts
                .open_write(&me, fixed, OpenWrite::new(mode))
                .await
                .map(drop);
            assert_eq!(end.unwrap_err().kind(), FsErrorKind::IsDir, "{fixed}");
        }
    }
    let how = OpenWrite::new(WriteMode::Replace);
    let file = mounts.open_write(&me, &path("/up"), how).await.unwrap();
    let end = file.retarget(&path("/a"), Rename::Replace).await;
    assert_eq!(end.unwrap_err().kind(), FsErrorKind::Refused);
    assert_eq!(get(&memories[0], "/a/m/shadowed").await.unwrap(), b"x");
}

#[tokio::test]
async fn nothing_moves_between_storages() {
    let (_, mounts) = mounts(&["/", "/m"]);
    put(&mounts, "/a", b"x").await.unwrap();
    let (me, from, to) = (cx("alice"), path("/a"), path("/m/a"));
    let how = OpenWrite::new(WriteMode::Replace);
    let file = mounts.open_write(&me, &path("/up"), how).await.unwrap();
    for end in [
        mounts.rename(&me, &from, &to, Rename::NoReplace).await,
        mounts.copy(&me, &from, &to, Rename::NoReplace).await,
        mounts.link(&me, &from, &to).await,
        file.retarget(&to, Rename::NoReplace).await,
    ] {
        let end = end.unwrap_err();
        assert_eq!(
            (end.kind(), end.message()),
            (FsErrorKind::CrossMount, "different storages")
        );
    }
    file.retarget(&path("/there"), Rename::NoReplace).await.unwrap();
    file.commit().await.unwrap();
    assert_eq!(names(&mounts, "/").await.unwrap(), ["m", "a", "there"]);
    assert_eq!(names(&mounts, "/m").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_mount_that_fails_does_not_take_its_neighbours_from_the_list() {
    let broken = Arc::new(crate::Faulty::over(Arc::new(Memory::new())));
    let mounts = Mounts::new([
        (path("/good"), Arc::new(Memory::new()) as Arc<dyn FileSystem>),
        (path("/broken"), broken.clone()),
    ])
    .unwrap();
    broken.fail_nth(1, FsErrorKind::Backend);
    assert_eq!(names(&mounts, "/").await.unwrap(), ["broken", "good"]);
}

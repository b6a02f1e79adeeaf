//! Changing and replacing what is there (V6, V7).

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use portreeve_model::Timestamp;
use portreeve_vfs::{Attrs, FileSystem, FsErrorKind, Links, OpenWrite, WriteMode};

use super::{content, cx, disk, disk_with, open, p, put};

#[tokio::test]
async fn changes_become_visible_as_a_whole_up_to_the_limit() {
    for (limit, before_commit) in [(1 << 30, "0123456789"), (0, "01X3456789")] {
        let (_dir, disk) = disk_with(|options| options.copy_limit.0 = limit);
        put(&disk, "/f", b"0123456789").await;
        let file = open(&disk, "a", "/f", WriteMode::Update { create: false })
            .await
            .unwrap();
        file.write(2, vec!["X".into()]).await.unwrap();
        let seen = content(&disk, "/f").await.unwrap();
        // Above the limit the change is made in place; a file system with reflinks never has to.
        assert!(
            [before_commit, "0123456789"].map(str::as_bytes).contains(&&*seen),
            "{seen:?}"
        );
        file.commit().await.unwrap();
        assert_eq!(content(&disk, "/f").await.unwrap(), b"01X3456789");
    }
}

#[tokio::test]
async fn an_append_in_place_that_is_broken_off_is_cut_back() {
    for end in ["keep", "discard", "drop", "commit"] {
        let (dir, disk) = disk_with(|options| options.copy_limit.0 = 0);
        put(&disk, "/f", b"old").await;
        let file = open(&disk, "a", "/f", WriteMode::Append { create: false })
            .await
            .unwrap();
        file.append(vec!["new".into()]).await.unwrap();
        match end {
            "keep" => assert_eq!(file.keep().await.unwrap(), 0),
            "discard" => file.discard().await.unwrap(),
            "commit" => drop(file.commit().await.unwrap()),
            _ => {}
        }
        drop(file);
        let want: &[u8] = if end == "commit" { b"oldnew" } else { b"old" };
        assert_eq!(content(&disk, "/f").await.unwrap(), want, "{end}");
        assert_eq!(fs::read_dir(dir.path().join("root")).unwrap().count(), 1, "{end}");
    }
}

#[tokio::test]
async fn a_resume_may_go_on_with_a_complete_file_only_at_its_end() {
    let (_dir, disk) = disk();
    put(&disk, "/f", b"12345").await;
    let wrong = open(&disk, "a", "/f", WriteMode::Resume { at: 4 })
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(wrong.kind(), FsErrorKind::Conflict);
    assert!(wrong.message().contains('5'), "{wrong}");
    let file = open(&disk, "a", "/f", WriteMode::Resume { at: 5 }).await.unwrap();
    file.append(vec!["6".into()]).await.unwrap();
    file.commit().await.unwrap();
    assert_eq!(content(&disk, "/f").await.unwrap(), b"123456");
}

#[tokio::test]
async fn replacing_keeps_mode_and_owner() {
    let (dir, disk) = disk();
    let host = dir.path().join("root/f");
    put(&disk, "/f", b"old").await;
    fs::set_permissions(&host, fs::Permissions::from_mode(0o4664)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(&host, Some(1234), Some(4321)).unwrap();
    }
    let dated = Attrs {
        modified: Some(Timestamp::from_seconds(1_000)),
        ..Attrs::default()
    };
    let how = OpenWrite {
        attrs: Attrs {
            mode: Some(0o777),
            ..dated
        },
        ..OpenWrite::new(WriteMode::Replace)
    };
    let file = disk.open_write(&cx("a"), &p("/f"), how).await.unwrap();
    file.append(vec!["new".into()]).await.unwrap();
    file.commit().await.unwrap();
    let found = fs::metadata(&host).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o664, 1_000));
    if root {
        assert_eq!((found.uid(), found.gid()), (1234, 4321));
    }
}

#[tokio::test]
async fn modes_do_not_depend_on_the_umask_and_groups_are_inherited() {
    let (dir, disk) = disk();
    let host = dir.path().join("root");
    fs::set_permissions(&host, fs::Permissions::from_mode(0o2775)).unwrap();
    let open_to_all = Attrs {
        mode: Some(0o7777),
        ..Attrs::default()
    };
    disk.make_dir(&cx("a"), &p("/d"), open_to_all).await.unwrap();
    assert_eq!(fs::metadata(host.join("d")).unwrap().mode() & 0o7777, 0o2777);
    disk.set_attrs(
        &cx("a"),
        &p("/d"),
        Attrs {
            mode: Some(0o750),
            ..Attrs::default()
        },
        Links::Follow,
    )
    .await
    .unwrap();
    assert_eq!(fs::metadata(host.join("d")).unwrap().mode() & 0o7777, 0o2750);
}

#[tokio::test]
async fn a_copy_keeps_holes() {
    let (dir, disk) = disk();
    let host = dir.path().join("root");
    fs::File::create(host.join("sparse"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    disk.copy(
        &cx("a"),
        &p("/sparse"),
        &p("/copy"),
        portreeve_vfs::Rename::NoReplace,
    )
    .await
    .unwrap();
    let copy = fs::metadata(host.join("copy")).unwrap();
    assert_eq!(copy.len(), 1 << 30);
    assert!(copy.blocks() < 100, "{} blocks", copy.blocks());
}

#[tokio::test]
async fn a_read_takes_what_was_asked_for_whatever_the_room() {
    let (_dir, disk) = disk();
    let content: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    put(&disk, "/f", &content).await;
    let file = disk.open_read(&cx("a"), &p("/f")).await.unwrap();
    for (at, len) in [
        (0, 10),
        (5, 262_144),
        (699_999, 10),
        (700_000, 10),
        (1 << 40, 10),
        (0, 1 << 20),
    ] {
        for room in [0, len, len + 4, 2 * len, 1 << 20] {
            let mut into = Vec::with_capacity(room + 4);
            into.extend_from_slice(b"head");
            let got = file.read(at as u64, len, into).await.unwrap();
            let start = at.min(content.len());
            let want = &content[start..content.len().min(at + len).max(start)];
            assert_eq!(&got[..4], b"head");
            assert!(
                &got[4..] == want,
                "{len} bytes at {at} with room for {room}: {} bytes",
                got.len() - 4
            );
        }
    }
}

#[tokio::test]
async fn who_may_only_write_reads_nothing() {
    let (_dir, disk) = disk();
    put(&disk, "/f", b"secret").await;
    for mode in [
        WriteMode::Update { create: false },
        WriteMode::Append { create: false },
    ] {
        let file = open(&disk, "a", "/f", mode).await.unwrap();
        let read = file.read(0, 6, Vec::new()).await.unwrap_err();
        assert_eq!(read.kind(), FsErrorKind::Unsupported);
        file.discard().await.unwrap();
    }
}

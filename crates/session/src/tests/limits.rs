//! Quotas and sizes: every way to change a file counts, and counts once.

use portreeve_model::options::SizeText;
use portreeve_vfs::{Attrs, FsError, FsErrorKind, Links, Removal, Rename};

use super::*;

fn sized(size: u64) -> Attrs {
    Attrs {
        size: Some(size),
        ..Attrs::default()
    }
}

#[tokio::test]
async fn whatever_is_done_the_count_is_what_is_there() {
    let rig = Rig::with_quota(1000);
    let session = rig.session().await;
    let fs = session.fs();
    put(&session, "/a", 100).await.unwrap();
    assert_eq!(rig.used().await, 100);
    put(&session, "/a", 60).await.unwrap();
    assert_eq!(rig.used().await, 60, "replaced");
    fs.rename(&p("/a"), &p("/a"), Rename::Replace).await.unwrap();
    assert_eq!(rig.used().await, 60, "renamed onto itself");

    let update = fs
        .upload(&p("/a"), how(WriteMode::Update { create: false }))
        .await
        .unwrap();
    update.write(60, zeros(10)).await.unwrap();
    update.commit().await.unwrap();
    assert_eq!(rig.used().await, 70, "updated");

    put(&session, "/b", 30).await.unwrap();
    fs.rename(&p("/b"), &p("/a"), Rename::Replace).await.unwrap();
    assert_eq!(rig.used().await, 30, "renamed over");
    fs.copy(&p("/a"), &p("/c"), Rename::NoReplace).await.unwrap();
    fs.copy(&p("/a"), &p("/c"), Rename::Replace).await.unwrap();
    assert_eq!(rig.used().await, 60, "copied twice");
    assert!(fs.copy(&p("/a"), &p("/c"), Rename::NoReplace).await.is_err());
    assert_eq!(rig.used().await, 60, "not copied");

    fs.set_attrs(&p("/c"), sized(5), Links::Follow).await.unwrap();
    assert_eq!(rig.used().await, 35, "cut");
    fs.set_attrs(&p("/c"), sized(50), Links::Follow).await.unwrap();
    assert_eq!(rig.used().await, 80, "extended");
    if fs.link(&p("/c"), &p("/d")).await.is_ok() {
        fs.remove(&p("/c"), Removal::File).await.unwrap();
        assert_eq!(rig.used().await, 80, "one of two names removed");
        fs.remove(&p("/d"), Removal::File).await.unwrap();
    } else {
        fs.remove(&p("/c"), Removal::File).await.unwrap();
    }
    assert_eq!(rig.used().await, 30, "removed");
}

#[tokio::test]
async fn what_a_commit_replaces_is_what_is_there_then() {
    let rig = Rig::with_quota(1000);
    let session = rig.session().await;
    let fs = session.fs();
    // Removed meanwhile: it is not given back twice.
    put(&session, "/big", 500).await.unwrap();
    put(&session, "/other", 100).await.unwrap();
    let upload = fs.upload(&p("/big"), how(WriteMode::Replace)).await.unwrap();
    rig.session()
        .await
        .fs()
        .remove(&p("/big"), Removal::File)
        .await
        .unwrap();
    upload.commit().await.unwrap();
    assert_eq!(rig.used().await, 100);
    // Aimed elsewhere meanwhile: what it was opened over stays counted.
    put(&session, "/big", 500).await.unwrap();
    let upload = fs.upload(&p("/big"), how(WriteMode::Replace)).await.unwrap();
    upload.write(0, zeros(7)).await.unwrap();
    fs.rename(&p("/big"), &p("/other"), Rename::Replace)
        .await
        .unwrap();
    upload.commit().await.unwrap();
    assert_eq!(rig.used().await, 507);
    // Two writers of one name.
    let one = fs.upload(&p("/other"), how(WriteMode::Replace)).await.unwrap();
    let two = rig.session().await;
    let two = two
        .fs()
        .upload(&p("/other"), how(WriteMode::Replace))
        .await
        .unwrap();
    one.write(0, zeros(20)).await.unwrap();
    two.write(0, zeros(30)).await.unwrap();
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    assert_eq!(rig.used().await, 530);
}

#[tokio::test]
async fn partials_count_until_they_are_finished_or_thrown_away() {
    let rig = Rig::with_quota(1000);
    let session = rig.session().await;
    let fs = session.fs();
    let gone = || FsError::new(FsErrorKind::Cancelled);
    let begin = async || {
        let upload = fs.upload(&p("/a"), how(WriteMode::Replace)).await.unwrap();
        upload.write(0, zeros(40)).await.unwrap();
        assert_eq!(upload.keep(gone()).await.unwrap(), 40);
    };
    begin().await;
    assert_eq!(rig.used().await, 40);
    let resumed = fs
        .upload(&p("/a"), how(WriteMode::Resume { at: 40 }))
        .await
        .unwrap();
    resumed.write(40, zeros(10)).await.unwrap();
    resumed.commit().await.unwrap();
    assert_eq!(rig.used().await, 50, "finished");
    begin().await;
    assert_eq!(rig.used().await, 90, "kept beside the file");
    put(&session, "/a", 5).await.unwrap();
    assert_eq!(rig.used().await, 5, "replaced");
    fs.remove(&p("/a"), Removal::File).await.unwrap();
    begin().await;
    fs.remove(&p("/a"), Removal::File).await.unwrap();
    assert_eq!(rig.used().await, 0, "the partial was removed");
    // A resume that is refused leaves it as it was.
    begin().await;
    assert!(
        fs.upload(&p("/a"), how(WriteMode::Resume { at: 39 }))
            .await
            .is_err()
    );
    let mut large = how(WriteMode::Resume { at: 40 });
    large.size_hint = Some(2000);
    assert_eq!(
        fs.upload(&p("/a"), large).await.unwrap_err().kind(),
        FsErrorKind::Quota
    );
    assert_eq!(fs.partial(&p("/a")).await.unwrap().unwrap().size, 40);
    assert_eq!(rig.used().await, 40);
    put(&session, "/a", 1).await.unwrap();
    assert_eq!(rig.used().await, 1);
}

#[tokio::test]
async fn a_size_that_is_set_obeys_the_limits() {
    let limits = MountLimits {
        quota: Some(SizeText(100)),
        max_file_size: Some(SizeText(60)),
        ..MountLimits::default()
    };
    let terms = Terms {
        limits,
        ..Terms::default()
    };
    let rig = Rig::new(Memory::new(), &terms);
    let session = rig.session().await;
    let fs = session.fs();
    put(&session, "/a", 50).await.unwrap();
    let set =
        |path: &'static str, size| async move { fs.set_attrs(&p(path), sized(size), Links::Follow).await };
    assert_eq!(set("/a", 61).await.unwrap_err().kind(), FsErrorKind::TooLarge);
    let upload = fs.upload(&p("/b"), how(WriteMode::Replace)).await.unwrap();
    assert_eq!(set("/b", 61).await.unwrap_err().kind(), FsErrorKind::TooLarge);
    assert_eq!(set("/b", 55).await.unwrap_err().kind(), FsErrorKind::Quota);
    assert_eq!(
        upload.set_attrs(sized(55)).await.unwrap_err().kind(),
        FsErrorKind::Quota
    );
    set("/b", 50).await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(rig.used().await, 100);
    assert_eq!(fs.stat(&p("/b"), Links::Keep).await.unwrap().size, Some(50));
}

#[tokio::test]
async fn a_crash_leaves_nothing_reserved() {
    let rig = Rig::with_quota(100);
    rig.book.establish(KEY, 100).await.unwrap();
    let session = rig.session().await;
    put(&session, "/a", 10).await.unwrap();
    assert_eq!(rig.used().await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_uploads_race_for_the_room_of_ten() {
    let rig = Arc::new(Rig::with_quota(10 << 20));
    let session = rig.session().await;
    let tries: Vec<_> = (0..32)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move { put(&session, &format!("/{n}"), 1 << 20).await.is_ok() })
        })
        .collect();
    let mut done = 0;
    for one in tries {
        done += u64::from(one.await.unwrap());
    }
    assert_eq!((done, rig.used().await), (10, 10 << 20));
    // And back again.
    for n in 0..32 {
        let _ = session.fs().remove(&p(&format!("/{n}")), Removal::File).await;
    }
    assert_eq!(rig.used().await, 0);
}

/// Uploads 4,000 bytes and downloads them.
async fn there_and_back(session: &Session, path: &str) {
    let upload = session
        .fs()
        .upload(&p(path), how(WriteMode::Replace))
        .await
        .unwrap();
    for piece in 0..4 {
        upload.write(piece * 1000, zeros(1000)).await.unwrap();
    }
    upload.commit().await.unwrap();
    let download = session.fs().download(&p(path)).await.unwrap();
    for piece in 0..4 {
        let read = download.read(piece * 1000, 1000, Vec::new()).await.unwrap();
        assert_eq!(read.len(), 1000);
    }
}

/// A mount's rates hold for all sessions of a user together, each way for itself.
#[tokio::test(start_paused = true)]
async fn rates_of_a_mount_hold_in_both_directions() {
    let rate = |bytes| Some(SizeText(bytes));
    for (upload_rate, download_rate, seconds) in [
        (None, None, 0.0),
        (rate(1000), None, 8.0),
        (None, rate(2000), 4.0),
        (rate(1000), rate(2000), 12.0),
    ] {
        let limits = MountLimits {
            upload_rate,
            download_rate,
            ..MountLimits::default()
        };
        let terms = Terms {
            limits,
            ..Terms::default()
        };
        let rig = Rig::new(Memory::new(), &terms);
        let (one, other) = (rig.session().await, rig.session().await);
        let began = tokio::time::Instant::now();
        tokio::join!(there_and_back(&one, "/1"), there_and_back(&other, "/2"));
        // Whoever starts late finds a second of credit, each way.
        let took = began.elapsed().as_secs_f64();
        assert!(
            (seconds - 2.1..=seconds + 0.1).contains(&took),
            "{took} s of {seconds}"
        );
    }
}

/// Every refusal is answered after the same time, a wrong password as well as one that cost no hash; who is
/// let in does not wait.
#[tokio::test(start_paused = true)]
async fn refusals_are_answered_after_their_time() {
    let rig = Rig::plain();
    let mut limits = LimitsOptions::default();
    limits.refusal_delay.0 = Duration::from_secs(3);
    let before = rig.gate.world();
    let world = World::new(
        before
            .chain("")
            .subset(&["told".into(), "keeper".into()])
            .unwrap(),
        Resolver::new(vec![staff_rule()], Vec::new()),
        BTreeMap::from([(GroupName::new("staff").unwrap(), GroupPlan::default())]),
        limits,
    );
    rig.gate.swap(world);
    for (word, waits) in [("wrong", true), ("open", false)] {
        let mut connection = rig.knock().await;
        let began = tokio::time::Instant::now();
        let answer = try_sign_in(&mut connection, word).await;
        assert_eq!(matches!(answer, SignIn::Welcome(_)), !waits, "{answer:?}");
        assert_eq!(
            began.elapsed() >= Duration::from_secs(2),
            waits,
            "{word}: {:?}",
            began.elapsed()
        );
    }
}

fn staff_rule() -> GroupRule {
    GroupRule {
        group: GroupName::new("staff").unwrap(),
        external: Vec::new(),
    }
}

use super::*;
use crate::inspect;

#[tokio::test]
async fn a_draft_appears_whole_under_its_very_name() {
    let mut world = World::sample(|_| {});
    let data: Vec<u8> = (0..=255u8).cycle().take(400_000).collect();
    let how = OpenWrite::new(WriteMode::CreateNew);
    let file = "/Projects/R\u{e9}sum\u{e9} 2024.tar.gz";
    let open = world.mailbox.open_write(&cx(), &path(file), how).await.unwrap();
    open.write(200_000, vec![data[200_000..].to_vec().into()])
        .await
        .unwrap();
    open.write(0, vec![data[..200_000].to_vec().into()])
        .await
        .unwrap();
    let before = world.files("Projects/cur");
    assert!(
        !world
            .list("/Projects")
            .await
            .iter()
            .any(|name| name.starts_with("R\u{e9}"))
    );
    assert_eq!(open.commit().await.unwrap().size, Some(400_000));
    assert_eq!(world.get(file).await.unwrap(), data);
    world.restart();
    assert_eq!(world.get(file).await.unwrap(), data);
    let mut after = world.files("Projects/cur");
    after.retain(|name| !before.contains(name));
    assert!(after.len() == 1 && after[0].ends_with(":2,DS"), "{after:?}");
    let raw = fs::read(world.root("Projects/cur").join(&after[0])).unwrap();
    let found = inspect(&raw, Default::default());
    assert_eq!(found.summary.subject, "R\u{e9}sum\u{e9} 2024.tar");
    assert!(world.files("tmp").is_empty() && world.files("Projects/tmp").is_empty());
    // It is an attachment like any other: it can be deleted, and the draft goes with it.
    world.delete(file).await.unwrap();
    assert_eq!(world.files("Projects/cur"), before);
    // And the name is free for who asks for it by name.
    world.put(file, b"again").await.unwrap();
    assert_eq!(world.get(file).await.unwrap(), b"again");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let world = World::sample(|options| {
        options.mail.max_upload = portreeve_model::options::SizeText(10);
        options.mail.exclude = vec!["*.exe".into()];
    });
    for (file, want) in [
        ("/x.txt", FsErrorKind::Refused),
        ("/Archive/x.txt", FsErrorKind::Refused),
        ("/Nowhere/x.txt", FsErrorKind::NotFound),
        ("/Inbox/a:b.txt", FsErrorKind::InvalidName),
        ("/Inbox/.hidden", FsErrorKind::InvalidName),
        ("/Inbox/x.exe", FsErrorKind::Refused),
        ("/Inbox", FsErrorKind::IsDir),
        ("/Inbox/Order ACME Ltd-order.xml", FsErrorKind::Unsupported),
        // On other systems this would be the same name.
        ("/Inbox/ORDER acme ltd-order.XML", FsErrorKind::InvalidName),
    ] {
        let result = world.put(file, b"x").await;
        assert_eq!(kind(result), Some(want), "{file}");
    }
    assert_eq!(
        kind(world.put("/Inbox/x", b"more than ten").await),
        Some(FsErrorKind::TooLarge)
    );
    let mut how = OpenWrite::new(WriteMode::CreateNew);
    how.size_hint = Some(11);
    assert_eq!(
        kind(world.mailbox.open_write(&cx(), &path("/Inbox/y"), how).await),
        Some(FsErrorKind::TooLarge)
    );
    assert!(world.files("tmp").is_empty());
    assert_eq!(world.files("cur").len(), 2);

    let closed = World::sample(|options| options.mail.on_upload = OnUpload::Refuse);
    assert_eq!(
        kind(closed.put("/Inbox/x", b"x").await),
        Some(FsErrorKind::ReadOnly)
    );
    assert!(closed.delete("/Inbox/Order ACME Ltd-order.xml").await.is_ok());
}

#[tokio::test]
async fn a_name_taken_meanwhile_is_not_replaced() {
    let world = World::sample(|_| {});
    let open = async |mode| {
        world
            .mailbox
            .open_write(&cx(), &path("/Inbox/x"), OpenWrite::new(mode))
            .await
    };
    let (first, second) = (
        open(WriteMode::Replace).await.unwrap(),
        open(WriteMode::Replace).await.unwrap(),
    );
    second.append(vec![b"2".to_vec().into()]).await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(kind(first.commit().await), Some(FsErrorKind::Exists));
    // What was written is not lost: another name will do.
    first.append(vec![b"1".to_vec().into()]).await.unwrap();
    first
        .retarget(&path("/Inbox/y"), Rename::NoReplace)
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert_eq!(world.get("/Inbox/x").await.unwrap(), b"2");
    assert_eq!(world.get("/Inbox/y").await.unwrap(), b"1");
    assert!(first.write(0, vec![]).await.is_err());
}

#[tokio::test]
async fn who_uploads_under_a_temporary_name_may_rename_it() {
    let mut world = World::sample(|_| {});
    let rename = async |world: &World, who: &str, from: &str, to: &str| {
        let cx = OpCx::new(SessionId::fresh(), Owner(who.into()), Default::default());
        let how = Rename::NoReplace;
        world.mailbox.rename(&cx, &path(from), &path(to), how).await
    };
    let data: Vec<u8> = (0..=255u8).cycle().take(1_000_000).collect();
    let (part, whole) = ("/Projects/big.bin.filepart", "/Projects/big.bin");
    let before = world.files("Projects/cur").len();
    world.put(part, &data).await.unwrap();
    assert_eq!(
        kind(rename(&world, "bob", part, whole).await),
        Some(FsErrorKind::Refused)
    );
    // A name that is taken is not replaced, and asking for it costs nothing.
    world.put("/Projects/taken", b"x").await.unwrap();
    assert_eq!(
        kind(rename(&world, "alice", part, "/Projects/taken").await),
        Some(FsErrorKind::Exists)
    );
    let reading = world.open(part).await.unwrap();
    rename(&world, "alice", part, whole).await.unwrap();
    assert_eq!(world.get(whole).await.unwrap(), data);
    assert_eq!(
        reading.read(999_999, 10, Vec::new()).await.unwrap(),
        data[999_999..]
    );
    assert!(
        !world
            .list("/Projects")
            .await
            .contains(&"big.bin.filepart".to_owned())
    );
    assert_eq!(world.files("Projects/cur").len(), before + 2);
    assert!(world.files("Projects/tmp").is_empty());
    let raw = world.files("Projects/cur").into_iter().find_map(|name| {
        let raw = fs::read(world.root("Projects/cur").join(name)).unwrap();
        let found = inspect(&raw, Default::default());
        (found.summary.subject == "big").then_some(found.parts[0].attachment.name.clone())
    });
    assert_eq!(
        raw.as_deref(),
        Some("big.bin"),
        "subject and name are those of the file"
    );
    // Once more, into another folder; then the next upload under the temporary name.
    rename(&world, "alice", whole, "/Inbox/final.bin").await.unwrap();
    world.put(part, b"next").await.unwrap();
    rename(&world, "alice", part, whole).await.unwrap();
    // What came by mail keeps its name, and so does everything after a restart.
    let mail = "/Inbox/Order ACME Ltd-order.xml";
    assert_eq!(
        kind(rename(&world, "alice", mail, "/Inbox/mine.xml").await),
        Some(FsErrorKind::Refused)
    );
    world.restart();
    assert_eq!(world.get("/Inbox/final.bin").await.unwrap(), data);
    assert_eq!(world.get(whole).await.unwrap(), b"next");
    assert_eq!(
        kind(rename(&world, "alice", whole, part).await),
        Some(FsErrorKind::Refused)
    );
}

#[tokio::test]
async fn times_are_dropped_where_files_can_be_uploaded() {
    let attrs = Attrs {
        modified: Some(Default::default()),
        mode: Some(0o600),
        ..Default::default()
    };
    for (on_upload, want) in [
        (OnUpload::Draft, None),
        (OnUpload::Refuse, Some(FsErrorKind::Unsupported)),
    ] {
        let world = World::sample(|options| options.mail.on_upload = on_upload);
        let set = async |file: &str| {
            world
                .mailbox
                .set_attrs(&cx(), &path(file), attrs, Links::Follow)
                .await
        };
        let mail = "/Inbox/Order ACME Ltd-order.xml";
        let stat = async || {
            world
                .mailbox
                .stat(&cx(), &path(mail), Links::Follow)
                .await
                .unwrap()
                .modified
        };
        let before = stat().await;
        assert_eq!(kind(set(mail).await), want);
        assert_eq!(stat().await, before);
        assert_eq!(kind(set("/Inbox/none").await), Some(FsErrorKind::NotFound));
    }
}

#[tokio::test]
async fn folders_are_made_renamed_and_removed() {
    let world = World::sample(|_| {});
    let make = async |dir: &str| {
        world
            .mailbox
            .make_dir(&cx(), &path(dir), Default::default())
            .await
    };
    let remove = async |dir: &str| world.mailbox.remove(&cx(), &path(dir), Removal::Dir).await;
    let rename = async |from: &str, to: &str| {
        world
            .mailbox
            .rename(&cx(), &path(from), &path(to), Rename::NoReplace)
            .await
    };
    make("/Entw\u{fc}rfe").await.unwrap();
    make("/Inbox/Sub").await.unwrap();
    make("/Projects/Sub.2024").await.unwrap();
    assert!(world.root(".Entw&APw-rfe/cur").is_dir() && world.root(".INBOX.Sub/cur").is_dir());
    assert!(world.root("Projects/Sub.2024/cur").is_dir());
    assert_eq!(kind(make("/Inbox").await), Some(FsErrorKind::Exists));
    assert_eq!(kind(make("/inbox").await), Some(FsErrorKind::InvalidName));
    assert_eq!(kind(make("/a.b").await), Some(FsErrorKind::InvalidName));
    assert_eq!(kind(make("/Nowhere/x").await), Some(FsErrorKind::NotFound));
    // Full, protected, a level only.
    for (dir, want) in [
        ("/Inbox", FsErrorKind::Refused),
        ("/Projects", FsErrorKind::NotEmpty),
        ("/Archive", FsErrorKind::NotEmpty),
        ("/Archive/2024", FsErrorKind::NotEmpty),
        ("/Nowhere", FsErrorKind::NotFound),
        ("/Inbox/Order ACME Ltd-order.xml", FsErrorKind::NotDir),
    ] {
        assert_eq!(kind(remove(dir).await), Some(want), "{dir}");
    }
    remove("/Projects/Sub.2024").await.unwrap();
    // Renaming takes messages, sub-folders and names along.
    let before = world.list("/Archive/2024").await;
    rename("/Archive", "/Old mail").await.unwrap();
    assert_eq!(world.list("/Old mail/2024").await, before);
    assert!(world.root(".Old mail.2024/cur").is_dir());
    rename("/Old mail/2024", "/Inbox/2024").await.unwrap();
    assert_eq!(world.list("/Inbox/2024").await, before);
    assert_eq!(
        kind(rename("/Projects", "/Inbox/P").await),
        Some(FsErrorKind::Unsupported)
    );
    assert_eq!(
        kind(rename("/Inbox/Sub", "/Inbox/2024").await),
        Some(FsErrorKind::Exists)
    );
    rename("/Projects", "/Work").await.unwrap();
    assert_eq!(world.list("/Work").await.len(), 2);
    // A folder whose messages show no file is not empty.
    make("/Plain").await.unwrap();
    world.deliver(".Plain/new/1.x", "Subject: text only\n\nhello");
    assert_eq!(kind(remove("/Plain").await), Some(FsErrorKind::NotEmpty));
    assert!(world.root(".Plain/new/1.x").exists());
}

#[tokio::test]
async fn a_folder_answers_while_a_draft_is_made_in_it() {
    use crate::{MemoryShelf, Surroundings};
    let far = store::Far::new();
    far.deliver("s", &[("old", "x")]);
    let spool = portreeve_vfs::SpoolArea::new(std::env::temp_dir(), 1 << 20, 1 << 20);
    let vault = Arc::new(portreeve_microsoft::MemoryVault::default());
    let cloud = portreeve_microsoft::Cloud::new(vault);
    let around = Surroundings::new(Arc::new(MemoryShelf::default()), Arc::new(spool), cloud);
    let mail = crate::MailOptions {
        on_upload: OnUpload::Draft,
        ..crate::MailOptions::default()
    };
    let store = Arc::clone(&far) as Arc<dyn crate::MailStore>;
    let mailbox = Mailbox::over(store, "test", &mail, &around).unwrap();
    let list = async || {
        let (cx, inbox) = (cx(), path("/Inbox"));
        let listed = mailbox.list(&cx, &inbox, None);
        let deadline = std::time::Duration::from_secs(20);
        let mut listing = tokio::time::timeout(deadline, listed).await.unwrap().unwrap();
        let entries = listing.next(9).await.unwrap().into_iter();
        entries
            .map(|entry| entry.name.unwrap().to_string())
            .collect::<Vec<_>>()
    };
    let new = path("/Inbox/new");
    let how = || OpenWrite::new(WriteMode::Replace);
    for (fails, want) in [(true, vec!["s-old"]), (false, vec!["new", "s-old"])] {
        let open = mailbox.open_write(&cx(), &new, how()).await.unwrap();
        open.write(0, vec!["y".into()]).await.unwrap();
        if fails {
            far.fail(0, store::Fails::Before);
        }
        let gate = far.gate.lock().await;
        let commit = open.commit();
        tokio::pin!(commit);
        let begun = || {
            let reserved = mailbox.shared.views.slot(&"Inbox".into()).reserves().is_some();
            reserved && (fails || far.inside.lock().mails.len() == 2)
        };
        while !begun() {
            assert!(futures::poll!(&mut commit).is_pending());
            tokio::task::yield_now().await;
        }
        // What is made is there already, and not shown; its name is nobody else's.
        assert_eq!(list().await, ["s-old"]);
        let stat = mailbox.stat(&cx(), &path("/Inbox/s-old"), Links::Keep).await;
        assert_eq!(stat.unwrap().size, Some(1));
        assert!(mailbox.open_read(&cx(), &path("/Inbox/s-old")).await.is_ok());
        let other = mailbox.open_write(&cx(), &path("/Inbox/NEW"), how()).await;
        assert_eq!(kind(other), Some(FsErrorKind::InvalidName));
        drop(gate);
        assert_eq!(commit.await.is_err(), fails);
        far.heal();
        assert_eq!(list().await, want);
    }
}

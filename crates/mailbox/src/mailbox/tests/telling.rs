//! What records say of files in a mailbox.

use portreeve_model::Item;

use super::*;
use crate::Layout;

/// A mailbox of a storage `post`, with one message and two attachments, the second of a hostile name.
fn world(change: impl Fn(&mut MaildirOptions)) -> World {
    let world = World::empty(|options| {
        options.mail.storage = "post".into();
        change(options);
    });
    let files = [("report.pdf", "one"), ("a\u{202e}b.pdf", "two")];
    world.deliver(
        "cur/1.x:2,",
        format!("Message-ID: <1@x>\r\n{}", mail("Report", 1, &files)),
    );
    world
}

fn said(cx: &OpCx) -> Vec<(&'static str, String)> {
    let item = cx.noted().and_then(portreeve_vfs::Note::item).unwrap_or_default();
    item.facts().map(|(key, value)| (key, value.to_owned())).collect()
}

fn item(message: &str, attachment: &str) -> Vec<(&'static str, String)> {
    let mut item = Item::default();
    item.put("mailbox", "post");
    for (key, value) in [("message_id", message), ("attachment", attachment)] {
        if !value.is_empty() {
            item.put(key, value);
        }
    }
    item.facts().map(|(key, value)| (key, value.to_owned())).collect()
}

async fn read(world: &World, file: &str) -> Vec<(&'static str, String)> {
    let cx = cx();
    let _ = world.mailbox.open_read(&cx, &path(file)).await;
    said(&cx)
}

async fn remove(world: &World, at: &str, what: Removal) -> Vec<(&'static str, String)> {
    let cx = cx();
    let _ = world.mailbox.remove(&cx, &path(at), what).await;
    said(&cx)
}

async fn rename(world: &World, from: &str, to: &str) -> Vec<(&'static str, String)> {
    let cx = cx();
    let how = Rename::NoReplace;
    let _ = world.mailbox.rename(&cx, &path(from), &path(to), how).await;
    said(&cx)
}

#[tokio::test]
async fn a_file_is_told_of_by_mailbox_message_and_its_own_name() {
    let world = world(|_| {});
    assert_eq!(
        read(&world, "/Inbox/Report-report.pdf").await,
        item("<1@x>", "report.pdf")
    );
    // Its name as a file is clean; its own is what was sent.
    let other = world.list("/Inbox").await.remove(0);
    let other = format!("/Inbox/{other}");
    assert_eq!(read(&world, &other).await, item("<1@x>", "a\u{202e}b.pdf"));
    // Also where nothing comes of it.
    assert_eq!(read(&world, "/Inbox/none").await, item("", ""));
    assert_eq!(read(&world, "/Inbox").await, item("", ""));
    assert_eq!(
        rename(&world, "/Inbox/Report-report.pdf", "/Inbox/x.pdf").await,
        item("<1@x>", "report.pdf")
    );
    assert_eq!(
        remove(&world, &other, Removal::File).await,
        item("<1@x>", "a\u{202e}b.pdf")
    );
    world.make_dir("/Done").await.unwrap();
    world.list("/Inbox").await;
    let (from, to) = ("/Inbox/Report-report.pdf", "/Done/Report-report.pdf");
    assert_eq!(rename(&world, from, to).await, item("<1@x>", "report.pdf"));
    world.list("/Done").await;
    assert_eq!(
        remove(&world, to, Removal::File).await,
        item("<1@x>", "report.pdf")
    );
    assert_eq!(world.files(".Done/cur").len(), 0);
    assert_eq!(remove(&world, "/Done", Removal::Dir).await, item("", ""));
}

#[tokio::test]
async fn what_is_hidden_is_not_told_of() {
    let world = world(|options| options.mail.exclude = vec!["*report*".into()]);
    assert_eq!(read(&world, "/Inbox/Report-report.pdf").await, item("", ""));
}

#[tokio::test]
async fn directories_of_messages_and_what_is_in_them_are_told_of() {
    let world = world(|options| {
        options.mail.on_upload = OnUpload::Refuse;
        options.mail.layout = Layout::Messages;
    });
    let dir = "/Inbox/Report";
    assert_eq!(
        read(&world, "/Inbox/Report/report.pdf").await,
        item("<1@x>", "report.pdf")
    );
    for whole in ["message.eml", "body.txt"] {
        assert_eq!(read(&world, &format!("{dir}/{whole}")).await, item("<1@x>", ""));
    }
    assert_eq!(remove(&world, dir, Removal::Dir).await, item("<1@x>", ""));
    world.make_dir("/Done").await.unwrap();
    assert_eq!(rename(&world, dir, "/Done/Report").await, item("<1@x>", ""));
    assert_eq!(
        remove(&world, "/Done/Report/report.pdf", Removal::File).await,
        item("<1@x>", "report.pdf")
    );
}

#[tokio::test]
async fn an_upload_is_told_of_as_the_draft_that_it_became() {
    let world = world(|_| {});
    let cx = cx();
    let how = OpenWrite::new(WriteMode::Replace);
    let open = world
        .mailbox
        .open_write(&cx, &path("/Inbox/x.part"), how)
        .await
        .unwrap();
    assert_eq!(said(&cx), item("", "x.part"));
    let how = Rename::NoReplace;
    open.retarget(&path("/Inbox/x.txt"), how).await.unwrap();
    assert_eq!(said(&cx), item("", "x.txt"));
    open.commit().await.unwrap();
    let told = said(&cx);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].1.ends_with("@portreeve.invalid>"), "{told:?}");
    assert_eq!(read(&world, "/Inbox/x.txt").await, told);
    // Under another name it is another draft.
    let renamed = rename(&world, "/Inbox/x.txt", "/Inbox/y.txt").await;
    assert_eq!(renamed[0], ("attachment", "y.txt".to_owned()));
    assert_ne!(renamed[2], told[2]);
    assert_eq!(read(&world, "/Inbox/y.txt").await, renamed);

    let cx = self::cx();
    let how = OpenWrite::new(WriteMode::Replace);
    let refused = world.mailbox.open_write(&cx, &path("/x.txt"), how).await;
    assert_eq!(
        (kind(refused), said(&cx)),
        (Some(FsErrorKind::Refused), item("", ""))
    );
}

#[tokio::test]
async fn a_message_that_is_taken_in_is_told_of_by_its_own_id() {
    let world = world(|options| options.mail.on_upload = OnUpload::Import);
    let header = format!("X-Long: {}\r\nMessage-ID: <two@x>\r\n", "x".repeat(2000));
    for (raw, id) in [
        (format!("{header}{}", mail("two", 2, &[("a", "a")])), "<two@x>"),
        (mail("three", 3, &[("b", "b")]), ""),
    ] {
        let cx = cx();
        let how = OpenWrite::new(WriteMode::Replace);
        let open = world
            .mailbox
            .open_write(&cx, &path("/Inbox/m.eml"), how)
            .await
            .unwrap();
        open.write(0, vec![raw.into()]).await.unwrap();
        open.commit().await.unwrap();
        assert_eq!(said(&cx), item(id, ""));
    }
}

//! Each message a directory.

use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_vfs::SpoolArea;

use super::{store::Far, *};
use crate::{Layout, MailOptions, MailStore, MemoryShelf, Surroundings};

fn world(change: impl Fn(&mut MaildirOptions)) -> World {
    World::empty(|options| {
        options.mail.on_upload = OnUpload::Refuse;
        options.mail.layout = Layout::Messages;
        change(options);
    })
}

#[tokio::test]
async fn messages_are_directories_with_their_attachments_and_themselves() {
    let mut world = world(|_| {});
    world.deliver(
        "cur/1.x:2,",
        mail("Report", 1, &[("a.pdf", "one"), ("A.pdf", "two")]),
    );
    world.deliver("cur/2.x:2,", mail("report", 2, &[("message.eml", "three")]));
    world.deliver("cur/3.x:2,", mail("No attachment", 3, &[]));
    let dirs = ["No attachment/", "Report/", "report (1)/"];
    assert_eq!(world.list("/Inbox").await, dirs);
    assert_eq!(
        world.list("/Inbox/Report").await,
        ["A (1).pdf", "a.pdf", "body.txt", "message.eml"]
    );
    assert_eq!(
        world.list("/Inbox/report (1)").await,
        ["body.txt", "message (1).eml", "message.eml"]
    );
    assert_eq!(
        world.list("/Inbox/No attachment").await,
        ["body.txt", "message.eml"]
    );
    assert_eq!(world.get("/Inbox/Report/a.pdf").await.unwrap(), b"one");
    assert_eq!(world.get("/Inbox/Report/A (1).pdf").await.unwrap(), b"two");
    assert_eq!(world.get("/Inbox/No attachment/body.txt").await.unwrap(), b"text");
    let whole = world.get("/Inbox/report (1)/message.eml").await.unwrap();
    assert_eq!(whole, mail("report", 2, &[("message.eml", "three")]).as_bytes());
    let stat = world.stat("/Inbox/Report").await.unwrap();
    assert!(stat.is_dir() && stat.modified.is_some());
    // Names stay over deletions and restarts.
    world.delete("/Inbox/Report/a.pdf").await.unwrap();
    world.restart();
    assert_eq!(world.list("/Inbox").await, dirs);
    assert_eq!(
        world.list("/Inbox/Report").await,
        ["A (1).pdf", "body.txt", "message.eml"]
    );
    // The message has changed, and its size with it: `get` compares.
    let whole = world.get("/Inbox/Report/message.eml").await.unwrap();
    assert!(!String::from_utf8(whole).unwrap().contains("one"));
    for (path, want) in [
        ("/Inbox/Report/none", FsErrorKind::NotFound),
        ("/Inbox/none/a.pdf", FsErrorKind::NotFound),
        ("/Inbox/Report/A (1).pdf/x", FsErrorKind::NotDir),
        ("/Inbox/Report", FsErrorKind::IsDir),
    ] {
        assert_eq!(kind(world.open(path).await), Some(want), "{path}");
    }
}

#[tokio::test]
async fn the_message_goes_by_the_rule() {
    let world = world(|_| {});
    world.deliver("cur/1.x:2,", mail("one", 1, &[("a", "a"), ("b", "b")]));
    world.deliver("cur/2.x:2,", mail("two", 2, &[]));
    world.list("/Inbox").await;
    assert_eq!(
        kind(world.remove_dir("/Inbox/one").await),
        Some(FsErrorKind::NotEmpty)
    );
    for whole in ["message.eml", "body.txt"] {
        let deleted = world.delete(&format!("/Inbox/one/{whole}")).await;
        assert_eq!(kind(deleted), Some(FsErrorKind::Refused));
    }
    assert_eq!(kind(world.delete("/Inbox/two").await), Some(FsErrorKind::IsDir));
    world.delete("/Inbox/one/a").await.unwrap();
    assert_eq!(world.list("/Inbox/one").await, ["b", "body.txt", "message.eml"]);
    world.delete("/Inbox/one/b").await.unwrap();
    assert_eq!(world.files("cur"), ["2.x:2,"]);
    world.remove_dir("/Inbox/two").await.unwrap();
    assert!(world.files("cur").is_empty());
    assert!(world.list("/Inbox").await.is_empty());
    assert_eq!(
        kind(world.remove_dir("/Inbox/two").await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn what_is_hidden_is_neither_shown_in_the_whole_nor_deleted_with_it() {
    let world = world(|options| options.mail.exclude = vec!["*.exe".into()]);
    world.deliver("cur/1.x:2,", mail("both", 1, &[("a.pdf", "a"), ("b.exe", "b")]));
    world.deliver("cur/2.x:2,", mail("hidden", 2, &[("b.exe", "b")]));
    // The whole message would show what is hidden.
    assert_eq!(world.list("/Inbox/both").await, ["a.pdf", "body.txt"]);
    assert_eq!(
        kind(world.open("/Inbox/both/message.eml").await),
        Some(FsErrorKind::NotFound)
    );
    world.delete("/Inbox/both/a.pdf").await.unwrap();
    for dir in ["/Inbox/both", "/Inbox/hidden"] {
        assert_eq!(
            kind(world.remove_dir(dir).await),
            Some(FsErrorKind::Refused),
            "{dir}"
        );
    }
    let moved = world.rename("/Inbox/hidden", "/x/hidden");
    assert!(moved.await.is_err());
    assert_eq!(world.files("cur").len(), 2);

    // Where only some names are asked for, messages without any are not there.
    let few = self::world(|options| options.mail.include = vec!["*.pdf".into()]);
    few.deliver("cur/1.x:2,", mail("one", 1, &[("a.pdf", "a")]));
    few.deliver("cur/2.x:2,", mail("two", 2, &[("b.txt", "b")]));
    assert_eq!(few.list("/Inbox").await, ["one/"]);
    assert_eq!(few.list("/Inbox/one").await, ["a.pdf"]);
}

#[tokio::test]
async fn messages_move_with_their_directory() {
    let world = world(|_| {});
    world.deliver("cur/1.x:2,", mail("one", 1, &[("a", "a"), ("b", "b")]));
    world.list("/Inbox").await;
    world.make_dir("/Done").await.unwrap();
    let refused = Some(FsErrorKind::Refused);
    assert_eq!(kind(world.rename("/Inbox/one", "/Done/other").await), refused);
    assert_eq!(kind(world.rename("/Inbox/one/a", "/Done/a").await), refused);
    assert_eq!(kind(world.make_dir("/Inbox/one/x").await), refused);
    world.rename("/Inbox/one", "/Done/one").await.unwrap();
    assert!(world.list("/Inbox").await.is_empty());
    assert_eq!(
        world.list("/Done/one").await,
        ["a", "b", "body.txt", "message.eml"]
    );
    assert_eq!(world.get("/Done/one/b").await.unwrap(), b"b");
}

/// The mailbox over one that is far away.
fn over(far: &Arc<Far>, exclude: &[&str]) -> Mailbox {
    let spool = Arc::new(SpoolArea::new(std::env::temp_dir(), 1 << 20, 1 << 20));
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    let mail = MailOptions {
        layout: Layout::Messages,
        exclude: exclude.iter().map(|&name| name.into()).collect(),
        ..MailOptions::default()
    };
    let around = Surroundings::new(Arc::new(MemoryShelf::default()), spool, cloud);
    Mailbox::over(Arc::clone(far) as Arc<dyn MailStore>, "test", &mail, &around).unwrap()
}

#[tokio::test]
async fn a_draft_that_is_edited_has_another_size_and_version() {
    let far = Far::whole();
    let id = far.deliver("draft", &[("a", "x")]);
    let mailbox = over(&far, &[]);
    let whole = path("/Inbox/draft/message.eml");
    let before = mailbox.stat(&cx(), &whole, Links::Keep).await.unwrap();
    assert_eq!(before.size, Some(7));
    assert_eq!(mailbox.stat(&cx(), &whole, Links::Keep).await.unwrap(), before);
    let attachment = path("/Inbox/draft/a");
    let part = mailbox.stat(&cx(), &attachment, Links::Keep).await.unwrap();
    {
        let mut inside = far.inside.lock();
        let mail = inside.mails.get_mut(&id).unwrap();
        mail.message.summary.subject = "draft, and more".into();
        mail.message.stamp = "2".into();
    }
    mailbox.look_again();
    // The name was given already, and stays.
    let after = mailbox.stat(&cx(), &whole, Links::Keep).await.unwrap();
    assert_eq!(after.size, Some(17));
    assert_ne!(after.version, before.version);
    let opened = mailbox.open_read(&cx(), &whole).await.unwrap();
    assert_eq!(
        opened.read(0, 99, Vec::new()).await.unwrap(),
        b"draft, and more\nx"
    );
    assert_eq!(mailbox.stat(&cx(), &attachment, Links::Keep).await.unwrap(), part);
}

#[tokio::test]
async fn the_whole_is_not_shown_where_what_it_hides_is_unknown() {
    let far = Far::whole();
    let part = far.deliver("part", &[("a", "x")]);
    far.deliver("all", &[("a", "x")]);
    far.inside.lock().mails.get_mut(&part).unwrap().message.complete = false;
    let there = async |exclude: &[&str], subject: &str| {
        let whole = path(&format!("/Inbox/{subject}/message.eml"));
        over(&far, exclude).stat(&cx(), &whole, Links::Keep).await.is_ok()
    };
    assert!(there(&[], "part").await, "nothing is hidden by name");
    assert!(there(&["*.xlsx"], "all").await);
    assert!(!there(&["*.xlsx"], "part").await);
}

#[tokio::test]
async fn what_is_part_of_the_text_is_judged_by_its_name_too() {
    let world = world(|options| options.mail.exclude = vec!["*.xlsx".into()]);
    for (n, name) in ["a.png", "b.xlsx"].into_iter().enumerate() {
        let inline = format!(
            "--b\r\nContent-Type: image/png; name={name}\r\nContent-Disposition: inline\r\n\
             Content-ID: <1>\r\n\r\nx\r\n--b--"
        );
        let raw = mail(name, 1, &[]).replace("--b--", &inline);
        world.deliver(&format!("cur/{n}.x:2,"), raw);
    }
    assert_eq!(world.list("/Inbox/a.png").await, ["body.txt", "message.eml"]);
    assert_eq!(world.list("/Inbox/b.xlsx").await, ["body.txt"]);
}

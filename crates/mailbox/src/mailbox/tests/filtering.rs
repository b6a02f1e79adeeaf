//! Least privilege below the mailbox: what is filtered is reached by no operation.

use super::*;

async fn refused(world: &World, file: &str) {
    let missing = Some(FsErrorKind::NotFound);
    assert_eq!(kind(world.open(file).await), missing, "{file}");
    assert_eq!(kind(world.delete(file).await), missing, "{file}");
    let stat = world.stat(file).await;
    assert_eq!(kind(stat), missing, "{file}");
    let renamed = world.rename(file, "/Archive/x");
    assert_eq!(kind(renamed.await), missing, "{file}");
}

#[tokio::test]
async fn messages_are_shown_by_author_and_subject() {
    let world = World::sample(|o| o.mail.subjects = vec!["report*".into()]);
    let names = [
        "Report for May 2024-income-2024-05-01.csv",
        "Report for May 2024-report-may.pdf",
    ];
    assert_eq!(world.list("/Inbox").await, names);
    refused(&world, "/Inbox/Order ACME Ltd-order.xml").await;
    // A folder with hidden mail is not empty.
    let removed = world.remove_dir("/Projects").await;
    assert_eq!(kind(removed), Some(FsErrorKind::NotEmpty));
    assert!(world.list("/Projects").await.is_empty());
    let nobody = World::sample(|o| o.mail.senders = vec!["nobody@nowhere".into()]);
    assert!(nobody.list("/Inbox").await.is_empty());
    let none = World::sample(|o| o.mail.categories = vec!["none".into()]);
    assert!(none.list("/Inbox").await.is_empty());
}

#[tokio::test]
async fn what_is_hidden_by_name_keeps_its_message() {
    let world = World::empty(|o| o.mail.exclude = vec!["*.exe".into()]);
    world.deliver("cur/1.x:2,", mail("s", 1, &[("a.pdf", "a"), ("b.exe", "b")]));
    assert_eq!(world.list("/Inbox").await, ["s-a.pdf"]);
    world.delete("/Inbox/s-a.pdf").await.unwrap();
    assert_eq!(world.files("cur"), ["1.x:2,"]);
}

#[tokio::test]
async fn folders_are_shown_with_what_leads_to_them() {
    let world = World::sample(|o| o.mail.folders = vec!["/Archive/2024".into()]);
    assert_eq!(world.list("/").await, ["Archive/"]);
    assert_eq!(world.list("/Archive").await, ["2024/"]);
    assert_eq!(world.list("/Archive/2024").await.len(), 2);
    for hidden in ["/Inbox", "/Projects", "/Inbox/Order ACME Ltd-order.xml"] {
        let stat = world.stat(hidden).await;
        assert_eq!(kind(stat), Some(FsErrorKind::NotFound), "{hidden}");
        let listed = world.mailbox.list(&cx(), &path(hidden), None).await;
        assert_eq!(kind(listed), Some(FsErrorKind::NotFound), "{hidden}");
        let removed = world.remove_dir(hidden).await;
        assert_eq!(kind(removed), Some(FsErrorKind::NotFound), "{hidden}");
    }
    for put in ["/Archive/x.txt", "/Inbox/x.txt"] {
        assert!(world.put(put, b"x").await.is_err(), "{put}");
    }
    for made in ["/New", "/Archive/2025", "/Archive/2024/May"] {
        let made = world.make_dir(made).await;
        assert_eq!(kind(made), Some(FsErrorKind::Refused));
    }
    assert_eq!(
        kind(world.rename("/Archive", "/Old").await),
        Some(FsErrorKind::Refused)
    );
    assert_eq!(
        kind(world.rename("/Archive/2024", "/Archive/2023").await),
        Some(FsErrorKind::Refused)
    );
    assert_eq!(
        kind(world.rename("/Inbox", "/Archive/2024/x").await),
        Some(FsErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_rename_brings_no_hidden_folder_to_light() {
    let world =
        World::sample(|o| o.mail.folders = vec!["/Archive".into(), "/Shown/**".into(), "/Shown".into()]);
    // `/Archive/2024` is hidden, and would be shown below `/Shown`.
    assert!(!world.list("/Archive").await.contains(&"2024/".to_owned()));
    world.make_dir("/Shown").await.unwrap();
    let renamed = world.rename("/Archive", "/Shown/Archive");
    assert_eq!(kind(renamed.await), Some(FsErrorKind::Refused));
}

#[tokio::test]
async fn processed_messages_may_go_to_a_folder_that_is_not_shown() {
    let world = World::empty(|o| {
        o.mail.folders = vec!["/Inbox".into()];
        o.mail.on_delete = crate::OnDelete::Move;
        o.mail.move_to = Some("/Processed".into());
    });
    world.deliver(".Processed/cur/0.x:2,", mail("old", 1, &[("a", "a")]));
    for sub in ["new", "tmp"] {
        fs::create_dir_all(world.root(&format!(".Processed/{sub}"))).unwrap();
    }
    world.deliver("cur/1.x:2,", mail("s", 1, &[("a.pdf", "a")]));
    assert_eq!(world.list("/").await, ["Inbox/"]);
    world.look_again();
    world.delete("/Inbox/s-a.pdf").await.unwrap();
    assert_eq!(world.files(".Processed/cur").len(), 2);
}

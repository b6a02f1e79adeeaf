//! Listing and reading.

use super::*;

#[tokio::test]
async fn attachments_are_listed_and_read_and_nothing_is_marked() {
    let Some(world) =
        World::new(|options| options.mail.template = "{message.subject}-{attachment.name}".into())
    else {
        return;
    };
    let large = portreeve_tests::data::bytes(3_000_001, 7);
    world.dovecot.deliver(
        "alice",
        "INBOX",
        &mail("Order", 1, &[("a.bin", b"one"), ("large.bin", &large)]),
    );
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("Order", 2, &[("a.bin", b"")]));
    assert_eq!(world.list("/").await, ["Drafts", "Inbox", "Trash"]);
    let names = world.list("/Inbox").await;
    assert_eq!(names, ["Order-a (1).bin", "Order-a.bin", "Order-large.bin"]);
    assert_eq!(world.size("/Inbox/Order-a.bin").await, Some(3));
    assert_eq!(world.read("/Inbox/Order-a.bin").await.unwrap(), b"one");
    assert_eq!(world.read("/Inbox/Order-a (1).bin").await.unwrap(), b"");
    assert!(world.read("/Inbox/Order-large.bin").await.unwrap() == large);
    let seen = world
        .dovecot
        .doveadm(&["search", "-u", "alice", "mailbox", "INBOX", "SEEN"], b"");
    assert_eq!(seen, "", "reading leaves no mark");
    assert_eq!(
        kind(world.read("/Inbox/Order-b.bin").await),
        Some(FsErrorKind::NotFound)
    );
}

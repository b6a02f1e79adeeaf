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

#[tokio::test]
async fn a_connection_that_has_not_heard_of_a_message_asks_before_it_denies_it() {
    let Some(world) =
        World::new(|options| options.fresh_for = DurationText(std::time::Duration::from_millis(500)))
    else {
        return;
    };
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("Old", 1, &[("old.txt", b"old")]));
    assert_eq!(world.list("/Inbox").await, ["old.txt"]);
    let pool = &world.store.inner.pool;
    let (mut first, mut second) = (
        pool.take(Some("INBOX")).await.unwrap(),
        pool.take(Some("INBOX")).await.unwrap(),
    );
    for lease in [&mut first, &mut second] {
        let connection = lease.connection().unwrap();
        connection.select("INBOX", false, true).await.unwrap();
    }
    drop(first);
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("New", 2, &[("new.txt", b"new")]));
    drop(second);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    // The second hears of it and is then in use: the first, which has not, is asked for the content.
    assert_eq!(world.list("/Inbox").await, ["new.txt", "old.txt"]);
    let held = pool.take(Some("INBOX")).await.unwrap();
    assert_eq!(world.read("/Inbox/new.txt").await.unwrap(), b"new");
    drop(held);
    assert_eq!(pool.dialled(), 2);
}

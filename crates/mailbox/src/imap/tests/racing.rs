//! Messages that are written anew while somebody else looks at their folder.

use std::{collections::VecDeque, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::Change;

/// The records of one space.
type Held = Vec<(String, String)>;

/// A shelf that answers with what it held before, once for each of `before` that is some: as it is for who asked just
/// before a change.
#[derive(Default)]
struct Late {
    shelf: MemoryShelf,
    before: Mutex<VecDeque<Option<Held>>>,
}

#[async_trait]
impl Shelf for Late {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        if space.contains("\u{0}written\u{0}")
            && let Some(Some(before)) = self.before.lock().pop_front()
        {
            return Ok(before);
        }
        self.shelf.load(space).await
    }

    async fn save(&self, space: &str, changes: &[Change]) -> FsResult<()> {
        self.shelf.save(space, changes).await
    }

    async fn replace(&self, space: &str, records: &[(String, String)]) -> FsResult<()> {
        self.shelf.replace(space, records).await
    }

    async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        self.shelf.rename(from, to).await
    }

    async fn spaces(&self, prefix: &str) -> FsResult<Vec<String>> {
        self.shelf.spaces(prefix).await
    }
}

/// A world with such a shelf, in whose inbox is a message that was written anew, and one that came after it was looked
/// at.
async fn written_anew() -> Option<(World, Arc<Late>)> {
    let mut world = World::new(|_| {})?;
    let late = Arc::new(Late::default());
    world.around.shelf = Arc::clone(&late) as Arc<dyn Shelf>;
    (world.store, world.mailbox) = open(&world.options, &world.around);
    let parts: [(&str, &[u8]); 3] = [("a.txt", b"one"), ("b.txt", b"two"), ("c.txt", b"three")];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &parts));
    world.delete("/Inbox/b.txt").await.unwrap();
    Some((world, late))
}

#[tokio::test]
async fn who_looks_while_a_message_is_written_anew_sees_its_files_under_their_names() {
    let Some((world, late)) = written_anew().await else {
        return;
    };
    let known = world.store.inner.index(&inbox()).await.unwrap();
    late.before.lock().push_back(Some(Vec::new()));
    world.store.inner.slots.of(&inbox()).stale();
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 2, &[("d.txt", b"four")]));
    assert_eq!(world.list("/Inbox").await, ["a.txt", "c.txt", "d.txt"]);
    assert!(
        late.before.lock().is_empty(),
        "nobody asked: the test shows nothing"
    );
    let after = world.store.inner.index(&inbox()).await.unwrap();
    for (uid, message) in &known.known {
        assert_eq!(after.known[uid].message.id, message.message.id);
    }
    assert_eq!(world.read("/Inbox/c.txt").await.unwrap(), b"three");
}

/// Somebody writes for long, and records change at each look: what is seen is shown, and not taken for the truth.
#[tokio::test]
async fn who_looks_does_not_wait_for_a_long_change() {
    let Some((world, late)) = written_anew().await else {
        return;
    };
    let inner = &world.store.inner;
    let known = inner.index(&inbox()).await.unwrap();
    let turn = inner.changing.lock().await;
    late.before
        .lock()
        .extend([Some(Vec::new()), None, Some(Vec::new()), None]);
    inner.slots.of(&inbox()).stale();
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 2, &[("d.txt", b"four")]));
    let inbox = inbox();
    let torn = tokio::time::timeout(Duration::from_secs(30), inner.index(&inbox));
    let torn = torn.await.expect("it waits for the turn").unwrap();
    assert!(
        late.before.lock().is_empty(),
        "nobody asked: the test shows nothing"
    );
    assert_eq!(torn.known.len(), 2);
    let slot = inner.slots.of(&inbox);
    assert!(slot.fresh(Duration::MAX, Duration::MAX).is_none());
    // What is looked at next is right, whoever has the turn, and fetches anew only what may be wrong.
    let after = inner.index(&inbox).await.unwrap();
    for (uid, message) in &known.known {
        assert_eq!(after.known[uid].message, message.message);
    }
    let new = after.known.keys().max().unwrap();
    assert!(Arc::ptr_eq(&after.known[new], &torn.known[new]));
    assert!(slot.fresh(Duration::MAX, Duration::MAX).is_some());
    drop(turn);
}

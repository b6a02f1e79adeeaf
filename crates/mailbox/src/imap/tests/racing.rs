//! Messages that are written anew while somebody else looks at their folder.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::Change;

/// A shelf that once answers with what it held before: as it is for who asked just before a change.
#[derive(Default)]
struct Late {
    shelf: MemoryShelf,
    before: Mutex<Option<Vec<(String, String)>>>,
}

#[async_trait]
impl Shelf for Late {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        if space.contains("\u{0}written\u{0}")
            && let Some(before) = self.before.lock().take()
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

#[tokio::test]
async fn who_looks_while_a_message_is_written_anew_sees_its_files_under_their_names() {
    let Some(mut world) = World::new(|_| {}) else {
        return;
    };
    let late = Arc::new(Late::default());
    world.around.shelf = Arc::clone(&late) as Arc<dyn Shelf>;
    (world.store, world.mailbox) = open(&world.options, &world.around);
    let parts: [(&str, &[u8]); 3] = [("a.txt", b"one"), ("b.txt", b"two"), ("c.txt", b"three")];
    world.dovecot.deliver("alice", "INBOX", &mail("s", 1, &parts));
    world.delete("/Inbox/b.txt").await.unwrap();
    let known = world.store.inner.index(&inbox()).await.unwrap();
    *late.before.lock() = Some(Vec::new());
    world.store.inner.slots.of(&inbox()).stale();
    world
        .dovecot
        .deliver("alice", "INBOX", &mail("s", 2, &[("d.txt", b"four")]));
    assert_eq!(world.list("/Inbox").await, ["a.txt", "c.txt", "d.txt"]);
    assert!(
        late.before.lock().is_none(),
        "nobody asked: the test shows nothing"
    );
    let after = world.store.inner.index(&inbox()).await.unwrap();
    for (uid, message) in &known.known {
        assert_eq!(after.known[uid].message.id, message.message.id);
    }
    assert_eq!(world.read("/Inbox/c.txt").await.unwrap(), b"three");
}

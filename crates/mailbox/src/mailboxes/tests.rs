use std::sync::atomic::{AtomicU32, Ordering};

use portreeve_model::SessionId;
use portreeve_vfs::{
    FileKind, Memory, Owner, WriteMode,
    conformance::{Fixture, Stage, run},
};

use super::*;

fn cx() -> OpCx {
    OpCx::new(SessionId::fresh(), Owner("alice".into()), Default::default())
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

fn kind<T>(result: FsResult<T>) -> Option<FsErrorKind> {
    result.err().map(|error| error.kind())
}

fn addresses(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Makes mailboxes in memory and counts them; that of `down@x` cannot be made.
fn make(made: &Arc<AtomicU32>) -> MakeMailbox {
    let made = Arc::clone(made);
    Box::new(move |address| {
        made.fetch_add(1, Ordering::SeqCst);
        if address == "down@x" {
            return Err(FsErrorKind::Backend.into());
        }
        Ok(Arc::new(Memory::new()))
    })
}

async fn names(fs: &Mailboxes, dir: &str) -> Vec<String> {
    let mut listing = fs.list(&cx(), &path(dir), None).await.unwrap();
    let mut out = Vec::new();
    loop {
        let some = listing.next(1).await.unwrap();
        if some.is_empty() {
            return out;
        }
        out.extend(some.into_iter().map(|entry| entry.name.unwrap().to_string()));
    }
}

async fn put(fs: &Mailboxes, file: &str) -> FsResult<()> {
    let open = fs
        .open_write(&cx(), &path(file), OpenWrite::new(WriteMode::CreateNew))
        .await?;
    open.write(0, vec!["x".into()]).await?;
    open.commit().await.map(drop)
}

#[tokio::test]
async fn each_mailbox_is_a_directory_and_one_that_fails_touches_no_other() {
    let made = Arc::new(AtomicU32::new(0));
    let list = addresses(&["b@x", "down@x", "a@x"]);
    let fs = Mailboxes::listed(&list, make(&made)).unwrap();
    let before = made.load(Ordering::SeqCst);
    assert_eq!(names(&fs, "/").await, ["a@x", "b@x", "down@x"]);
    assert_eq!(made.load(Ordering::SeqCst), before, "the top makes none");
    put(&fs, "/a@x/file").await.unwrap();
    assert_eq!(names(&fs, "/a@x").await, ["file"]);
    assert!(names(&fs, "/b@x").await.is_empty());
    assert_eq!(
        kind(fs.list(&cx(), &path("/down@x"), None).await),
        Some(FsErrorKind::Backend)
    );
    assert_eq!(names(&fs, "/a@x").await, ["file"]);
    for missing in ["/c@x", "/A@x", "/c@x/file"] {
        assert_eq!(
            kind(fs.stat(&cx(), &path(missing), Links::Keep).await),
            Some(FsErrorKind::NotFound),
            "{missing}"
        );
    }
    let stat = fs.stat(&cx(), &path("/b@x"), Links::Keep).await.unwrap();
    assert_eq!(stat.kind, FileKind::Dir);
}

#[tokio::test]
async fn nothing_goes_from_one_mailbox_to_another() {
    let fs = Mailboxes::listed(&addresses(&["a@x", "b@x"]), make(&Arc::default())).unwrap();
    put(&fs, "/a@x/file").await.unwrap();
    let (a, b) = (path("/a@x/file"), path("/b@x/file"));
    let crosses = Some(FsErrorKind::CrossMount);
    assert_eq!(kind(fs.rename(&cx(), &a, &b, Rename::NoReplace).await), crosses);
    assert_eq!(kind(fs.copy(&cx(), &a, &b, Rename::NoReplace).await), crosses);
    let (how, new) = (OpenWrite::new(WriteMode::CreateNew), path("/a@x/new"));
    let open = fs.open_write(&cx(), &new, how).await.unwrap();
    assert_eq!(kind(open.retarget(&b, Rename::NoReplace).await), crosses);
    open.retarget(&path("/a@x/newer"), Rename::NoReplace)
        .await
        .unwrap();
    open.commit().await.unwrap();
    assert_eq!(names(&fs, "/a@x").await, ["file", "newer"]);
    let refused = Some(FsErrorKind::Refused);
    for top in ["/", "/a@x"] {
        let top = path(top);
        assert_eq!(kind(fs.remove(&cx(), &top, Removal::Dir).await), refused);
        assert_eq!(
            kind(fs.rename(&cx(), &top, &path("/c@x"), Rename::Replace).await),
            refused
        );
    }
    assert!(fs.make_dir(&cx(), &path("/a@x"), Attrs::default()).await.is_err());
    assert!(put(&fs, "/file").await.is_err());
}

#[tokio::test]
async fn any_address_is_one_mailbox_and_as_many_are_held_as_agreed() {
    let made = Arc::new(AtomicU32::new(0));
    let fs = Mailboxes::any(make(&made)).unwrap();
    put(&fs, "/Alice@X/file").await.unwrap();
    assert_eq!(names(&fs, "/alice@x").await, ["file"]);
    assert!(names(&fs, "/").await.is_empty());
    for none in ["/a@b,c@d", "/a b@c", "/*"] {
        assert_eq!(
            kind(fs.stat(&cx(), &path(none), Links::Keep).await),
            Some(FsErrorKind::NotFound),
            "{none}"
        );
    }
    for n in 0..2 * MAX_HELD {
        names(&fs, &format!("/user{n}@x")).await;
    }
    assert_eq!(fs.held.lock().mailboxes.len(), MAX_HELD);
}

#[test]
fn lists_say_what_is_wrong() {
    for (list, part) in [
        (vec![], "empty"),
        (vec!["a/b@x"], "'a/b@x'"),
        (vec!["a@x", "A@x"], "twice"),
    ] {
        let error = Mailboxes::listed(&addresses(&list), make(&Arc::default()))
            .err()
            .unwrap();
        assert_eq!(error.option, "mailbox");
        assert!(error.text.contains(part), "{error}");
    }
}

struct Two;
struct Staged(Arc<Mailboxes>);

#[async_trait]
impl Fixture for Two {
    async fn stage(&self) -> Box<dyn Stage> {
        let fs = Mailboxes::listed(&addresses(&["a@x", "b@x"]), make(&Arc::default())).unwrap();
        Box::new(Staged(Arc::new(fs)))
    }
}

#[async_trait]
impl Stage for Staged {
    fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.0) as Arc<dyn FileSystem>
    }

    fn base(&self) -> VPath {
        path("/a@x")
    }
}

#[tokio::test]
async fn conforms() {
    let report = run(&Two).await.unwrap();
    assert!(report.passed.len() > 20, "{}", report.passed.len());
}

//! What a storage says of its files stands in their records; what it does not say, or was not asked, does not.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsErrorKind, FsResult, Links, Listing, Memory, Note,
    OpCx, OpenWrite, Partial, ReadFile, Removal, Rename, WriteFile,
};
use serde_json::{Value, json};

use super::*;

/// Says of each path which shelf it is on and, of a file that is there, which number it has.
#[derive(Clone, Default)]
struct Library {
    memory: Memory,
    /// Of the upload that was opened last.
    upload: Arc<Mutex<Option<Note>>>,
}

impl Library {
    async fn tell(&self, cx: &OpCx, path: &VPath) {
        cx.note().put("shelf", "A");
        if self.memory.stat(cx, path, Links::Keep).await.is_ok() {
            cx.note().put("number", path.to_string());
        }
    }
}

#[async_trait]
impl FileSystem for Library {
    fn capabilities(&self) -> &Capabilities {
        self.memory.capabilities()
    }
    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.memory.stat(cx, path, links).await
    }
    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.memory.list(cx, dir, from).await
    }
    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.tell(cx, file).await;
        self.memory.open_read(cx, file).await
    }
    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        self.tell(cx, file).await;
        *self.upload.lock() = Some(cx.note().clone());
        self.memory.open_write(cx, file, how).await
    }
    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.memory.partial(cx, file).await
    }
    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.memory.make_dir(cx, dir, attrs).await
    }
    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.tell(cx, path).await;
        self.memory.remove(cx, path, what).await
    }
    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.tell(cx, from).await;
        self.memory.rename(cx, from, to, how).await
    }
    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.memory.set_attrs(cx, path, attrs, links).await
    }
    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.tell(cx, from).await;
        self.memory.copy(cx, from, to, how).await
    }
}

/// Act, outcome and item of every record on files.
fn told(rig: &Rig) -> Vec<(String, String, Value)> {
    let records = rig
        .records()
        .into_iter()
        .filter(|record| record["path"].is_string());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    records
        .map(|record| {
            (
                word(&record["act"]),
                word(&record["outcome"]),
                record["item"].clone(),
            )
        })
        .collect()
}

fn row(act: &str, outcome: &str, item: Value) -> (String, String, Value) {
    (act.to_owned(), outcome.to_owned(), item)
}

#[tokio::test]
async fn what_a_storage_says_of_a_file_is_recorded_with_it() {
    let library = Library::default();
    let rig = Rig::new(library.clone(), &Terms::default());
    let session = rig.session().await;
    let fs = session.fs();
    put(&session, "/a", 10).await.unwrap();
    let download = fs.download(&p("/a")).await.unwrap();
    fs.copy(&p("/a"), &p("/b"), Rename::NoReplace).await.unwrap();
    fs.rename(&p("/a"), &p("/c"), Rename::NoReplace).await.unwrap();
    fs.remove(&p("/c"), Removal::File).await.unwrap();
    download.read(0, 10, Vec::new()).await.unwrap();
    drop(download);
    fs.download(&p("/a")).await.unwrap_err();
    assert_eq!(
        told(&rig),
        [
            row("upload", "ok", json!({ "shelf": "A" })),
            row("copy", "ok", json!({ "shelf": "A", "number": "/a" })),
            row("rename", "ok", json!({ "shelf": "A", "number": "/a" })),
            row("remove-file", "ok", json!({ "shelf": "A", "number": "/c" })),
            row("download", "ok", json!({ "shelf": "A", "number": "/a" })),
            row("download", "failed", json!({ "shelf": "A" })),
        ]
    );
}

#[tokio::test]
async fn an_upload_is_told_of_as_what_it_became() {
    let library = Library::default();
    let rig = Rig::new(library.clone(), &Terms::default());
    let session = rig.session().await;
    let fs = session.fs();
    let upload = fs.upload(&p("/a.part"), how(WriteMode::Replace)).await.unwrap();
    let note = library.upload.lock().clone().unwrap();
    fs.rename(&p("/a.part"), &p("/a"), Rename::NoReplace)
        .await
        .unwrap();
    note.put("number", "17");
    upload.commit().await.unwrap();
    assert_eq!(
        told(&rig),
        [
            row("rename", "ok", json!({ "shelf": "A" })),
            row("upload", "ok", json!({ "shelf": "A", "number": "17" })),
        ]
    );
    // One that fails says what is known by then.
    let upload = fs.upload(&p("/b"), how(WriteMode::Replace)).await.unwrap();
    upload.discard().await.unwrap();
    assert_eq!(
        told(&rig).pop(),
        Some(row("upload", "failed", json!({ "shelf": "A" })))
    );
}

#[tokio::test]
async fn who_was_not_asked_says_nothing() {
    let terms = Terms {
        verbs: Some(&["list", "create"]),
        ..Terms::default()
    };
    let rig = Rig::new(Library::default(), &terms);
    let session = rig.session().await;
    put(&session, "/a", 10).await.unwrap();
    let refused = session.fs().remove(&p("/a"), Removal::File).await.unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::Refused);
    session.fs().download(&p("/a")).await.unwrap_err();
    let told = told(&rig);
    assert_eq!(told[0].2, json!({ "shelf": "A" }));
    assert_eq!(told[1], row("remove-file", "refused", Value::Null));
    assert_eq!(told[2], row("download", "refused", Value::Null));

    let plain = Rig::plain();
    put(&plain.session().await, "/a", 10).await.unwrap();
    assert!(plain.records().iter().all(|record| record.get("item").is_none()));
}

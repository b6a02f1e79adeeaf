//! The check over a storage that can do everything but claims less: whatever gets through is seen.

use bytes::Bytes;
use portreeve_model::Timestamp;

use super::*;
use crate::{Faulty, Memory, Names, testing::*};

/// A full storage that claims `caps`, and the counter of what reached it.
struct Claims {
    inner: Arc<Faulty>,
    caps: Capabilities,
}

#[async_trait]
impl FileSystem for Claims {
    fn capabilities(&self) -> &Capabilities {
        &self.caps
    }
    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.inner.stat(cx, path, links).await
    }
    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        self.inner.list(cx, dir, from).await
    }
    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        self.inner.open_read(cx, file).await
    }
    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        self.inner.open_write(cx, file, how).await
    }
    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.inner.partial(cx, file).await
    }
    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.inner.make_dir(cx, dir, attrs).await
    }
    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.inner.remove(cx, path, what).await
    }
    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.rename(cx, from, to, how).await
    }
    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.inner.set_attrs(cx, path, attrs, links).await
    }
    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.copy(cx, from, to, how).await
    }
    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        self.inner.space(cx, path).await
    }
    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        self.inner.link(cx, existing, new).await
    }
    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        self.inner.read_link(cx, path).await
    }
}

fn claiming(switch: impl FnOnce(&mut Capabilities)) -> (Arc<Faulty>, Memory, Checked) {
    let memory = Memory::new();
    memory.plant(&path("/file"), b"content").unwrap();
    memory.plant(&path("/dir/below"), b"x").unwrap();
    let inner = Arc::new(Faulty::over(Arc::new(memory.clone())));
    let mut caps = Capabilities::full();
    switch(&mut caps);
    let claims = Claims {
        inner: inner.clone(),
        caps,
    };
    (inner, memory, Checked::over(Arc::new(claims)))
}

async fn open(fs: &Checked, name: &str, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
    fs.open_write(&cx("alice"), &VPath::parse(name).unwrap(), how)
        .await
}

async fn resize(fs: &Checked, size: u64) -> FsResult<()> {
    let attrs = Attrs {
        size: Some(size),
        ..Attrs::default()
    };
    fs.set_attrs(&cx("a"), &path("/file"), attrs, Links::Follow).await
}

fn new(mode: WriteMode) -> OpenWrite {
    OpenWrite::new(mode)
}

#[tokio::test]
async fn refuses_in_words_before_the_storage_is_asked() {
    type Try = for<'a> fn(&'a Checked) -> futures::future::BoxFuture<'a, FsResult<()>>;
    type Row = (fn(&mut Capabilities), Try, FsErrorKind, &'static str);
    let table: [Row; 21] = [
        (
            |c| c.write = WriteAccess::None,
            |fs| Box::pin(async { open(fs, "/n", new(WriteMode::Replace)).await.map(drop) }),
            FsErrorKind::ReadOnly,
            "read-only",
        ),
        (
            |c| c.names = Names::Utf8,
            |fs| {
                Box::pin(async {
                    fs.open_write(
                        &cx("a"),
                        &VPath::parse(b"/\xff").unwrap(),
                        new(WriteMode::Replace),
                    )
                    .await
                    .map(drop)
                })
            },
            FsErrorKind::InvalidName,
            "UTF-8",
        ),
        (
            |c| c.max_name = 4,
            |fs| Box::pin(async { open(fs, "/longer", new(WriteMode::Replace)).await.map(drop) }),
            FsErrorKind::InvalidName,
            "at most 4",
        ),
        (
            |c| c.max_name = 4,
            |fs| Box::pin(async { fs.make_dir(&cx("a"), &path("/longer"), Attrs::default()).await }),
            FsErrorKind::InvalidName,
            "6 bytes",
        ),
        (
            |c| c.max_name = 4,
            |fs| {
                Box::pin(async {
                    fs.rename(&cx("a"), &path("/file"), &path("/longer"), Rename::Replace)
                        .await
                })
            },
            FsErrorKind::InvalidName,
            "at most 4",
        ),
        (
            |c| c.max_file = Some(9),
            |fs| {
                Box::pin(async {
                    open(
                        fs,
                        "/n",
                        OpenWrite {
                            size_hint: Some(10),
                            ..new(WriteMode::Replace)
                        },
                    )
                    .await
                    .map(drop)
                })
            },
            FsErrorKind::TooLarge,
            "at most 9",
        ),
        (
            |c| c.max_file = Some(9),
            |fs| Box::pin(resize(fs, 10)),
            FsErrorKind::TooLarge,
            "at most 9",
        ),
        (
            |c| c.resume = false,
            |fs| Box::pin(async { open(fs, "/n", new(WriteMode::Resume { at: 0 })).await.map(drop) }),
            FsErrorKind::Unsupported,
            "go on with",
        ),
        (
            |c| c.write = WriteAccess::Sequential,
            |fs| {
                Box::pin(async {
                    open(
                        fs,
                        "/n",
                        OpenWrite {
                            read_back: true,
                            ..new(WriteMode::Replace)
                        },
                    )
                    .await
                    .map(drop)
                })
            },
            FsErrorKind::Unsupported,
            "read back",
        ),
        (
            |c| c.remove = false,
            |fs| Box::pin(async { fs.remove(&cx("a"), &path("/file"), Removal::File).await }),
            FsErrorKind::Unsupported,
            "remove files",
        ),
        (
            |c| c.directories = false,
            |fs| Box::pin(async { fs.make_dir(&cx("a"), &path("/d"), Attrs::default()).await }),
            FsErrorKind::Unsupported,
            "make directories",
        ),
        (
            |c| c.directories = false,
            |fs| Box::pin(async { fs.remove(&cx("a"), &path("/dir"), Removal::Dir).await }),
            FsErrorKind::Unsupported,
            "remove directories",
        ),
        (
            |c| {
                c.rename = false;
                c.moves = false;
                c.rename_dir = false;
            },
            |fs| {
                Box::pin(async {
                    fs.rename(&cx("a"), &path("/file"), &path("/n"), Rename::Replace)
                        .await
                })
            },
            FsErrorKind::Unsupported,
            "rename",
        ),
        (
            |c| c.set_times = false,
            |fs| {
                Box::pin(async {
                    fs.set_attrs(
                        &cx("a"),
                        &path("/file"),
                        Attrs {
                            modified: Some(Timestamp::default()),
                            ..Attrs::default()
                        },
                        Links::Follow,
                    )
                    .await
                })
            },
            FsErrorKind::Unsupported,
            "set times",
        ),
        (
            |c| c.set_mode = false,
            |fs| {
                Box::pin(async {
                    fs.set_attrs(
                        &cx("a"),
                        &path("/file"),
                        Attrs {
                            mode: Some(0o600),
                            ..Attrs::default()
                        },
                        Links::Follow,
                    )
                    .await
                })
            },
            FsErrorKind::Unsupported,
            "permissions",
        ),
        (
            |c| c.update = false,
            |fs| Box::pin(resize(fs, 0)),
            FsErrorKind::Unsupported,
            "size",
        ),
        (
            |c| c.copy = false,
            |fs| {
                Box::pin(async {
                    fs.copy(&cx("a"), &path("/file"), &path("/n"), Rename::Replace)
                        .await
                })
            },
            FsErrorKind::Unsupported,
            "copy",
        ),
        (
            |c| c.space = false,
            |fs| Box::pin(async { fs.space(&cx("a"), &path("/")).await.map(drop) }),
            FsErrorKind::Unsupported,
            "space",
        ),
        (
            |c| c.hard_links = false,
            |fs| Box::pin(async { fs.link(&cx("a"), &path("/file"), &path("/n")).await }),
            FsErrorKind::Unsupported,
            "hard links",
        ),
        (
            |c| c.symlinks = false,
            |fs| Box::pin(async { fs.read_link(&cx("a"), &path("/file")).await.map(drop) }),
            FsErrorKind::Unsupported,
            "symbolic links",
        ),
        (
            |c| {
                c.append = false;
                c.resume = false;
            },
            |fs| {
                Box::pin(async {
                    open(fs, "/file", new(WriteMode::Append { create: false }))
                        .await
                        .map(drop)
                })
            },
            FsErrorKind::Unsupported,
            "add to existing",
        ),
    ];
    for (i, (switch, attempt, kind, words)) in table.into_iter().enumerate() {
        let (below, _, fs) = claiming(switch);
        let end = attempt(&fs).await.unwrap_err();
        assert_eq!(end.kind(), kind, "row {i}");
        assert!(end.message().contains(words), "row {i}: {end}");
        assert_eq!(below.calls(), 0, "row {i} reached the storage");
    }
}

#[tokio::test]
async fn what_cannot_be_replaced_is_not_even_in_a_race() {
    let (_, memory, fs) = claiming(|c| c.replace = false);
    let end = open(&fs, "/file", new(WriteMode::Replace))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(
        (end.kind(), end.message().contains("cannot replace")),
        (FsErrorKind::Exists, true)
    );
    let file = open(&fs, "/late", new(WriteMode::Replace)).await.unwrap();
    memory.plant(&path("/late"), b"early").unwrap();
    assert_eq!(file.commit().await.unwrap_err().kind(), FsErrorKind::Exists);
    assert_eq!(
        file.retarget(&path("/file"), Rename::Replace)
            .await
            .unwrap_err()
            .kind(),
        FsErrorKind::Exists
    );
    for end in [
        fs.rename(&cx("a"), &path("/late"), &path("/file"), Rename::Replace)
            .await,
        fs.copy(&cx("a"), &path("/late"), &path("/file"), Rename::Replace)
            .await,
    ] {
        assert_eq!(end.unwrap_err().kind(), FsErrorKind::Exists);
    }
    assert_eq!(get(&memory, "/file").await.unwrap(), b"content");
}

#[tokio::test]
async fn update_and_append_still_make_new_files_and_go_on_with_partials() {
    let modes = [
        WriteMode::Update { create: true },
        WriteMode::Append { create: true },
    ];
    for mode in modes {
        let (_, memory, fs) = claiming(|c| {
            c.update = false;
            c.append = false;
        });
        let end = open(&fs, "/file", new(mode)).await.map(drop).unwrap_err();
        assert_eq!(end.kind(), FsErrorKind::Unsupported);
        assert!(end.message().contains("existing files"), "{end}");
        let file = open(&fs, "/new", new(mode)).await.unwrap();
        file.write(0, vec![Bytes::from_static(b"ab")]).await.unwrap();
        assert_eq!(file.keep().await.unwrap(), 2);
        let file = open(&fs, "/new", new(mode)).await.unwrap();
        file.append(vec![Bytes::from_static(b"cd")]).await.unwrap();
        file.commit().await.unwrap();
        assert_eq!(get(&memory, "/new").await.unwrap(), b"abcd");
    }
}

#[tokio::test]
async fn sequential_storages_see_only_sequences() {
    let (_, memory, fs) = claiming(|c| {
        c.write = WriteAccess::Sequential;
        c.ranges = Ranges::Sequential;
    });
    let file = open(&fs, "/new", new(WriteMode::Replace)).await.unwrap();
    let piece = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
    file.write(0, piece("one")).await.unwrap();
    for at in [0, 2, 4] {
        assert_eq!(
            file.write(at, piece("x")).await.unwrap_err().kind(),
            FsErrorKind::Unsupported
        );
    }
    assert_eq!(file.append(piece("two")).await.unwrap(), 6);
    file.write(6, piece("!")).await.unwrap();
    let cut = Attrs {
        size: Some(1),
        ..Attrs::default()
    };
    assert_eq!(
        file.set_attrs(cut).await.unwrap_err().kind(),
        FsErrorKind::Unsupported
    );
    file.commit().await.unwrap();
    assert_eq!(get(&memory, "/new").await.unwrap(), b"onetwo!");
    let file = fs.open_read(&cx("a"), &path("/new")).await.unwrap();
    assert_eq!(file.read(0, 3, Vec::new()).await.unwrap(), b"one");
    assert_eq!(
        file.read(0, 3, Vec::new()).await.unwrap_err().kind(),
        FsErrorKind::Unsupported
    );
    assert_eq!(file.read(3, 9, Vec::new()).await.unwrap(), b"two!");
}

#[tokio::test]
async fn a_file_grows_no_larger_than_the_storage_holds() {
    let (_, _, fs) = claiming(|c| c.max_file = Some(8));
    let file = open(&fs, "/new", new(WriteMode::Replace)).await.unwrap();
    let eight = || vec![Bytes::from_static(b"01234567")];
    assert_eq!(
        file.write(1, eight()).await.unwrap_err().kind(),
        FsErrorKind::TooLarge
    );
    assert_eq!(
        file.write(u64::MAX, eight()).await.unwrap_err().kind(),
        FsErrorKind::TooLarge
    );
    file.write(0, eight()).await.unwrap();
    assert_eq!(
        file.append(eight()).await.unwrap_err().kind(),
        FsErrorKind::TooLarge
    );
    assert_eq!(file.entry().await.unwrap().size, Some(8));
}

#[tokio::test]
async fn only_files_or_only_directories_are_renamed() {
    let (_, _, fs) = claiming(|c| c.rename_dir = false);
    let me = cx("a");
    let end = fs
        .rename(&me, &path("/dir"), &path("/d2"), Rename::NoReplace)
        .await
        .unwrap_err();
    assert!(end.message().contains("rename directories"), "{end}");
    fs.rename(&me, &path("/file"), &path("/f2"), Rename::NoReplace)
        .await
        .unwrap();
    let (_, memory, fs) = claiming(|c| c.rename = false);
    fs.rename(&me, &path("/file"), &path("/dir/file"), Rename::NoReplace)
        .await
        .unwrap();
    memory.plant(&path("/file"), b"again").unwrap();
    fs.rename(&me, &path("/dir"), &path("/d2"), Rename::NoReplace)
        .await
        .unwrap();
    let end = fs
        .rename(&me, &path("/file"), &path("/f2"), Rename::NoReplace)
        .await
        .unwrap_err();
    assert!(end.message().contains("rename files"), "{end}");
}

#[tokio::test]
async fn attributes_that_always_come_along_do_not_stop_an_upload() {
    let (_, memory, fs) = claiming(|c| {
        c.set_mode = false;
        c.set_times = false;
    });
    let attrs = Attrs {
        mode: Some(0o777),
        modified: Some(Timestamp::default()),
        ..Attrs::default()
    };
    let file = open(
        &fs,
        "/new",
        OpenWrite {
            attrs,
            ..new(WriteMode::Replace)
        },
    )
    .await
    .unwrap();
    assert_eq!(
        file.set_attrs(attrs).await.unwrap_err().kind(),
        FsErrorKind::Unsupported
    );
    file.commit().await.unwrap();
    let entry = memory.stat(&cx("a"), &path("/new"), Links::Keep).await.unwrap();
    assert_eq!(entry.mode, Some(0o640));
    fs.make_dir(&cx("a"), &path("/made"), attrs).await.unwrap();
}

#[tokio::test]
async fn attributes_that_are_dropped_are_no_error_where_there_is_a_file() {
    let (_, memory, fs) = claiming(|c| {
        c.set_mode = false;
        c.set_times = false;
        c.update = false;
        c.drops_attrs = true;
    });
    let before = memory.stat(&cx("a"), &path("/file"), Links::Keep).await.unwrap();
    let attrs = Attrs {
        mode: Some(0o777),
        modified: Some(Timestamp::default()),
        ..Attrs::default()
    };
    let set = async |name, attrs| fs.set_attrs(&cx("a"), &path(name), attrs, Links::Follow).await;
    set("/file", attrs).await.unwrap();
    let after = memory.stat(&cx("a"), &path("/file"), Links::Keep).await.unwrap();
    assert_eq!((after.mode, after.modified), (before.mode, before.modified));
    assert_eq!(
        set("/not-there", attrs).await.unwrap_err().kind(),
        FsErrorKind::NotFound
    );
    let size = Attrs {
        size: Some(1),
        ..attrs
    };
    assert_eq!(
        set("/file", size).await.unwrap_err().kind(),
        FsErrorKind::Unsupported
    );
    let file = open(&fs, "/new", new(WriteMode::Replace)).await.unwrap();
    file.set_attrs(attrs).await.unwrap();
    file.commit().await.unwrap();
}

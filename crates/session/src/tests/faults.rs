//! Whichever call of the storage fails, those of signing in too: nothing torn is seen, each act is
//! recorded once, and nothing is left over.

use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, Faulty, FsErrorKind, Links, Listing, OpCx, Partial, ReadFile,
    Removal, Rename, WriteFile,
};

use super::*;

const PART: &str = "/in/part";
const WHOLE: &str = "/in/whole";
/// Where the person's directory lies in the storage: made at sign-in, level by level.
const HOME: &str = "/homes/alice";
const KEY_OF_HOME: &str = "files:/homes/alice";

/// A storage that knows how many handles of it are open: what descriptors are for a disk.
struct Counting {
    memory: Memory,
    open: Arc<()>,
}

struct Counted<T: ?Sized> {
    inner: Box<T>,
    _open: Arc<()>,
}

impl Counting {
    fn count<T: ?Sized>(&self, inner: Box<T>) -> Counted<T> {
        Counted {
            inner,
            _open: Arc::clone(&self.open),
        }
    }
}

#[async_trait]
impl FileSystem for Counting {
    fn capabilities(&self) -> &Capabilities {
        self.memory.capabilities()
    }
    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        self.memory.stat(cx, path, links).await
    }
    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let listing = self.memory.list(cx, dir, from).await?;
        Ok(Box::new(self.count(listing)))
    }
    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let file = self.memory.open_read(cx, file).await?;
        Ok(Arc::new(self.count(Box::new(file))))
    }
    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let file = self.memory.open_write(cx, file, how).await?;
        Ok(Arc::new(self.count(Box::new(file))))
    }
    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        self.memory.partial(cx, file).await
    }
    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        self.memory.make_dir(cx, dir, attrs).await
    }
    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        self.memory.remove(cx, path, what).await
    }
    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        self.memory.rename(cx, from, to, how).await
    }
    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        self.memory.set_attrs(cx, path, attrs, links).await
    }
}

#[async_trait]
impl Listing for Counted<dyn Listing> {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        self.inner.next(max).await
    }
    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}

#[async_trait]
impl ReadFile for Counted<Arc<dyn ReadFile>> {
    fn entry(&self) -> &Entry {
        self.inner.entry()
    }
    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.inner.read(at, len, into).await
    }
}

#[async_trait]
impl WriteFile for Counted<Arc<dyn WriteFile>> {
    async fn entry(&self) -> FsResult<Entry> {
        self.inner.entry().await
    }
    async fn write(&self, at: u64, data: Vec<Bytes>) -> FsResult<()> {
        self.inner.write(at, data).await
    }
    async fn append(&self, data: Vec<Bytes>) -> FsResult<u64> {
        self.inner.append(data).await
    }
    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.inner.read(at, len, into).await
    }
    async fn set_attrs(&self, attrs: Attrs) -> FsResult<()> {
        self.inner.set_attrs(attrs).await
    }
    async fn sync(&self) -> FsResult<()> {
        self.inner.sync().await
    }
    async fn retarget(&self, to: &VPath, how: Rename) -> FsResult<()> {
        self.inner.retarget(to, how).await
    }
    async fn commit(&self) -> FsResult<Entry> {
        self.inner.commit().await
    }
    async fn keep(&self) -> FsResult<u64> {
        self.inner.keep().await
    }
    async fn discard(&self) -> FsResult<()> {
        self.inner.discard().await
    }
}

/// A rig whose people have directories of their own, over a storage that can fail and counts its handles.
struct Home {
    rig: Rig,
    memory: Memory,
    faulty: Arc<Faulty>,
    open: Arc<()>,
}

impl Home {
    fn new() -> Self {
        let (memory, open) = (Memory::new(), Arc::new(()));
        let counting = Counting {
            memory: memory.clone(),
            open: Arc::clone(&open),
        };
        let faulty = Arc::new(Faulty::over(Arc::new(counting)));
        let storage = Arc::clone(&faulty) as Arc<dyn FileSystem>;
        let rig = Rig::over(Arc::clone(&storage), &Terms::default());
        let mount = MountOptions {
            path: "/".into(),
            storage: "files".into(),
            subpath: Some("/homes/{user}".into()),
            verbs: VerbWords::One("full".into()),
            rules: Vec::new(),
            limits: MountLimits {
                quota: Some(portreeve_model::options::SizeText(1000)),
                ..MountLimits::default()
            },
            partials: Partials::Hidden,
        };
        let staff = GroupName::new("staff").unwrap();
        let rule = GroupRule {
            group: staff.clone(),
            external: Vec::new(),
        };
        let chain = Chain::new(vec![
            Step::gate("told", Arc::clone(&rig.told) as Arc<dyn Gate>),
            Step::method("keeper", Arc::clone(&rig.keeper) as Arc<dyn Method>),
        ]);
        let mounts = vec![MountPlan::new(&mount, storage).ok().unwrap()];
        let limits = LimitsOptions {
            refusal_delay: DurationText(Duration::ZERO),
            // Were a permit lost, nobody would get in any more.
            connections_per_ip: 1,
            sessions_per_user: 1,
            ..LimitsOptions::default()
        };
        rig.gate.swap(World::new(
            chain,
            Resolver::new(vec![rule], Vec::new()),
            BTreeMap::from([(staff, GroupPlan { mounts })]),
            limits,
        ));
        Self {
            rig,
            memory,
            faulty,
            open,
        }
    }

    /// Handles of the storage that are open.
    fn handles(&self) -> usize {
        // One is held by the storage, one here.
        Arc::strong_count(&self.open) - 2
    }

    async fn used(&self) -> u64 {
        self.rig.book.used(KEY_OF_HOME).await.unwrap().unwrap_or(0)
    }

    /// How many records there are of each act.
    fn recorded(&self) -> BTreeMap<String, usize> {
        let mut acts = BTreeMap::new();
        for (act, ..) in self.rig.events() {
            *acts.entry(act).or_default() += 1;
        }
        acts
    }

    /// What is whole is whole for everybody, past the session.
    async fn nothing_is_torn(&self, when: &str) {
        let cx = OpCx::new(
            portreeve_model::SessionId::fresh(),
            portreeve_vfs::Owner("somebody else".into()),
            tokio_util::sync::CancellationToken::new(),
        );
        for name in [PART, WHOLE] {
            let path = p(&format!("{HOME}{name}"));
            if let Ok(entry) = self.memory.stat(&cx, &path, Links::Keep).await {
                assert_eq!(entry.size, Some(10), "{name} {when}");
            }
        }
    }

    /// No connection, no session, no handle: as before anybody came.
    fn is_at_base(&self, when: &str) {
        let admission = &self.rig.gate.0.admission;
        let counts = [
            ("connections", admission.connections.total() as usize),
            ("sessions", admission.sessions.total() as usize),
            ("the register", self.rig.gate.sessions().len()),
            ("handles", self.handles()),
        ];
        assert!(counts.iter().all(|(_, n)| *n == 0), "{counts:?} {when}");
    }
}

/// Uploads ten bytes of `fill`, in two pieces; a failure is for the caller of the sitting to see in the log.
async fn place(session: &Session, path: &str, fill: u8) {
    let fs = session.fs();
    let Ok(upload) = fs.upload(&p(path), how(WriteMode::Replace)).await else {
        return;
    };
    let piece = |len: usize| vec![Bytes::from(vec![fill; len])];
    let _ = upload.write(0, piece(6)).await;
    let _ = upload.write(6, piece(4)).await;
    let _ = fs.stat(&p(path), Links::Keep).await;
    let _ = upload.commit().await;
}

/// What a person does in one sitting; what fails does not keep the rest from being tried. Answers how
/// many records each act is to leave.
async fn sitting(session: &Session) -> BTreeMap<String, usize> {
    let fs = session.fs();
    let _ = fs.make_dir(&p("/in"), Attrs::default()).await;
    place(session, PART, 1).await;
    let _ = fs.rename(&p(PART), &p(WHOLE), Rename::Replace).await;
    place(session, WHOLE, 2).await;
    if let Ok(mut listing) = fs.list(&p("/in"), None).await {
        while matches!(listing.next(10).await, Ok(page) if !page.is_empty()) {}
    }
    if let Ok(download) = fs.download(&p(WHOLE)).await
        && let Ok(content) = download.read(0, 100, Vec::new()).await
    {
        assert!(content == [1; 10] || content == [2; 10], "{content:?} is torn");
    }
    let _ = fs.remove(&p(WHOLE), Removal::File).await;
    let _ = fs.remove(&p("/in"), Removal::Dir).await;
    let once = [
        "download",
        "list",
        "make-dir",
        "remove-dir",
        "remove-file",
        "rename",
    ];
    let mut acts = BTreeMap::from(once.map(|act| (act.to_owned(), 1)));
    acts.insert("upload".to_owned(), 2);
    acts
}

#[tokio::test]
async fn whichever_call_fails_nothing_is_torn_lost_or_left_over() {
    for kind in [FsErrorKind::NoSpace, FsErrorKind::Backend, FsErrorKind::TimedOut] {
        let (mut refused, mut overcounted) = (0, Vec::new());
        for n in 1.. {
            let when = format!("when call {n} fails: {kind:?}");
            let home = Home::new();
            let gate = &home.rig.gate;
            home.faulty.fail_nth(n, kind);
            let mut connection = home.rig.knock().await;
            let signed_in = try_sign_in(&mut connection, "open").await;
            let mut expected = BTreeMap::from([("login".to_owned(), 1)]);
            if let SignIn::Welcome(session) = &signed_in {
                expected.extend(sitting(session).await);
                assert_eq!(gate.sessions().remove(0).transfers, 0, "{when}");
                assert!(session.fs().live().pending.is_empty(), "{when}");
                assert_eq!(home.handles(), 0, "{when}");
                expected.insert("logout".to_owned(), 1);
            } else {
                assert!(matches!(signed_in, SignIn::Refused), "{signed_in:?} {when}");
                assert_eq!(home.rig.outcomes("login"), ["failed"], "{when}");
                // Whom a storage keeps out has not guessed a password.
                assert_eq!(*home.rig.told.0.lock(), [End::Accepted], "{when}");
                refused += 1;
            }
            let failed = home.faulty.calls() >= n;
            drop((signed_in, connection));
            assert_eq!(home.recorded(), expected, "{when}");
            home.is_at_base(&when);
            home.nothing_is_torn(&when).await;

            // The same person comes back to a storage that works: tidied up, nothing is counted any more.
            home.faulty.heal();
            let session = home.rig.session().await;
            for name in [PART, WHOLE] {
                let _ = session.fs().remove(&p(name), Removal::File).await;
            }
            let over = home.used().await;
            assert!(over == 0 || over == 10, "{over} {when}");
            overcounted.extend((over > 0).then_some(n));
            sitting(&session).await;
            assert_eq!(home.used().await, over, "afterwards, {when}");
            let mut listing = session.fs().list(&p("/"), None).await.unwrap();
            assert!(listing.next(10).await.unwrap().is_empty(), "left over {when}");
            drop((listing, session));
            home.is_at_base(&format!("afterwards, {when}"));
            if !failed {
                assert!(n > 22, "the sitting makes more than {n} calls");
                break;
            }
        }
        // A commit that cannot see what it replaces counts both until files are counted anew: the safe side.
        assert!(overcounted.len() <= 1, "{overcounted:?} {kind:?}");
        // Two levels, each looked for and made.
        assert_eq!(refused, 4, "{kind:?}");
    }
}

//! The file system over a mailbox in Exchange Online.

use async_trait::async_trait;
use portreeve_model::{SessionId, VPath};
use portreeve_tests_microsoft::{Attachment, Call, Message as Mail};
use portreeve_vfs::{
    FileSystem, Links, OpCx, OpenWrite, Owner, Removal, WriteMode,
    conformance::{Fixture, Stage, run},
};

use super::*;
use crate::{Mailbox, OnUpload, Sizes};

/// A mailbox as a file system, at a stand-in.
struct Mounted {
    world: World,
    mailbox: Arc<Mailbox>,
    exchange: Arc<Exchange>,
}

fn mount(
    options: &ExchangeOptions,
    around: &Surroundings,
    secret: &str,
    address: &str,
) -> (Arc<Mailbox>, Arc<Exchange>) {
    let exchange = Arc::new(open_at(options, secret, limits(), around, address));
    let store = Arc::clone(&exchange) as Arc<dyn MailStore>;
    let mailbox = Mailbox::over(store, &format!("exchange {address}"), &options.mail, around).unwrap();
    (Arc::new(mailbox), exchange)
}

impl Mounted {
    fn new(change: impl FnOnce(&mut ExchangeOptions)) -> Self {
        let world = World::with(change);
        let around = around(&world.shelf, &world.dir);
        let (mailbox, exchange) = mount(&world.options, &around, world.standin.secret(), ADDRESS);
        Self {
            world,
            mailbox,
            exchange,
        }
    }

    /// As after a restart of the server.
    fn restart(&mut self) {
        let around = around(&self.world.shelf, &self.world.dir);
        (self.mailbox, self.exchange) =
            mount(&self.world.options, &around, self.world.standin.secret(), ADDRESS);
    }

    /// Makes the next look ask.
    async fn expire(&self) {
        self.exchange.inner.expire().await;
        self.mailbox.look_again();
    }

    async fn settle(&self) {
        while self.exchange.inner.is_catching_up().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn list(&self, dir: &str) -> Vec<String> {
        let mut listing = self.mailbox.list(&cx(), &path(dir), None).await.unwrap();
        let mut out = Vec::new();
        loop {
            let entries = listing.next(1000).await.unwrap();
            if entries.is_empty() {
                return out;
            }
            out.extend(
                entries
                    .into_iter()
                    .map(|entry| entry.name.unwrap().as_str().unwrap().to_owned()),
            );
        }
    }

    async fn get(&self, file: &str) -> FsResult<Vec<u8>> {
        let open = self.mailbox.open_read(&cx(), &path(file)).await?;
        let mut got = Vec::new();
        loop {
            let before = got.len();
            got = open.read(before as u64, 1 << 20, got).await?;
            if got.len() == before {
                return Ok(got);
            }
        }
    }

    async fn delete(&self, file: &str) -> FsResult<()> {
        self.mailbox.remove(&cx(), &path(file), Removal::File).await
    }

    async fn put(&self, file: &str, content: Vec<u8>) -> FsResult<()> {
        let how = OpenWrite::new(WriteMode::Replace);
        let open = self.mailbox.open_write(&cx(), &path(file), how).await?;
        open.write(0, vec![content.into()]).await?;
        open.commit().await.map(drop)
    }
}

/// Somebody sits at a browser: one operation has the patience of one request, whatever questions it is made of.
#[tokio::test]
async fn while_graph_is_away_that_is_told_once_waited_for_and_then_at_once() {
    let mounted = Mounted::new(|_| {});
    let faults = mounted.world.standin.faults();
    mounted
        .world
        .mailbox
        .deliver("Inbox", Mail::new("M").file("a.txt", "1"));
    mounted.list("/Inbox").await;
    mounted.settle().await;
    mounted.expire().await;
    faults.fail_next(10_000, "/v1.0", 504);
    for (most, what) in [(limits().attempts as usize + 2, "first"), (3, "second")] {
        mounted.world.standin.clear_log();
        let told = mounted.mailbox.list(&cx(), &path("/Inbox"), None).await;
        assert_eq!(kind(told), Some(FsErrorKind::Backend));
        // The items of a batch do not come to anything themselves.
        let calls = mounted.world.standin.log().len();
        assert!((1..=most).contains(&calls), "{what}: {calls}");
    }
    faults.calm();
    assert_eq!(mounted.list("/Inbox").await, ["M-a.txt"]);
}

/// A rename of an upload makes its draft anew, which takes its time: what somebody attaches to the old one meanwhile must
/// not go with it.
#[tokio::test]
async fn what_is_attached_while_an_upload_is_renamed_stays() {
    let mounted = Mounted::new(|options| options.mail.on_upload = OnUpload::Draft);
    let mailbox = &mounted.world.mailbox;
    mounted.put("/Inbox/a.part", b"content".to_vec()).await.unwrap();
    let old = mailbox.messages("Inbox").pop().unwrap().id;
    let hold = mounted.world.standin.faults().hold("POST");
    let (from, to, cx) = (path("/Inbox/a.part"), path("/Inbox/a.txt"), cx());
    let rename = mounted
        .mailbox
        .rename(&cx, &from, &to, portreeve_vfs::Rename::NoReplace);
    let (renamed, ()) = tokio::join!(rename, async {
        // What begins is the new draft: the old one has been looked at.
        let hold = tokio::task::spawn_blocking(move || {
            assert!(hold.wait(1, Duration::from_secs(20)));
            hold
        });
        let hold = hold.await.unwrap();
        mailbox.attach(&old, Attachment::file("more.txt", "more"));
        hold.release();
    });
    assert_eq!(kind(renamed), Some(FsErrorKind::Refused));
    let kept = mailbox.message(&old).unwrap();
    assert_eq!(kept.names(), ["a.part", "more.txt"]);
    mounted.expire().await;
    let list = mounted.list("/Inbox").await;
    assert!(list.contains(&"a.txt".to_owned()), "{list:?}");
    assert_eq!(list.len(), 3, "{list:?}");
}

fn cx() -> OpCx {
    OpCx::new(SessionId::fresh(), Owner("alice".into()), Default::default())
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

#[tokio::test]
async fn the_example_has_exactly_these_names() {
    let mounted = Mounted::new(|_| {});
    let mailbox = &mounted.world.mailbox;
    let report = Mail::new("Report for May 2024")
        .file("report-may.pdf", "r")
        .file("income-2024-05-01.csv", "i");
    mailbox.deliver("Inbox", report);
    mailbox.deliver("Inbox", Mail::new("Order ACME Ltd").file("order.xml", "o"));
    assert_eq!(
        mounted.list("/Inbox").await,
        [
            "Order ACME Ltd-order.xml",
            "Report for May 2024-income-2024-05-01.csv",
            "Report for May 2024-report-may.pdf",
        ]
    );
    assert_eq!(
        mounted.get("/Inbox/Order ACME Ltd-order.xml").await.unwrap(),
        b"o"
    );
}

#[tokio::test]
async fn the_last_attachment_takes_its_message_along_and_no_other_does() {
    let mounted = Mounted::new(|_| {});
    let mailbox = &mounted.world.mailbox;
    mailbox.deliver(
        "Inbox",
        Mail::new("M")
            .file("a.txt", "1")
            .file("b.txt", "2")
            .with(Attachment::inline("l.png", "x")),
    );
    let linked = Mail::new("L")
        .file("a.txt", "1")
        .with(Attachment::reference("plan", "https://x/"));
    mailbox.deliver("Inbox", linked);
    mounted.list("/Inbox").await;
    mounted.delete("/Inbox/M-a.txt").await.unwrap();
    assert_eq!(mailbox.messages("Inbox").len(), 2);
    mounted.delete("/Inbox/M-b.txt").await.unwrap();
    assert_eq!(
        mailbox.messages("Inbox").len(),
        1,
        "an inline part keeps no message alive"
    );
    // A link does, though it is never shown.
    mounted.delete("/Inbox/L-a.txt").await.unwrap();
    assert_eq!(mailbox.messages("Inbox").len(), 1);
    assert_eq!(mailbox.messages("Inbox")[0].names(), ["plan"]);
}

#[tokio::test]
async fn names_stay_over_deltas_and_restarts_when_siblings_go() {
    let mut mounted = Mounted::new(|_| {});
    let mailbox = mounted.world.mailbox.clone();
    let ids: Vec<String> = (0..4)
        .map(|n| {
            mailbox.deliver(
                "Inbox",
                Mail::new("Same").file("a.txt", format!("{n}").into_bytes()),
            )
        })
        .collect();
    let before = mounted.list("/Inbox").await;
    assert_eq!(before.len(), 4);
    let mut by_content = BTreeMap::new();
    for name in &before {
        by_content.insert(
            mounted.get(&format!("/Inbox/{name}")).await.unwrap(),
            name.clone(),
        );
    }
    mounted.settle().await;
    mailbox.delete_message(&ids[1]);
    mounted.expire().await;
    for _ in 0..2 {
        let after = mounted.list("/Inbox").await;
        assert_eq!(after.len(), 3);
        for name in after {
            let content = mounted.get(&format!("/Inbox/{name}")).await.unwrap();
            assert_eq!(by_content[&content], name, "another file took its name");
        }
        mounted.restart();
    }
}

/// Twenty folders of 5,000 messages, in small pages, through the file system: every file, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_mailbox_is_complete_and_free_of_duplicates() {
    let mounted = Mounted::new(|options| options.mail.max_entries = 20_000);
    let mailbox = &mounted.world.mailbox;
    let (folders, messages) = (20, 5000);
    for folder in 0..folders {
        let name = format!("F{folder:02}");
        mailbox.folder(&name);
        for n in 0..messages {
            let mail = Mail::new(&format!("{n:04}")).file("a.txt", "x");
            mailbox.deliver(&name, mail);
        }
    }
    mounted.world.standin.faults().page_size(Some(250));
    for folder in 0..folders {
        let names = mounted.list(&format!("/F{folder:02}")).await;
        let want: Vec<String> = (0..messages).map(|n| format!("{n:04}-a.txt")).collect();
        assert_eq!(names, want, "folder {folder}");
        mounted.settle().await;
    }
    assert!(mounted.world.standin.most_in_flight(ADDRESS) <= 4);
    assert_eq!(mounted.world.standin.over_limit(), 0);
}

/// Each case of the suite with a mailbox of its own at one stand-in.
struct Suite {
    standin: Standin,
    next: std::sync::atomic::AtomicU32,
    on_upload: OnUpload,
}

struct Case {
    mailbox: Arc<Mailbox>,
    options: ExchangeOptions,
    around: Surroundings,
    secret: String,
    address: String,
    sample: bool,
    _dir: TempDir,
}

#[async_trait]
impl Fixture for Suite {
    async fn stage(&self) -> Box<dyn Stage> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let address = format!("case{number}@example.com");
        let sample = self.on_upload == OnUpload::Refuse;
        let handle = self.standin.mailbox(&address);
        if sample {
            handle.deliver(
                "Inbox",
                Mail::new("Order ACME Ltd").file("order.xml", "<order/>".repeat(500).into_bytes()),
            );
        }
        let mut options = options(&self.standin);
        options.mail.on_upload = self.on_upload;
        options.mail.sizes = Sizes::OnList;
        let dir = tempfile::tempdir().unwrap();
        let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
        let around = around(&shelf, &dir);
        let secret = self.standin.secret().to_owned();
        let (mailbox, _) = mount(&options, &around, &secret, &address);
        Box::new(Case {
            mailbox,
            options,
            around,
            secret,
            address,
            sample,
            _dir: dir,
        })
    }
}

#[async_trait]
impl Stage for Case {
    fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.mailbox) as Arc<dyn FileSystem>
    }

    fn base(&self) -> VPath {
        path("/Inbox")
    }

    fn sample(&self) -> Option<(VPath, Vec<u8>)> {
        let file = path("/Inbox/Order ACME Ltd-order.xml");
        self.sample.then(|| (file, "<order/>".repeat(500).into_bytes()))
    }

    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        Some(mount(&self.options, &self.around, &self.secret, &self.address).0)
    }
}

fn suite(on_upload: OnUpload) -> Suite {
    Suite {
        standin: Standin::start(),
        next: 0.into(),
        on_upload,
    }
}

#[tokio::test]
async fn the_suite_with_drafts() {
    let report = run(&suite(OnUpload::Draft)).await.unwrap();
    for case in [
        "writing::sparse_and_out_of_order",
        "exclusive::race",
        "listing::under_change",
    ] {
        assert!(report.passed.contains(&case), "{case}: {:?}", report.skipped);
    }
}

#[tokio::test]
async fn the_suite_read_only() {
    let report = run(&suite(OnUpload::Refuse)).await.unwrap();
    for case in ["reading::sample", "reading::parallel", "refusals::read_only"] {
        assert!(report.passed.contains(&case), "{case}: {:?}", report.skipped);
    }
}

/// What an operation may cost: as the documentation's table says.
struct Cost {
    what: &'static str,
    /// HTTP requests, those of the upload host included.
    http: usize,
    /// Requests as Graph counts them: each of a batch is one.
    graph: usize,
    /// Most bytes in both directions, bodies only.
    bytes: u64,
}

const COSTS: [Cost; 14] = [
    cost("first look at the folders of a mailbox", 2, 18, 16),
    cost("first listing of a folder with 1,000 messages", 5, 5, 1200),
    cost("behind it: the first round of deltas, 1,000 messages", 2, 2, 400),
    cost("listing it again", 1, 2, 4),
    cost("listing it when one message is new", 2, 3, 8),
    cost("listing it after a restart of the server", 3, 19, 20),
    cost(
        "`stat` of a file of 10,000 bytes (its exact size is learnt)",
        1,
        1,
        11,
    ),
    cost("reading that file afterwards", 0, 0, 0),
    cost("reading a file of 3,000,000 bytes", 1, 1, 2940),
    cost("deleting one of two attachments", 3, 3, 8),
    cost("deleting the last attachment, and its message", 2, 2, 4),
    cost("`mkdir`", 1, 1, 2),
    cost("`rmdir`", 2, 4, 6),
    cost("uploading 10,000 bytes as a draft", 3, 3, 32),
];

const fn cost(what: &'static str, http: usize, graph: usize, kib: u64) -> Cost {
    Cost {
        what,
        http,
        graph,
        bytes: kib << 10,
    }
}

/// Compares what the stand-in was asked with the table, row by row.
struct Bill {
    rows: std::slice::Iter<'static, Cost>,
    wrong: Vec<String>,
}

impl Bill {
    fn check(&mut self, calls: &[Call]) {
        let calls: Vec<&Call> = calls
            .iter()
            .filter(|call| !call.target.contains("oauth2"))
            .collect();
        let cost = self.rows.next().unwrap();
        let sent = || calls.iter().filter(|call| !call.batched);
        let http = sent().count();
        let graph = calls
            .iter()
            .filter(|call| !call.target.contains("$batch"))
            .count();
        let bytes: u64 = sent().map(|call| call.bytes_in + call.bytes_out).sum();
        if (http, graph) != (cost.http, cost.graph) || bytes > cost.bytes {
            self.wrong.push(format!(
                "{}: {http} HTTP, {graph} of Graph, {bytes} bytes",
                cost.what
            ));
        }
    }

    fn take(&mut self, mounted: &Mounted) {
        self.check(&mounted.world.standin.log());
        mounted.world.standin.clear_log();
    }
}

#[tokio::test]
async fn each_operation_costs_what_the_documentation_says() {
    let mut mounted = Mounted::new(|options| options.mail.on_upload = OnUpload::Draft);
    let mailbox = mounted.world.mailbox.clone();
    mailbox.folder("Many");
    for n in 0..1000 {
        mailbox.deliver("Many", Mail::new(&format!("{n:04}")).file("a.txt", "x"));
    }
    let mail = Mail::new("Two")
        .file("a.bin", vec![1; 10_000])
        .file("b.bin", vec![2; 3_000_000]);
    mailbox.deliver("Inbox", mail);
    let mut bill = Bill {
        rows: COSTS.iter(),
        wrong: Vec::new(),
    };
    mounted.list("/").await;
    bill.take(&mounted);
    mounted.list("/Many").await;
    mounted.settle().await;
    let (behind, listed): (Vec<_>, Vec<_>) = mounted
        .world
        .standin
        .log()
        .into_iter()
        .partition(|call| call.target.contains("/delta"));
    bill.check(&listed);
    bill.check(&behind);
    mounted.world.standin.clear_log();
    mounted.expire().await;
    mounted.list("/Many").await;
    bill.take(&mounted);
    mailbox.deliver("Many", Mail::new("new").file("a.txt", "x"));
    mounted.expire().await;
    mounted.list("/Many").await;
    bill.take(&mounted);
    mounted.restart();
    assert_eq!(mounted.list("/Many").await.len(), 1001);
    bill.take(&mounted);
    mounted.list("/Inbox").await;
    mounted.settle().await;
    mounted.world.standin.clear_log();
    let entry = mounted
        .mailbox
        .stat(&cx(), &path("/Inbox/Two-a.bin"), Links::Follow)
        .await
        .unwrap();
    assert_eq!(entry.size, Some(10_000));
    bill.take(&mounted);
    mounted.get("/Inbox/Two-a.bin").await.unwrap();
    bill.take(&mounted);
    mounted.get("/Inbox/Two-b.bin").await.unwrap();
    bill.take(&mounted);
    mounted.delete("/Inbox/Two-a.bin").await.unwrap();
    bill.take(&mounted);
    mounted.delete("/Inbox/Two-b.bin").await.unwrap();
    bill.take(&mounted);
    mounted
        .mailbox
        .make_dir(&cx(), &path("/Made"), Default::default())
        .await
        .unwrap();
    bill.take(&mounted);
    mounted
        .mailbox
        .remove(&cx(), &path("/Made"), Removal::Dir)
        .await
        .unwrap();
    bill.take(&mounted);
    mounted.put("/Inbox/up.bin", vec![1; 10_000]).await.unwrap();
    bill.take(&mounted);
    assert!(bill.rows.next().is_none());
    assert!(bill.wrong.is_empty(), "{}", bill.wrong.join("\n"));
    let docs = include_str!("../../../docs/exchange.md");
    for cost in &COSTS {
        let line = format!(
            "| {} | {} | {} | {} KiB |",
            cost.what,
            cost.http,
            cost.graph,
            cost.bytes >> 10
        );
        assert!(docs.contains(&line), "docs/exchange.md lacks: {line}");
    }
}

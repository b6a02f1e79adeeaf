//! A storage that panics, whichever call it is: one request fails, and nothing is left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod desk;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use desk::{CREAT, NO_ATTRS, READ, Sftp, Slow, TRUNC, WRITE, desk_with_audit, string};
use portreeve_session::{AuditOptions, audit::Audit};
use portreeve_sftp::SftpOptions;
use portreeve_vfs::Memory;

/// Acts of one sitting that are recorded.
const ACTS: [&str; 7] = [
    "make-dir",
    "upload",
    "rename",
    "list",
    "download",
    "remove-file",
    "remove-dir",
];

/// What a person does; what fails does not keep the rest from being tried. Every request is answered.
async fn sitting(sftp: &mut Sftp) {
    sftp.ask(14, &[&string(b"/d")[..], &NO_ATTRS].concat()).await;
    let opened = sftp.open("/d/part", WRITE | CREAT | TRUNC).await;
    if opened.kind == 102 {
        let handle = opened.handle();
        sftp.send(6, &Sftp::write_body(&handle, 0, b"con")).await;
        sftp.send(6, &Sftp::write_body(&handle, 3, b"tent")).await;
        let failed = [sftp.answer().await.code(), sftp.answer().await.code()];
        sftp.stat("/d/part").await;
        let closed = sftp.close(&handle).await.code();
        assert!(closed != 0 || failed == [0, 0], "errors stick");
    }
    sftp.ask(18, &[string(b"/d/part"), string(b"/d/whole")].concat())
        .await;
    let opened = sftp.ask(11, &string(b"/d")).await;
    if opened.kind == 102 {
        let handle = opened.handle();
        while sftp.ask(12, &handle).await.kind == 104 {}
        assert_eq!(sftp.close(&handle).await.code(), 0);
    }
    let opened = sftp.open("/d/whole", READ).await;
    if opened.kind == 102 {
        let handle = opened.handle();
        let read = sftp.ask(5, &Sftp::read_body(&handle, 0, 100)).await;
        assert!(read.kind == 101 || read.data() == b"content");
        assert_eq!(sftp.close(&handle).await.code(), 0);
    }
    sftp.ask(13, &string(b"/d/whole")).await;
    sftp.ask(15, &string(b"/d")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_panics_fails_one_request() {
    const TIMES: u64 = 1000;
    /// Of these the records are looked at: of more, those that tell of nothing done are damped.
    const RECORDED: u64 = 90;
    static PANICS: AtomicU64 = AtomicU64::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let told = info
            .payload()
            .downcast_ref::<&str>()
            .is_some_and(|text| text.starts_with("told to panic"));
        if told {
            PANICS.fetch_add(1, Ordering::SeqCst);
        } else {
            usual(info);
        }
    }));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.jsonl");
    let options = serde_json::json!({ "sinks": [{ "type": "file", "path": log, "rotate_at": "100 MiB" }] });
    let options: AuditOptions = serde_json::from_value(options).unwrap();
    let memory = Arc::new(Memory::new());
    let slow = Slow::over(&memory);
    let pace = Arc::clone(&slow.1);
    let audit = Audit::open(&options, dir.path()).unwrap();
    let desk = desk_with_audit(slow, memory, None, &SftpOptions::default(), audit);
    let mut bystander = desk.sftp().await;
    bystander.put("/theirs", b"untouched").await;
    let mut sftp = desk.sftp().await;
    let (mut longest, mut tidied, mut recorded) = (0, 0, String::new());
    for n in 0..TIMES {
        // From the first call of the sitting on, then from the first again.
        let nth = if longest == 0 { n } else { n % longest };
        pace.panic_after(nth);
        sitting(&mut sftp).await;
        if !pace.has_panicked() {
            assert!(longest == 0 && n > 12, "only {n} calls");
            longest = n;
        }
        // Whatever is left of it goes.
        pace.panic_after(u64::MAX / 2);
        for (kind, path) in [(13, "/d/part"), (13, "/d/whole"), (15, "/d")] {
            if sftp.stat(path).await.kind == 105 {
                tidied += u64::from(n < RECORDED && kind == 13);
                sftp.ask(kind, &string(path.as_bytes())).await;
            }
        }
        if n + 1 == RECORDED {
            recorded = std::fs::read_to_string(&log).unwrap();
        }
        assert!(
            desk.gate.sessions().iter().all(|session| session.transfers == 0),
            "call {nth}"
        );
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), TIMES - 1);
    assert_eq!(bystander.get("/theirs").await, b"untouched");
    assert_eq!((desk.gate.sessions().len(), desk.gate.connections()), (2, 2));

    // Each act was recorded once, whether it broke down or not; and each kind of act did.
    let mut acts = BTreeMap::<String, (u64, u64)>::new();
    for record in recorded.lines() {
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        let counts = acts
            .entry(record["act"].as_str().unwrap().to_owned())
            .or_default();
        let broke_down = record["why"]
            .as_str()
            .is_some_and(|why| why.contains("broke down"));
        *counts = (counts.0 + 1, counts.1 + u64::from(broke_down));
    }
    for act in ACTS {
        let (all, broken) = acts[act];
        match act {
            "remove-file" => assert_eq!(all, RECORDED + tidied, "{act}: {acts:?}"),
            "remove-dir" => assert!(all >= RECORDED, "{act}: {acts:?}"),
            // One is the bystander's.
            "upload" => assert_eq!(all, RECORDED + 1, "{act}: {acts:?}"),
            _ => assert_eq!(all, RECORDED, "{act}: {acts:?}"),
        }
        assert!(broken > 0, "{act}: {acts:?}");
    }

    bystander.cut().await;
    sftp.cut().await;
    while desk.gate.connections() > 0 || !desk.gate.sessions().is_empty() {
        tokio::task::yield_now().await;
    }
}

//! Floods of acts that do nothing: the audit log keeps room for what was done.

use std::collections::BTreeMap;

use portreeve_vfs::{Attrs, Links, WriteMode};

use super::*;

impl Rig {
    /// Acts that the log does not tell one by one.
    fn unwritten(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for record in self.records() {
            for (kind, n) in record["unwritten"].as_object().into_iter().flatten() {
                *sum.entry(kind.clone()).or_default() += n.as_u64().unwrap();
            }
        }
        sum
    }
}

fn reading() -> Rig {
    let terms = Terms {
        verbs: Some(&["list", "read", "create"]),
        ..Terms::default()
    };
    Rig::new(Memory::new(), &terms)
}

#[tokio::test]
async fn a_flood_is_counted_and_nothing_that_was_done_is_left_out() {
    let rig = reading();
    let session = rig.session().await;
    let fs = session.fs();
    for n in 0..500 {
        assert!(fs.make_dir(&p("/d"), Attrs::default()).await.is_err());
        assert!(fs.list(&p("/"), None).await.is_ok());
        assert!(fs.list(&p("/none"), None).await.is_err());
        assert!(fs.stat(&p("/none"), Links::Follow).await.is_err());
        assert!(fs.download(&p("/none")).await.is_err());
        assert!(fs.upload(&p("/none/x"), how(WriteMode::CreateNew)).await.is_err());
        if n % 2 == 0 {
            put(&session, &format!("/f{n}"), 1).await.unwrap();
            let download = fs.download(&p(&format!("/f{n}"))).await.unwrap();
            assert_eq!(download.read(0, 10, Vec::new()).await.unwrap().len(), 1);
        }
    }
    drop(session);
    until(async || rig.outcomes("logout").len() == 1).await;
    let mut written: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (act, outcome, _) in rig.events() {
        *written.entry((act, outcome)).or_default() += 1;
    }
    let of = |act: &str, outcome: &str| written[&(act.to_owned(), outcome.to_owned())];
    assert_eq!((of("upload", "ok"), of("download", "ok")), (250, 250));
    let unwritten = rig.unwritten();
    for (act, outcome) in [
        ("make-dir", "refused"),
        ("list", "ok"),
        ("list", "failed"),
        ("download", "failed"),
        ("upload", "failed"),
    ] {
        let told = unwritten.get(&format!("{act} {outcome}"));
        assert_eq!((of(act, outcome), told), (100, Some(&400)), "{act} {outcome}");
    }
    assert_eq!(unwritten.len(), 5, "{unwritten:?}");
}

#[tokio::test]
async fn a_log_that_works_again_is_tried_by_a_session_that_is_damped() {
    let rig = reading();
    let session = rig.session().await;
    for _ in 0..300 {
        assert!(session.fs().make_dir(&p("/d"), Attrs::default()).await.is_err());
    }
    let socket = rig.log.with_file_name("socket");
    let options = AuditOptions {
        sinks: vec![SinkOptions::Syslog {
            socket: socket.clone(),
        }],
        ..AuditOptions::default()
    };
    rig.gate.swap_audit(Audit::open(&options, &socket).unwrap());
    assert!(put(&session, "/a", 1).await.is_err(), "nobody listens");
    for _ in 0..300 {
        assert!(session.fs().make_dir(&p("/d"), Attrs::default()).await.is_err());
    }
    // Nothing but a try tells that somebody listens again; this session is the only one.
    let _daemon = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let began = std::time::Instant::now();
    while !rig.gate.0.audit.healthy() {
        assert!(session.fs().make_dir(&p("/d"), Attrs::default()).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(60), "it was never tried");
    }
    put(&session, "/b", 1).await.unwrap();
}

//! Whichever call of the storage fails: nothing torn is seen, each act is recorded once, and nothing is
//! left over.

use portreeve_vfs::{Attrs, Faulty, FsErrorKind, Links, Removal, Rename};

use super::*;

const PART: &str = "/in/part";
const WHOLE: &str = "/in/whole";

/// What a person does in one sitting; what fails does not keep the rest from being tried. Answers how
/// many acts there were that are to be recorded.
async fn sitting(session: &Session) -> usize {
    let fs = session.fs();
    let _ = fs.make_dir(&p("/in"), Attrs::default()).await;
    let opened = fs.upload(&p(PART), how(WriteMode::Replace)).await;
    if let Ok(upload) = opened {
        let _ = upload.write(0, zeros(6)).await;
        let _ = upload.write(6, zeros(4)).await;
        let _ = fs.stat(&p(PART), Links::Keep).await;
        let _ = upload.commit().await;
    }
    let _ = fs.rename(&p(PART), &p(WHOLE), Rename::Replace).await;
    if let Ok(mut listing) = fs.list(&p("/in"), None).await {
        while matches!(listing.next(10).await, Ok(page) if !page.is_empty()) {}
    }
    let downloads = match fs.download(&p(WHOLE)).await {
        Ok(download) => {
            let _ = download.read(0, 100, Vec::new()).await;
            1
        }
        Err(_) => 1,
    };
    let _ = fs.remove(&p(WHOLE), Removal::File).await;
    let _ = fs.remove(&p("/in"), Removal::Dir).await;
    6 + downloads
}

#[tokio::test]
async fn whichever_call_fails_nothing_is_torn_lost_or_left_over() {
    for kind in [FsErrorKind::NoSpace, FsErrorKind::Backend, FsErrorKind::TimedOut] {
        for n in 1.. {
            let memory = Memory::new();
            let faulty = Arc::new(Faulty::over(Arc::new(memory.clone())));
            let terms = Terms {
                limits: MountLimits {
                    quota: Some(portreeve_model::options::SizeText(1000)),
                    ..MountLimits::default()
                },
                ..Terms::default()
            };
            let rig = Rig::over(Arc::clone(&faulty) as Arc<dyn FileSystem>, &terms);
            let session = rig.session().await;
            let before = faulty.calls();
            faulty.fail_nth(n, kind);
            let acts = sitting(&session).await;
            let failed = faulty.calls() - before >= n;
            faulty.heal();

            let id = session.id();
            let events = rig.events();
            assert_eq!(events.len(), 1 + acts, "call {n}: {events:?}");
            assert_eq!(rig.gate.sessions().remove(0).transfers, 0, "call {n}");
            assert!(session.fs().live().pending.is_empty(), "call {n}");
            for name in [PART, WHOLE] {
                if let Ok(entry) = session.fs().stat(&p(name), Links::Keep).await {
                    assert_eq!(entry.size, Some(10), "{name} after call {n} failed");
                }
            }
            // Tidied up, nothing is counted any more.
            for name in [PART, WHOLE] {
                let _ = session.fs().remove(&p(name), Removal::File).await;
            }
            assert_eq!(rig.used().await, 0, "call {n} {kind:?}");
            sitting(&session).await;
            assert_eq!(rig.used().await, 0, "after call {n} {kind:?}");
            drop(session);
            assert!(rig.gate.sessions().iter().all(|info| info.id != id));
            if !failed {
                assert!(n > 12, "the sitting makes more than {n} calls");
                break;
            }
        }
    }
}

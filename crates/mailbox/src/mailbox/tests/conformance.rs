use async_trait::async_trait;
use portreeve_vfs::conformance::{Fixture, Report, Stage, run};

use super::*;
use crate::Layout;

struct Drafts;
struct ReadOnly;

#[async_trait]
impl Fixture for Drafts {
    async fn stage(&self) -> Box<dyn Stage> {
        Box::new(World::empty(|_| {}))
    }
}

#[async_trait]
impl Fixture for ReadOnly {
    async fn stage(&self) -> Box<dyn Stage> {
        Box::new(World::sample(|options| options.mail.on_upload = OnUpload::Refuse))
    }
}

/// Each message a directory, and few of what there is.
struct Messages;

#[async_trait]
impl Fixture for Messages {
    async fn stage(&self) -> Box<dyn Stage> {
        Box::new(World::sample(|options| {
            options.mail.on_upload = OnUpload::Refuse;
            options.mail.layout = Layout::Messages;
            options.mail.folders = vec!["/Inbox".into()];
        }))
    }
}

#[async_trait]
impl Stage for World {
    fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.mailbox) as Arc<dyn FileSystem>
    }

    fn base(&self) -> VPath {
        path("/Inbox")
    }

    fn sample(&self) -> Option<(VPath, Vec<u8>)> {
        let (_, raw) = sample::messages().into_iter().nth(1)?;
        let part = crate::inspect(&raw, Default::default())
            .parts
            .into_iter()
            .next()?;
        let content = crate::mime::decode(part.encoding, &raw[part.body]);
        let name = match self.options.mail.layout {
            Layout::Flat => "Order ACME Ltd-order.xml",
            Layout::Messages => "Order ACME Ltd/order.xml",
        };
        let there = self
            .root("cur")
            .read_dir()
            .is_ok_and(|mut dir| dir.next().is_some());
        there.then(|| (path(&format!("/Inbox/{name}")), content))
    }

    async fn reopen(&self) -> Option<Arc<dyn FileSystem>> {
        Some(Arc::new(Mailbox::maildir(&self.options).ok()?))
    }
}

#[tokio::test]
async fn drafts() {
    let report = run(&Drafts).await.unwrap();
    // Every ability that is missing is one that mail cannot have.
    let missing = [
        "replace",
        "update",
        "append",
        "resume",
        "times",
        "permissions",
        "copy",
        "hard links",
        "space",
    ];
    for (case, why) in &report.skipped {
        let known = missing.iter().any(|missing| why.starts_with(missing)) || *why == "being read-only";
        assert!(known, "{case}: {why}");
    }
    for case in [
        "writing::sparse_and_out_of_order",
        "exclusive::race",
        "listing::under_change",
        "renaming::no_replace_race",
    ] {
        assert!(report.passed.contains(&case), "{case}");
    }
}

#[tokio::test]
async fn read_only() {
    for report in [run(&ReadOnly).await, run(&Messages).await] {
        let report = report.unwrap();
        check_read(&report);
    }
}

fn check_read(report: &Report) {
    for case in ["reading::sample", "reading::parallel", "refusals::read_only"] {
        assert!(report.passed.contains(&case), "{case}");
    }
}

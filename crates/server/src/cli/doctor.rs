//! `doctor`: what stands in the way of the mailboxes of a configuration.
//!
//! Invariants: it needs no running server and disturbs none; secrets are read as the server reads them;
//! refresh tokens that are exchanged meanwhile are kept where the server finds them.

use std::{fmt::Write as _, sync::Arc};

use portreeve_auth::BanList;
use portreeve_mailbox::doctor::{self, Finding, Subjects, Verdict};
use portreeve_store::Store;
use serde_json::json;

use super::{Failure, Out, arguments::Doctor, offline, show::plain};
use crate::{
    check::{self, did_you_mean},
    options::{Config, Storage, StorageKind},
    service::{DataDir, DataDirError},
    wiring::{Given, Lasting},
};

/// What was found of one storage.
struct Sheet {
    storage: String,
    kind: &'static str,
    findings: Vec<Finding>,
}

/// Looks, and tells; exit code 1 where something failed.
pub(super) fn examine(what: Doctor, out: &mut Out) -> Result<(), Failure> {
    let config = check::check_file(&what.from.config)?;
    let storages: Vec<Storage> = config
        .storages
        .iter()
        .filter(|storage| what.storage.as_ref().is_none_or(|name| *name == storage.name))
        .cloned()
        .collect();
    if let Some(name) = what.storage.as_ref().filter(|_| storages.is_empty()) {
        let known = config.storages.iter().map(|storage| storage.name.as_str());
        let hint = did_you_mean(name, known)
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        return Err(Failure::Usage(format!("there is no storage '{name}'{hint}")));
    }
    let subjects = Subjects {
        mailboxes: what.mailboxes,
        outside: what.outside,
    };
    offline::not_as_a_stranger(&config.server.data_dir)?;
    // Held against a server that would start meanwhile; one that runs has it, and is not disturbed.
    let _held = match DataDir::take(&config.server.data_dir) {
        Ok(held) => Some(held),
        Err(DataDirError::Taken(_)) => None,
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let sheets = runtime.block_on(look(&config, storages, &subjects))?;
    let failed = sheets
        .iter()
        .flat_map(|sheet| &sheet.findings)
        .any(|finding| finding.verdict == Verdict::Failed);
    let answer = json!({
        "ok": !failed,
        "storages": sheets.iter().map(|sheet| json!({
            "storage": sheet.storage, "type": sheet.kind, "findings": sheet.findings,
        })).collect::<Vec<_>>(),
    });
    out.answer(&answer, |_| tell(&sheets))?;
    if failed { Err(Failure::Told(1)) } else { Ok(()) }
}

async fn look(config: &Config, storages: Vec<Storage>, subjects: &Subjects) -> Result<Vec<Sheet>, Failure> {
    let store = Store::open(&config.store.url, &config.server.data_dir)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let lasting = Lasting::new(config, &store, Arc::new(BanList::new(None)));
    let mut sheets = Vec::new();
    for storage in storages {
        let kind = match &storage.kind {
            StorageKind::Disk(_) | StorageKind::Maildir(_) => continue,
            StorageKind::Exchange(_) => "exchange",
            StorageKind::Imap(_) => "imap",
        };
        let findings = one(&storage, &lasting, subjects).await?;
        sheets.push(Sheet {
            storage: storage.name,
            kind,
            findings,
        });
    }
    store.close().await;
    Ok(sheets)
}

async fn one(storage: &Storage, lasting: &Lasting, subjects: &Subjects) -> Result<Vec<Finding>, Failure> {
    let (kind, keeper) = (storage.kind.clone(), Arc::clone(&lasting.secrets));
    let runtime = tokio::runtime::Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        Given::read(&kind, &keeper)
    });
    let given = match reading
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?
    {
        Ok(given) => given,
        Err(why) => {
            return Ok(vec![Finding {
                stage: "configuration",
                about: "secret".to_owned(),
                verdict: Verdict::Failed,
                text: why,
                run: vec!["run this as the server's user, with the server's environment".to_owned()],
            }]);
        }
    };
    Ok(match &storage.kind {
        StorageKind::Exchange(options) => {
            doctor::exchange(options, &given.exchange(), &lasting.around.cloud, subjects).await
        }
        StorageKind::Imap(options) => doctor::imap(options, &given.imap(), &lasting.around, subjects).await,
        StorageKind::Disk(_) | StorageKind::Maildir(_) => Vec::new(),
    })
}

/// For people.
fn tell(sheets: &[Sheet]) -> String {
    let mut out = String::new();
    if sheets.is_empty() {
        out.push_str("no storage here is a mailbox elsewhere: there is nothing to look at\n");
    }
    for sheet in sheets {
        let _ = writeln!(out, "[storage.{}] {}", plain(&sheet.storage), sheet.kind);
        for finding in &sheet.findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED ",
                Verdict::Skipped => "skipped",
            };
            let about = match finding.about.as_str() {
                "" => String::new(),
                about => format!("{}: ", plain(about)),
            };
            let _ = writeln!(
                out,
                "  {mark} {:13} {about}{}",
                finding.stage,
                plain(&finding.text)
            );
            for line in &finding.run {
                let _ = writeln!(out, "          > {}", plain(line));
            }
        }
    }
    out
}

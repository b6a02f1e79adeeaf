//! The doctor and the stand-in: each illness is found at its stage, and what comes after it is skipped.

use std::sync::Arc;

use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_model::{Secret, options::SecretText};
use portreeve_tests::{Dovecot, Tokens, dovecot::PASSWORD};
use portreeve_tests_microsoft::Standin;
use serde_json::json;

use super::*;
use crate::{ExchangeOptions, ExchangeSecrets};

const BOX: &str = "invoices@contoso.example";

fn options(standin: &Standin, change: impl FnOnce(&mut serde_json::Value)) -> ExchangeOptions {
    let mut all = json!({
        "mailbox": BOX, "directory_id": standin.tenant(), "application_id": standin.app_id(),
        "password": "named elsewhere", "authority": standin.authority(), "graph": standin.graph(),
        "ca_file": standin.ca_file(),
    });
    change(&mut all);
    serde_json::from_value(all).unwrap()
}

async fn examine(options: &ExchangeOptions, secret: &str, outside: Option<&str>) -> Vec<Finding> {
    let secrets = ExchangeSecrets {
        password: Some(Secret::new(secret.to_owned())),
        ..ExchangeSecrets::default()
    };
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    let subjects = Subjects {
        mailboxes: Vec::new(),
        outside: outside.map(str::to_owned),
    };
    let mut findings = exchange(options, &secrets, &cloud, &subjects).await;
    for finding in &findings {
        let shown = format!("{finding:?}");
        assert!(!shown.contains(secret), "a secret stands in {shown}");
    }
    // Graph is set by hand here: the host of uploads is not known.
    findings.retain(|finding| finding.about != "uploads");
    findings
}

fn at<'a>(findings: &'a [Finding], stage: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.stage == stage).collect()
}

#[track_caller]
fn only<'a>(findings: &'a [Finding], stage: &str, verdict: Verdict) -> &'a Finding {
    let found = at(findings, stage);
    assert_eq!(found.len(), 1, "{stage}: {findings:#?}");
    assert_eq!(found[0].verdict, verdict, "{:#?}", found[0]);
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_by_rbac_is_well_at_every_stage() {
    let standin = Standin::start();
    drop(standin.mailbox(BOX));
    drop(standin.mailbox("boss@contoso.example"));
    standin.roles(standin.app_id(), &[]);
    standin.rbac(standin.app_id(), BOX, "Mail.ReadWrite");
    let findings = examine(
        &options(&standin, |_| {}),
        standin.secret(),
        Some("boss@contoso.example"),
    )
    .await;
    assert!(
        findings.iter().all(|finding| finding.verdict == Verdict::Ok),
        "{findings:#?}"
    );
    for stage in ["dns", "tcp", "tls", "http"] {
        assert_eq!(
            at(&findings, stage).len(),
            2,
            "{stage}: the token's host and Graph's"
        );
    }
    for stage in [
        "configuration",
        "token",
        "consent",
        "mailbox",
        "folders",
        "throttle",
        "outside",
    ] {
        only(&findings, stage, Verdict::Ok);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_for_every_mailbox_is_a_warning_and_an_open_outsider_a_failure() {
    let standin = Standin::start();
    drop(standin.mailbox(BOX));
    drop(standin.mailbox("boss@contoso.example"));
    standin.roles(standin.app_id(), &["Mail.ReadWrite"]);
    standin.rbac(standin.app_id(), BOX, "Mail.ReadWrite");
    let options = options(&standin, |_| {});
    let findings = examine(&options, standin.secret(), Some("boss@contoso.example")).await;
    let consent = only(&findings, "consent", Verdict::Warning);
    assert!(consent.text.contains("Mail.ReadWrite"), "{consent:?}");
    let outside = only(&findings, "outside", Verdict::Failed);
    assert!(
        outside
            .run
            .iter()
            .any(|line| line.contains("Test-ApplicationAccessPolicy"))
    );
    only(&findings, "mailbox", Verdict::Ok);
    standin.access_policy(standin.app_id(), Some(&[BOX]));
    let findings = examine(&options, standin.secret(), Some("boss@contoso.example")).await;
    only(&findings, "outside", Verdict::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_illness_is_found_at_its_stage() {
    let standin = Standin::start();
    drop(standin.mailbox(BOX));
    standin.roles(standin.app_id(), &[]);
    let sound = options(&standin, |_| {});

    let findings = examine(&sound, standin.secret(), None).await;
    let denied = only(&findings, "mailbox", Verdict::Failed);
    let run = denied.run.join("\n");
    for part in [
        "New-ServicePrincipal",
        "New-ManagementRoleAssignment",
        standin.app_id(),
        BOX,
        "2 hours",
    ] {
        assert!(run.contains(part), "{part} is missing in\n{run}");
    }
    only(&findings, "folders", Verdict::Skipped);
    only(&findings, "throttle", Verdict::Skipped);

    let findings = examine(&sound, "wrong-secret-value", None).await;
    let token = only(&findings, "token", Verdict::Failed);
    assert!(
        token.text.contains("AADSTS") && !token.run.is_empty(),
        "{token:?}"
    );
    only(&findings, "mailbox", Verdict::Skipped);

    standin.rbac(standin.app_id(), BOX, "Mail.ReadWrite");
    let stranger = options(&standin, |all| all["mailbox"] = json!("nobody@contoso.example"));
    let findings = examine(&stranger, standin.secret(), None).await;
    only(&findings, "mailbox", Verdict::Failed);

    let untrusted = options(&standin, |all| all["ca_file"] = json!(null));
    let findings = examine(&untrusted, standin.secret(), None).await;
    assert!(
        at(&findings, "tls")
            .iter()
            .all(|finding| finding.verdict == Verdict::Failed)
    );
    only(&findings, "token", Verdict::Skipped);
    only(&findings, "mailbox", Verdict::Skipped);

    let wrong = options(&standin, |all| all["max_in_flight"] = json!(9));
    let findings = examine(&wrong, standin.secret(), None).await;
    only(&findings, "configuration", Verdict::Failed);
    only(&findings, "token", Verdict::Skipped);

    let template = options(&standin, |all| all["mailbox"] = json!("{user.mail}"));
    let findings = examine(&template, standin.secret(), None).await;
    let mailbox = only(&findings, "mailbox", Verdict::Skipped);
    assert!(mailbox.text.contains("--mailbox"));
}

fn around(dir: &tempfile::TempDir) -> crate::Surroundings {
    crate::Surroundings::new(
        Arc::new(crate::MemoryShelf::default()),
        Arc::new(portreeve_vfs::SpoolArea::new(dir.path().into(), 1 << 20, 1 << 20)),
        Cloud::new(Arc::new(MemoryVault::default())),
    )
}

/// Where there is no Dovecot there is nothing to look at.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_lets_in_who_has_the_password_and_says_when_it_does_not() {
    if !Dovecot::installed() {
        return;
    }
    let dovecot = Dovecot::start(&Tokens::Introspected);
    let mut options = crate::ImapOptions::new("localhost");
    options.port = dovecot.port();
    options.ca_file = Some(dovecot.ca_file());
    options.username = Some("alice".into());
    options.password = Some(SecretText::Inline(Secret::new("unused".into())));
    let dir = tempfile::tempdir().unwrap();
    for (password, verdict, after) in [
        (PASSWORD, Verdict::Ok, Verdict::Ok),
        ("wrong-secret-value", Verdict::Failed, Verdict::Skipped),
    ] {
        let secrets = crate::ImapSecrets {
            password: Some(Secret::new(password.to_owned())),
            refresh_token: None,
        };
        let findings = imap(&options, &secrets, &around(&dir), &Subjects::default()).await;
        for stage in ["configuration", "dns", "tcp", "tls"] {
            only(&findings, stage, Verdict::Ok);
        }
        let offered = only(&findings, "capabilities", Verdict::Ok);
        assert!(offered.text.contains("AUTH="), "{offered:?}");
        only(&findings, "login", verdict);
        only(&findings, "folders", after);
        assert!(!format!("{findings:?}").contains("wrong-secret"), "{findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_none_is_told_as_such() {
    let standin = Standin::start();
    let options: crate::ImapOptions = serde_json::from_value(json!({
        "host": "localhost", "port": standin.port(), "username": "a@x.example", "password": "hunter2",
        "ca_file": standin.ca_file(),
    }))
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let secrets = crate::ImapSecrets {
        password: Some(Secret::new("hunter2".to_owned())),
        refresh_token: None,
    };
    let findings = imap(&options, &secrets, &around(&dir), &Subjects::default()).await;
    only(&findings, "tls", Verdict::Ok);
    only(&findings, "capabilities", Verdict::Failed);
    only(&findings, "login", Verdict::Skipped);
    assert!(!format!("{findings:?}").contains("hunter2"));
    assert!(matches!(options.password, Some(SecretText::Inline(_))));
}

#[test]
fn a_host_is_read_out_of_its_address() {
    for (url, want) in [
        (
            "https://login.microsoftonline.com",
            Some(("login.microsoftonline.com", 443)),
        ),
        ("https://graph.example:8443/v1.0", Some(("graph.example", 8443))),
        ("imap.example:993", Some(("imap.example", 993))),
        ("https://[::1]:1234/x", Some(("::1", 1234))),
        ("[::1]", Some(("::1", 443))),
        ("https://", None),
        (":993", None),
        ("h:port", None),
    ] {
        let got = place(url);
        let got = got.as_ref().map(|(host, port)| (host.as_str(), *port));
        assert_eq!(got, want, "{url}");
    }
}

#[test]
fn a_template_needs_an_address() {
    let written = ["{user.mail}".to_owned(), "a@x".to_owned()];
    let mut subjects = Subjects::default();
    assert_eq!(subjects.of(&written), ["a@x"]);
    subjects.mailboxes.push("b@x".to_owned());
    assert_eq!(subjects.of(&written), ["b@x"]);
}

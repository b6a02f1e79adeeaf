//! Signing in, every way; proxies.

use portreeve_tests_microsoft::Standin;

use super::*;
use crate::Mechanism;

async fn listed(options: &ImapOptions, address: &str, secrets: &ImapSecrets) -> FsResult<usize> {
    let spool = tempfile::tempdir().unwrap();
    let around = surroundings(&Arc::default(), &spool);
    let store = Imap::open(options, address, secrets, &around).unwrap();
    store.folders(None, None).await.map(|page| page.items.len())
}

/// What the store's log would say: the cause beneath the error for people.
fn cause(error: &FsError) -> String {
    use std::error::Error;
    error.source().map(ToString::to_string).unwrap_or_default()
}

fn password(text: &str) -> ImapSecrets {
    ImapSecrets {
        password: Some(Secret::new(text.into())),
        refresh_token: None,
    }
}

#[tokio::test]
async fn by_password() {
    let Some(world) = World::new(|_| {}) else {
        return;
    };
    let mut options = world.options.clone();
    for mechanism in [Mechanism::Auto, Mechanism::Plain, Mechanism::Login] {
        options.mechanism = mechanism;
        assert_eq!(
            listed(&options, "alice", &password(PASSWORD)).await.unwrap(),
            3,
            "{mechanism:?}"
        );
        let refused = listed(&options, "alice", &password("wrong")).await.unwrap_err();
        assert_eq!(refused.kind(), FsErrorKind::Denied, "{mechanism:?}");
        assert!(!cause(&refused).contains("wrong"), "{}", cause(&refused));
    }
    // A certificate that nobody vouches for.
    options.ca_file = None;
    let refused = listed(&options, "alice", &password(PASSWORD)).await.unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::Backend);
}

/// Certificate authorities of two servers in one file.
fn both(dir: &TempDir, standin: &Standin, dovecot: &Dovecot) -> std::path::PathBuf {
    let file = dir.path().join("both.pem");
    let read = |path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&file, read(standin.ca_file()) + &read(dovecot.ca_file())).unwrap();
    file
}

fn oauth(standin: &Standin, dovecot: &Dovecot, dir: &TempDir) -> ImapOptions {
    let mut options = ImapOptions::new("localhost");
    options.port = dovecot.port();
    options.ca_file = Some(both(dir, standin, dovecot));
    options.username = Some(format!("alice@example.com~{}", standin.app_id()));
    options.password = Some(SecretText::Inline(Secret::new("unused".into())));
    options.token_endpoint = Some(format!(
        "{}/{}/oauth2/v2.0/token",
        standin.authority(),
        standin.tenant()
    ));
    options.idle = false;
    options
}

/// An app by itself: the token names no mailbox, so the server asks who may open it.
#[tokio::test]
async fn by_a_token_that_the_server_asks_about() {
    if !Dovecot::installed() {
        return;
    }
    let (standin, dir) = (Standin::start(), tempfile::tempdir().unwrap());
    standin.roles(&standin.app_id(), &["IMAP.AccessAsApp"]);
    let dovecot = Dovecot::start(&Tokens::Introspected);
    let mut options = oauth(&standin, &dovecot, &dir);
    let secrets = password(&standin.secret());
    for mechanism in [Mechanism::Auto, Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        options.mechanism = mechanism;
        dovecot.grant_all("alice@example.com");
        let issued = standin.tokens_issued();
        assert_eq!(
            listed(&options, "alice@example.com", &secrets).await.unwrap(),
            3,
            "{mechanism:?}"
        );
        assert_eq!(standin.tokens_issued(), issued + 1);
        // A mailbox that was not granted; a token that is good for nothing. The server says why in a challenge
        // that must be answered, and is asked once more with a fresh token.
        for mailbox in ["bob@example.com", "alice@example.com"] {
            if mailbox.starts_with("alice") {
                dovecot.grant("*", None);
            }
            let issued = standin.tokens_issued();
            let refused = listed(&options, mailbox, &secrets).await.unwrap_err();
            assert_eq!(
                refused.kind(),
                FsErrorKind::Denied,
                "{mechanism:?} {mailbox} {}",
                cause(&refused)
            );
            assert_eq!(standin.tokens_issued(), issued + 2, "{mechanism:?} {mailbox}");
            assert!(cause(&refused).contains(mailbox), "{}", cause(&refused));
        }
        let refused = listed(&options, "alice@example.com", &secrets).await.unwrap_err();
        let said = cause(&refused);
        assert!(
            said.contains("status 401") || said.contains("invalid_token"),
            "{said}"
        );
        assert!(!said.contains("eyJ"), "{said}");
    }
    // The secret is wrong: no token at all.
    let refused = listed(&options, "alice@example.com", &password("wrong"))
        .await
        .unwrap_err();
    assert!(cause(&refused).contains("7000215"), "{}", cause(&refused));
}

/// Somebody's token, which the server checks by its signature; the next refresh token is kept before it is used.
#[tokio::test]
async fn by_a_token_that_the_server_checks_itself() {
    if !Dovecot::installed() {
        return;
    }
    let (standin, dir) = (Standin::start(), tempfile::tempdir().unwrap());
    let _ = standin.mailbox("alice@example.com");
    let (pem, kid) = standin.signing_key();
    let client = standin.app_id().to_owned();
    let dovecot = Dovecot::start(&Tokens::Signed { pem, kid, client });
    let mut options = oauth(&standin, &dovecot, &dir);
    options.scopes = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access".into();
    options.refresh_token = Some(SecretText::Inline(Secret::new("unused".into())));
    let token = standin.refresh_token(&standin.app_id(), "alice@example.com");
    let secrets = ImapSecrets {
        password: Some(Secret::new(standin.secret().to_owned())),
        refresh_token: Some(Secret::new(token)),
    };
    for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        options.mechanism = mechanism;
        let found = listed(&options, "alice@example.com", &secrets).await;
        assert_eq!(
            found.unwrap_or_else(|error| panic!("{error:?}\n{}", dovecot.log())),
            3,
            "{mechanism:?}"
        );
        // Somebody else's mailbox with one's own token.
        let refused = listed(&options, "bob@example.com", &secrets).await.unwrap_err();
        assert_eq!(refused.kind(), FsErrorKind::Denied, "{mechanism:?}");
    }
}

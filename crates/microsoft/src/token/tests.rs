use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    App, Cloud, Credential, MemoryVault, Vault, VaultError,
    tests::stage::{Answer, Stage, secret, token},
};

fn cloud() -> Cloud {
    Cloud::new(Arc::new(MemoryVault::default()))
}

fn short(text: &str, seconds: u64) -> Answer {
    Answer::json(
        200,
        &json!({"token_type": "Bearer", "expires_in": seconds, "access_token": text}),
    )
}

fn denied(status: u16, error: &str, number: u32) -> Answer {
    Answer::json(
        status,
        &json!({"error": error, "error_description": format!("AADSTS{number}: no\r\nTrace ID: x"), "error_codes": [number]}),
    )
}

#[tokio::test]
async fn many_callers_are_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let stage = Stage::open(move |_| Answer::Held(Arc::clone(&held), Box::new(token("one")))).await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    let callers = (0..50).map(|_| {
        let source = Arc::clone(&source);
        tokio::spawn(async move { source.token().await.unwrap().expose().to_owned() })
    });
    let callers: Vec<_> = callers.collect();
    stage.until(1).await;
    gate.add_permits(50);
    for got in join_all(callers).await {
        assert_eq!(got.unwrap(), "one");
    }
    source.token().await.unwrap();
    assert_eq!(stage.count(), 1);
}

#[tokio::test]
async fn a_refusal_is_shared_and_stands_for_a_while() {
    let stage = Stage::open(|_| denied(401, "invalid_client", 7_000_222)).await;
    let app = App {
        backoff: Duration::from_secs(60),
        ..stage.app(secret("s3cret"))
    };
    let source = cloud().tokens(&app, "scope").unwrap();
    for told in join_all((0..20).map(|_| source.token())).await {
        let told = told.unwrap_err();
        assert_eq!(told.kind, TokenFault::Refused);
        assert!(told.hint.unwrap().contains("expired"), "{told}");
        assert!(!format!("{told} {told:?} {source:?}").contains("s3cret"));
    }
    source.token().await.unwrap_err();
    assert_eq!(stage.count(), 1, "neither repeated nor asked by each");
}

#[tokio::test]
async fn what_passes_is_asked_again_and_not_for_ever() {
    let stage = Stage::open(|asked| match asked.nth {
        0 => denied(503, "temporarily_unavailable", 90033),
        1 => Answer::Raw(Vec::new()),
        2 => denied(400, "invalid_request", 90055),
        _ => token("at last"),
    })
    .await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "at last");
    assert_eq!(stage.count(), 4);

    let stage = Stage::open(|_| Answer::With(503, Vec::new(), b"<html>".to_vec())).await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    let told = source.token().await.unwrap_err();
    assert_eq!(told.kind, TokenFault::Transient);
    assert_eq!(stage.count(), 4);
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_waited_for_once() {
    let up = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&up);
    let stage = Stage::open(move |_| match there.load(SeqCst) {
        true => token("back"),
        false => Answer::Raw(Vec::new()),
    })
    .await;
    // It counts as away for three seconds.
    let app = App {
        backoff: Duration::from_millis(100),
        ..stage.app(secret("s"))
    };
    let source = cloud().tokens(&app, "scope").unwrap();
    assert_eq!(source.token().await.unwrap_err().kind, TokenFault::Network);
    assert_eq!(stage.count(), 4);
    for calls in [5, 6] {
        source.token().await.unwrap_err();
        assert_eq!(stage.count(), calls);
    }
    up.store(true, SeqCst);
    source.token().await.unwrap();
    assert!(source.state.lock().away.is_none());
}

#[tokio::test]
async fn a_token_is_renewed_within_its_grace_and_not_before() {
    for (grace, requests) in [(30, 2), (10, 1)] {
        let stage = Stage::open(|asked| short(&format!("t{}", asked.nth), 20)).await;
        let app = App {
            grace: Duration::from_secs(grace),
            ..stage.app(secret("s"))
        };
        let source = cloud().tokens(&app, "scope").unwrap();
        source.token().await.unwrap();
        source.token().await.unwrap();
        assert_eq!(stage.count(), requests, "grace {grace}");
    }
}

#[tokio::test]
async fn a_token_that_holds_is_better_than_none() {
    let stage = Stage::open(|asked| match asked.nth {
        0 => short("old", 20),
        _ => Answer::With(503, Vec::new(), Vec::new()),
    })
    .await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    let first = source.token().await.unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "old");
    // Once it was rejected it is not handed out again.
    source.reject(&first);
    assert_eq!(source.token().await.unwrap_err().kind, TokenFault::Transient);
}

#[tokio::test]
async fn a_rejected_token_costs_one_request() {
    let stage = Stage::open(|asked| token(&format!("t{}", asked.nth))).await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    let first = source.token().await.unwrap();
    source.reject(&first);
    assert_eq!(source.token().await.unwrap().expose(), "t1");
    source.reject(&first);
    assert_eq!(source.token().await.unwrap().expose(), "t1");
    assert_eq!(stage.count(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stage = Stage::open(|asked| match &*asked.path {
        "/token" => Answer::With(307, vec![("location", "/elsewhere".to_owned())], Vec::new()),
        _ => token("stolen"),
    })
    .await;
    let source = cloud().tokens(&stage.app(secret("s")), "scope").unwrap();
    assert_eq!(source.token().await.unwrap_err().kind, TokenFault::Broken);
    assert_eq!(stage.count(), 1);
}

#[tokio::test]
async fn a_secret_goes_out_whole() {
    let stage = Stage::open(|_| token("t")).await;
    let source = cloud()
        .tokens(&stage.app(secret("a~b+c%d&e=f")), "https://graph/.default")
        .unwrap();
    source.token().await.unwrap();
    let asked = stage.asked().remove(0);
    assert_eq!(asked.field("client_secret").unwrap(), "a~b+c%d&e=f");
    assert_eq!(asked.field("grant_type").unwrap(), "client_credentials");
    assert_eq!(asked.field("scope").unwrap(), "https://graph/.default");
    assert_eq!(asked.field("client_id").unwrap(), "client");
    assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(asked.header("origin"), "");
}

#[tokio::test]
async fn a_certificate_and_a_federated_identity_send_assertions() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["app".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "of.another.provider\n").unwrap();
    for credential in [
        Credential::Certificate {
            certificate: certificate.pem().into_bytes(),
            key: Secret::new(key.serialize_pem()),
        },
        Credential::Federated { file },
    ] {
        let federated = matches!(credential, Credential::Federated { .. });
        let stage = Stage::open(|_| token("t")).await;
        let source = cloud().tokens(&stage.app(credential), "scope").unwrap();
        source.token().await.unwrap();
        let asked = stage.asked().remove(0);
        assert!(asked.field("client_secret").is_none());
        let assertion = asked.field("client_assertion").unwrap();
        if federated {
            assert_eq!(assertion, "of.another.provider");
        } else {
            assert_eq!(assertion.split('.').count(), 3);
            let kind = asked.field("client_assertion_type").unwrap();
            assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        }
    }
}

fn refresh(initial: Option<&str>) -> Credential {
    Credential::Refresh {
        client_secret: None,
        vault_name: "box".to_owned(),
        initial: initial.map(|text| Secret::new(text.to_owned())),
    }
}

fn rotating(asked: &crate::tests::stage::Asked) -> Answer {
    let used = asked.field("refresh_token").unwrap();
    Answer::json(
        200,
        &json!({"token_type": "Bearer", "expires_in": 10, "access_token": format!("for {used}"),
                "refresh_token": format!("{used}+")}),
    )
}

#[tokio::test]
async fn a_refresh_token_changes_with_each_use() {
    let stage = Stage::open(rotating).await;
    let vault = Arc::new(MemoryVault::default());
    let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
    let source = cloud.tokens(&stage.app(refresh(Some("r"))), "scope").unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "for r");
    assert_eq!(vault.load("box").await.unwrap().unwrap().expose(), "r+");
    assert_eq!(source.token().await.unwrap().expose(), "for r+");
    // A restart: the vault's token comes before the one of the configuration.
    let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
    let source = cloud.tokens(&stage.app(refresh(Some("r"))), "scope").unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "for r++");
    let asked = stage.asked().remove(0);
    assert_eq!(asked.field("grant_type").unwrap(), "refresh_token");
}

#[tokio::test]
async fn a_new_token_of_the_configuration_replaces_one_that_was_revoked() {
    let stage = Stage::open(|asked| match asked.field("refresh_token").unwrap() {
        used if used.starts_with("new") => rotating(asked),
        _ => denied(400, "invalid_grant", 50173),
    })
    .await;
    let vault = Arc::new(MemoryVault::default());
    vault.save("box", &Secret::new("old+".to_owned())).await.unwrap();
    let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
    let source = cloud.tokens(&stage.app(refresh(Some("new"))), "scope").unwrap();
    assert_eq!(source.token().await.unwrap().expose(), "for new");
    assert_eq!(vault.load("box").await.unwrap().unwrap().expose(), "new+");
    // Where that one does not hold either, the first refusal is told, and nothing was thrown away.
    vault.save("box", &Secret::new("old+".to_owned())).await.unwrap();
    let source = cloud.tokens(&stage.app(refresh(Some("old"))), "scope").unwrap();
    assert_eq!(source.token().await.unwrap_err().numbers, [50173]);
    assert_eq!(vault.load("box").await.unwrap().unwrap().expose(), "old+");
}

#[tokio::test]
async fn two_resources_take_turns_with_one_refresh_token() {
    let stage = Stage::open(rotating).await;
    let vault = Arc::new(MemoryVault::default());
    let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
    let app = stage.app(refresh(Some("r")));
    let (one, two) = (
        cloud.tokens(&app, "one").unwrap(),
        cloud.tokens(&app, "two").unwrap(),
    );
    let (one, two) = tokio::join!(one.token(), two.token());
    let mut got = [one.unwrap().expose().to_owned(), two.unwrap().expose().to_owned()];
    got.sort();
    assert_eq!(got, ["for r", "for r+"]);
    assert_eq!(stage.peak(), 1);
}

/// A vault that forgets what it is told while it is full.
#[derive(Default)]
struct Full(AtomicBool);

#[async_trait]
impl Vault for Full {
    async fn load(&self, _: &str) -> Result<Option<Secret>, VaultError> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: &Secret) -> Result<(), VaultError> {
        if self.0.swap(true, SeqCst) {
            return Ok(());
        }
        Err(VaultError("the disk is full".to_owned()))
    }
}

#[tokio::test]
async fn no_access_token_comes_out_before_its_refresh_token_is_safe() {
    let stage = Stage::open(rotating).await;
    let cloud = Cloud::new(Arc::new(Full::default()));
    let source = cloud.tokens(&stage.app(refresh(Some("r"))), "scope").unwrap();
    let told = source.token().await.unwrap_err();
    assert_eq!(told.kind, TokenFault::Vault);
    assert!(told.to_string().contains("full"), "{told}");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_lose_the_refresh_token() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let stage = Stage::open(move |asked| Answer::Held(Arc::clone(&held), Box::new(rotating(asked)))).await;
    let vault = Arc::new(MemoryVault::default());
    let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
    let source = cloud.tokens(&stage.app(refresh(Some("r"))), "scope").unwrap();
    let caller = {
        let source = Arc::clone(&source);
        tokio::spawn(async move { source.token().await })
    };
    stage.until(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    let kept = async {
        while vault.load("box").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept).await.unwrap();
    assert_eq!(vault.load("box").await.unwrap().unwrap().expose(), "r+");
}

#[tokio::test]
async fn a_refresh_token_that_does_not_hold_or_is_not_there() {
    let stage = Stage::open(|_| denied(400, "invalid_grant", 700_082)).await;
    let source = cloud()
        .tokens(&stage.app(refresh(Some("r3fresh"))), "scope")
        .unwrap();
    let told = source.token().await.unwrap_err();
    assert_eq!(told.kind, TokenFault::SignIn);
    assert!(told.hint.unwrap().contains("sign in again"), "{told}");
    assert!(!format!("{told:?}{told}").contains("r3fresh"));
    assert_eq!(stage.count(), 1);

    let source = cloud().tokens(&stage.app(refresh(None)), "other").unwrap();
    assert_eq!(source.token().await.unwrap_err().kind, TokenFault::SignIn);
    assert_eq!(stage.count(), 1, "there was nothing to ask with");
}

#[test]
fn a_token_shows_nothing() {
    let token = AccessToken {
        text: Secret::new("t0ken".to_owned()),
        expires: Instant::now(),
        serial: 1,
    };
    assert!(!format!("{token:?}").contains("t0ken"));
}

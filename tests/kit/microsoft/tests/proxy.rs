//! The CONNECT proxy.

use portreeve_tests_microsoft::{ConnectProxy, Standin};
use reqwest::{Certificate, Proxy};

fn client(standin: &Standin, proxy: &ConnectProxy, login: Option<(&str, &str)>) -> reqwest::Client {
    let authority = std::fs::read(standin.ca_file()).unwrap();
    let mut through = Proxy::all(format!("http://{}", proxy.address())).unwrap();
    if let Some((name, password)) = login {
        through = through.basic_auth(name, password);
    }
    let builder = reqwest::Client::builder().tls_certs_only([Certificate::from_pem(&authority).unwrap()]);
    builder.proxy(through).build().unwrap()
}

#[tokio::test]
async fn tunnels_are_counted_and_names_resolved_by_the_proxy() {
    let standin = Standin::start();
    let proxy = ConnectProxy::start();
    let place = format!("login.standin.test:{}", standin.port());
    let url = format!("https://{place}/standin.test/v2.0/.well-known/openid-configuration");
    let got = client(&standin, &proxy, None).get(&url).send().await.unwrap();
    assert_eq!(got.status().as_u16(), 200);
    assert_eq!(proxy.tunnels().get(&place), Some(&1));
    proxy.credentials("user", "pass:word");
    assert!(client(&standin, &proxy, None).get(&url).send().await.is_err());
    assert!(
        client(&standin, &proxy, Some(("user", "wrong")))
            .get(&url)
            .send()
            .await
            .is_err()
    );
    assert_eq!(proxy.denied(), 2);
    assert!(
        client(&standin, &proxy, Some(("user", "pass:word")))
            .get(&url)
            .send()
            .await
            .is_ok()
    );
    proxy.refuse_host("login.standin.test");
    assert!(
        client(&standin, &proxy, Some(("user", "pass:word")))
            .get(&url)
            .send()
            .await
            .is_err()
    );
    proxy.refuse(Some(403));
    let direct = format!(
        "{}/standin.test/v2.0/.well-known/openid-configuration",
        standin.authority()
    );
    assert!(
        client(&standin, &proxy, Some(("user", "pass:word")))
            .get(&direct)
            .send()
            .await
            .is_err()
    );
    proxy.refuse(None);
    assert!(
        client(&standin, &proxy, Some(("user", "pass:word")))
            .get(&direct)
            .send()
            .await
            .is_ok()
    );
}

#[test]
fn a_sample_fills_a_mailbox_and_mistakes_are_told() {
    let standin = Standin::start();
    standin.load(portreeve_tests_microsoft::SAMPLE).unwrap();
    let mailbox = standin.mailbox("reports@example.test");
    assert_eq!(
        mailbox.messages("Inbox")[0].names(),
        ["report-may.pdf", "income-2024-05-01.csv"]
    );
    assert!(
        standin
            .load(r#"{"mailboxes": {"a@b.test": {"Inbox": [{"subjekt": "x"}]}}}"#)
            .is_err()
    );
    let many = r#"{"mailboxes": {"a@b.test": {"Inbox": [{"subject": "x", "repeat": 30,
        "attachments": [{"name": "a", "size": 10}]}]}}}"#;
    standin.load(many).unwrap();
    let found = standin.mailbox("a@b.test").messages("Inbox");
    assert_eq!(
        (found.len(), found[29].message.subject.as_deref()),
        (30, Some("x 00029"))
    );
}

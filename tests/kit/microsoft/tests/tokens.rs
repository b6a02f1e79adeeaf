//! The token endpoint.

use portreeve_tests_microsoft::Standin;
use serde_json::{Value, json};

use crate::client::{Client, Got, http};

const GRAPH: &str = "https://graph.microsoft.com/.default";

/// The number of AADSTS.
fn number(got: &Got) -> (u16, u64) {
    let json = got.json();
    let description = json["error_description"].as_str().unwrap();
    let number = json["error_codes"][0].as_u64().unwrap();
    assert!(
        description.starts_with(&format!("AADSTS{number}: ")),
        "{description}"
    );
    assert!(
        json["trace_id"].is_string() && json["correlation_id"].is_string() && json["timestamp"].is_string()
    );
    (got.status, number)
}

#[tokio::test]
async fn secrets_are_judged_and_refusals_have_their_numbers() {
    let standin = Standin::start();
    let client = Client::new(&standin).await;
    let (app, secret) = (standin.app_id(), standin.secret());
    let form = |id: &'static str, secret: &'static str, scope: &'static str| {
        [
            ("client_id", id),
            ("client_secret", secret),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ]
    };
    let unknown = "11111111-1111-4111-8111-111111111111";
    for (form, expected) in [
        (form(app, "wrong", GRAPH), (401, 7_000_215)),
        (form(unknown, secret, GRAPH), (400, 700_016)),
        (
            form(app, secret, "https://graph.microsoft.com/Mail.Read"),
            (400, 1_002_012),
        ),
        (
            form(app, secret, "https://nowhere.example.test/.default"),
            (400, 500_011),
        ),
    ] {
        assert_eq!(number(&client.token(&form).await), expected);
    }
    let missing = client
        .token(&[("client_id", app), ("client_secret", secret)])
        .await;
    assert_eq!(number(&missing), (400, 900_144));
    let none = client
        .token(&[
            ("client_id", app),
            ("grant_type", "client_credentials"),
            ("scope", GRAPH),
        ])
        .await;
    assert_eq!(number(&none), (401, 7_000_218));
    let url = format!("{}/{unknown}/oauth2/v2.0/token", standin.authority());
    let elsewhere = Got::of(
        client
            .http
            .post(url)
            .form(&form(app, secret, GRAPH))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(number(&elsewhere), (400, 90002));
    let fresh = standin.rotate_secret(app);
    assert_eq!(
        number(&client.token(&form(app, secret, GRAPH)).await),
        (401, 7_000_222)
    );
    let good = client
        .token(&[
            ("client_id", app),
            ("client_secret", &fresh),
            ("grant_type", "client_credentials"),
            ("scope", GRAPH),
        ])
        .await;
    assert_eq!(good.status, 200);
    assert!(good.json().get("refresh_token").is_none());
    standin.faults().token_error(Some((
        400,
        "invalid_grant",
        53003,
        "Blocked by Conditional Access.",
    )));
    assert_eq!(
        number(&client.token(&form(app, secret, GRAPH)).await),
        (400, 53003)
    );
}

#[tokio::test]
async fn a_basic_header_does_as_well() {
    let standin = Standin::start();
    let url = format!("{}/standin.test/oauth2/v2.0/token", standin.authority());
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let form = [("grant_type", "client_credentials"), ("scope", GRAPH)];
    let request = http(&standin)
        .post(url)
        .basic_auth(escape(standin.app_id()), Some(escape(standin.secret())));
    assert_eq!(
        Got::of(request.form(&form).send().await.unwrap()).await.status,
        200
    );
}

fn assertion(
    standin: &Standin,
    certificate: &portreeve_tests_microsoft::ClientCertificate,
    change: impl Fn(&mut Value),
) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::PS256);
    header.x5t_s256 = Some(certificate.thumbprint.clone());
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({"aud": format!("{}/{}/oauth2/v2.0/token", standin.authority(), standin.tenant()),
        "iss": standin.app_id(), "sub": standin.app_id(), "jti": format!("{now}-{}", standin.calls()),
        "nbf": now, "iat": now, "exp": now + 300});
    change(&mut claims);
    let body: String = certificate
        .key
        .lines()
        .filter(|l| !l.starts_with("---"))
        .collect();
    let pkcs8 = STANDARD.decode(body).unwrap();
    jsonwebtoken::encode(
        &header,
        &claims,
        &jsonwebtoken::EncodingKey::from_rsa_der(&pkcs8[26..]),
    )
    .unwrap()
}

#[tokio::test]
async fn assertions_are_judged() {
    let standin = Standin::start();
    let client = Client::new(&standin).await;
    let try_it = async |assertion: &str| {
        let form = [
            ("client_id", standin.app_id()),
            ("grant_type", "client_credentials"),
            ("scope", GRAPH),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
        ];
        client.token(&form).await
    };
    let foreign = standin.foreign_certificate();
    let before = standin.certificate(standin.app_id());
    let good = assertion(&standin, &before, |_| {});
    assert_eq!(try_it(&good).await.status, 200);
    assert_eq!(
        standin.last_client_assertion().unwrap()["claims"]["iss"],
        json!(standin.app_id())
    );
    assert_eq!(
        number(&try_it(&good).await),
        (401, 50013),
        "an assertion is good once"
    );
    assert_eq!(
        number(&try_it(&assertion(&standin, &foreign, |_| {})).await),
        (401, 700_027)
    );
    let mut mixed = foreign;
    mixed.thumbprint.clone_from(&before.thumbprint);
    assert_eq!(
        number(&try_it(&assertion(&standin, &mixed, |_| {})).await),
        (401, 700_027),
        "another key signed it"
    );
    let late = assertion(&standin, &before, |c| c["exp"] = json!(1));
    assert_eq!(number(&try_it(&late).await), (401, 700_024));
    let astray = assertion(&standin, &before, |c| c["aud"] = json!("https://elsewhere.test"));
    assert_eq!(number(&try_it(&astray).await), (401, 700_023));
    assert_eq!(number(&try_it("a.b.c").await), (400, 50027));
    assert_eq!(
        try_it(&standin.federated_assertion(standin.app_id(), 600))
            .await
            .status,
        200
    );
    assert_eq!(
        number(&try_it(&standin.federated_assertion(standin.app_id(), -600)).await),
        (401, 700_024)
    );
}

#[tokio::test]
async fn refresh_tokens_change_with_every_use() {
    let standin = Standin::start();
    let _ = standin.mailbox("box@example.test");
    let mut client = Client::new(&standin).await;
    let first = standin.refresh_token(standin.app_id(), "box@example.test");
    let form = |token: &str| {
        [
            ("client_id", standin.app_id().to_owned()),
            ("client_secret", standin.secret().to_owned()),
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.to_owned()),
            (
                "scope",
                "https://graph.microsoft.com/Mail.ReadWrite offline_access".to_owned(),
            ),
        ]
    };
    let ask = async |client: &Client<'_>, token: &str| {
        let form = form(token);
        let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        client.token(&form).await
    };
    let got = ask(&client, &first).await;
    let second = got.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(
        ask(&client, &first).await.status,
        200,
        "a used one is not revoked by itself"
    );
    got.json()["access_token"]
        .as_str()
        .unwrap()
        .clone_into(&mut client.token);
    let me = format!("{}/me/mailFolders", standin.graph());
    assert_eq!(client.get(&me).await.status, 200);
    assert_eq!(
        client.post("sendMail", json!({"message": {}})).await.status,
        403,
        "only what was asked for"
    );
    standin.faults().revoke_used_refresh_tokens(true);
    let third = ask(&client, &second).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(number(&ask(&client, &second).await), (400, 70043));
    standin.revoke_refresh_tokens("BOX@example.test");
    assert_eq!(number(&ask(&client, &third).await), (400, 70043));
    standin.roles(standin.app_id(), &[]);
    let fresh = standin.refresh_token(standin.app_id(), "box@example.test");
    assert_eq!(
        number(&ask(&client, &fresh).await),
        (400, 65001),
        "nobody consented"
    );
}

#[tokio::test]
async fn discovery_and_keys_are_there() {
    let standin = Standin::start();
    let client = http(&standin);
    let url = format!(
        "{}/standin.test/v2.0/.well-known/openid-configuration",
        standin.authority()
    );
    let found = Got::of(client.get(url).send().await.unwrap()).await.json();
    let issuer = found["issuer"].as_str().unwrap();
    assert!(
        issuer.contains(standin.tenant()),
        "the issuer has the id though the path had the domain"
    );
    let keys = Got::of(
        client
            .get(found["jwks_uri"].as_str().unwrap())
            .send()
            .await
            .unwrap(),
    )
    .await
    .json();
    assert_eq!(keys, standin.jwks());
    assert!(keys["keys"][0].get("alg").is_none());
    let key = jsonwebtoken::DecodingKey::from_rsa_components(keys["keys"][0]["n"].as_str().unwrap(), "AQAB")
        .unwrap();
    let token = Client::new(&standin).await.token;
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["https://graph.microsoft.com"]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation)
        .unwrap()
        .claims;
    assert_eq!(claims["roles"], json!(["Mail.ReadWrite", "Mail.Send"]));
}

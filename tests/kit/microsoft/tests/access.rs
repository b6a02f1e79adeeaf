//! Who may do what to which mailbox.

use portreeve_tests_microsoft::Standin;
use serde_json::json;

use crate::client::{Client, http};

#[tokio::test]
async fn only_a_good_token_opens_anything() {
    let standin = Standin::start();
    let _ = standin.mailbox("box@example.test");
    let mut client = Client::new(&standin).await;
    assert_eq!(client.get("mailFolders").await.status, 200);
    standin.expire_tokens();
    let expired = client.get("mailFolders").await;
    assert_eq!(
        (expired.status, expired.code().as_str()),
        (401, "InvalidAuthenticationToken")
    );
    client.token = "not.a.token".to_owned();
    assert_eq!(client.get("mailFolders").await.status, 401);
    let none = http(&standin)
        .get(client.url("mailFolders"))
        .send()
        .await
        .unwrap();
    assert_eq!(none.status().as_u16(), 401);
    let form = [
        ("client_id", standin.app_id()),
        ("client_secret", standin.secret()),
        ("grant_type", "client_credentials"),
        ("scope", "https://outlook.office365.com/.default"),
    ];
    client.token(&form).await.json()["access_token"]
        .as_str()
        .unwrap()
        .clone_into(&mut client.token);
    assert_eq!(
        client.get("mailFolders").await.status,
        401,
        "a token for IMAP is none for Graph"
    );
    standin.faults().expires_in(0);
    client.sign_in().await;
    assert_eq!(client.get("mailFolders").await.status, 401);
}

#[tokio::test]
async fn roles_policies_and_grants_are_kept_apart() {
    let standin = Standin::start();
    let (app, _box) = (standin.app_id(), standin.mailbox("box@example.test"));
    let _ = standin.mailbox("other@example.test");
    let mut client = Client::new(&standin).await;
    let other = format!("{}/users/OTHER@example.test/mailFolders", standin.graph());
    assert_eq!(
        client.get(&other).await.status,
        200,
        "what Entra grants reaches every mailbox"
    );
    standin.access_policy(app, Some(&["box@example.test"]));
    let denied = client.get(&other).await;
    assert_eq!(
        (denied.status, denied.code().as_str()),
        (403, "ErrorAccessDenied")
    );
    assert_eq!(
        denied.json()["error"]["message"],
        json!("Access to OData is disabled.")
    );
    assert_eq!(client.get("mailFolders").await.status, 200);
    standin.access_policy(app, None);
    standin.roles(app, &[]);
    client.sign_in().await;
    assert_eq!(
        client.get("mailFolders").await.status,
        403,
        "a token alone permits nothing"
    );
    standin.rbac(app, "box@example.test", "Mail.Read");
    assert_eq!(client.get("mailFolders").await.status, 200);
    assert_eq!(
        client
            .post("mailFolders", json!({"displayName": "x"}))
            .await
            .status,
        403
    );
    assert_eq!(client.get(&other).await.status, 403);
    standin.rbac(app, "box@example.test", "Mail.ReadWrite");
    assert_eq!(
        client
            .post("mailFolders", json!({"displayName": "x"}))
            .await
            .status,
        201
    );
    standin.rbac_revoke(app, "box@example.test");
    assert_eq!(client.get("mailFolders").await.status, 403);
}

#[tokio::test]
async fn mailboxes_that_do_not_exist_or_do_not_answer() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    let nobody = format!("{}/users/nobody@example.test/mailFolders", standin.graph());
    let got = client.get(&nobody).await;
    assert_eq!((got.status, got.code().as_str()), (404, "ErrorInvalidUser"));
    let by_id = format!("{}/users/{}/mailFolders", standin.graph(), mailbox.user_id());
    assert_eq!(client.get(&by_id).await.status, 200);
    mailbox.enabled(false);
    assert_eq!(
        client.get("mailFolders").await.code(),
        "MailboxNotEnabledForRESTAPI"
    );
    mailbox.enabled(true);
    mailbox.forbid(true);
    assert_eq!(client.get("mailFolders").await.code(), "ErrorAccessDenied");
    let me = format!("{}/me/mailFolders", standin.graph());
    assert_eq!(client.get(&me).await.status, 400, "an application is nobody");
    let profile = format!("{}/users/box@example.test", standin.graph());
    assert_eq!(
        client.get(&profile).await.code(),
        "Authorization_RequestDenied",
        "mail is not the directory"
    );
}

//! Who gets in, by which way, and for how long.

use super::*;

const ME: &str = "/api/v1/me";

fn form(user: &str, password: &str) -> String {
    let encode = |text: &str| crate::location::encode_value(text.as_bytes());
    format!(
        "user={}&password={}&next=%2Ffiles%2Fa",
        encode(user),
        encode(password)
    )
}

async fn sign_in(rig: &Rig, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    rig.send(request("POST", "/signin", &all, &form("alice", "open sesame")))
        .await
}

#[tokio::test]
async fn basic_asks_the_chain_once() {
    let rig = Rig::new(sample(1));
    for _ in 0..20 {
        assert_eq!(
            rig.get(ME, &[("authorization", ALICE)]).await.status,
            StatusCode::OK
        );
    }
    assert_eq!(rig.verified(), 1);
    assert_eq!(rig.gate.sessions().len(), 1, "one session, not one a request");
    for n in 1..=3 {
        assert_eq!(
            rig.get(ME, &[("authorization", WRONG)]).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(rig.verified(), 1 + n, "a refusal is never remembered");
    }
    let stream = TokioIo::new(rig.connect_from("203.0.113.9:1", false).await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let elsewhere = sender
        .send_request(request("GET", ME, &[("authorization", ALICE)], ""))
        .await
        .unwrap();
    assert_eq!(elsewhere.status(), StatusCode::OK);
    assert_eq!(rig.verified(), 5, "another source is asked for itself");
}

#[tokio::test]
async fn a_memory_dies_with_the_account() {
    let rig = Rig::new(sample(1));
    assert_eq!(
        rig.get(ME, &[("authorization", ALICE)]).await.status,
        StatusCode::OK
    );
    let cookie = sign_in(&rig, &[]).await.cookie();
    assert_eq!(rig.get(ME, &[("cookie", &cookie)]).await.status, StatusCode::OK);
    rig.asked.closed.store(true, Ordering::SeqCst);
    rig.asked.changes.fetch_add(1, Ordering::SeqCst);
    assert_eq!(
        rig.get(ME, &[("authorization", ALICE)]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        rig.get(ME, &[("cookie", &cookie)]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(rig.gate.sessions().len(), 0);
}

#[tokio::test]
async fn a_killed_session_is_out() {
    let rig = Rig::new(sample(1));
    let cookie = sign_in(&rig, &[]).await.cookie();
    rig.get(ME, &[("authorization", ALICE)]).await;
    for session in rig.gate.sessions() {
        assert!(rig.gate.kill(session.id));
    }
    assert_eq!(
        rig.get(ME, &[("cookie", &cookie)]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        rig.get(ME, &[("authorization", ALICE)]).await.status,
        StatusCode::OK,
        "Basic signs in anew"
    );
}

/// `limits.idle` is over at once here: who lives by it is out with the next sweep.
#[tokio::test]
async fn a_browser_lives_by_its_own_idle_time() {
    let limits = LimitsOptions {
        idle: DurationText(Duration::ZERO),
        ..Rig::limits()
    };
    for (session_idle, stays) in [
        (Duration::from_secs(1800), true),
        (Duration::from_nanos(1), false),
    ] {
        let options = WebOptions {
            session_idle: DurationText(session_idle),
            ..WebOptions::default()
        };
        let storage: Arc<dyn FileSystem> = Arc::new(sample(1));
        let rig = Rig::limited(&storage, &options, MountLimits::default(), limits.clone());
        let cookie = sign_in(&rig, &[]).await.cookie();
        rig.get(ME, &[("authorization", ALICE)]).await;
        rig.gate.sweep().await;
        let status = rig.get(ME, &[("cookie", &cookie)]).await.status;
        assert_eq!(status == StatusCode::OK, stays, "{session_idle:?}: {status}");
        rig.get(ME, &[("authorization", ALICE)]).await;
        assert_eq!(rig.verified(), 3, "a session of Basic goes by limits.idle");
    }
}

/// Who signs in again and again shuts out neither himself nor others.
#[tokio::test]
async fn signing_in_again_and_again_makes_room_for_itself() {
    for (sessions_per_user, stay) in [(100, 20), (5, 5)] {
        let limits = LimitsOptions {
            sessions_per_user,
            ..Rig::limits()
        };
        let storage: Arc<dyn FileSystem> = Arc::new(sample(1));
        let rig = Rig::limited(&storage, &WebOptions::default(), MountLimits::default(), limits);
        let first = sign_in(&rig, &[]).await.cookie();
        for n in 0..30 {
            let answer = sign_in(&rig, &[]).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{n}");
            let status = rig.get(ME, &[("cookie", &answer.cookie())]).await.status;
            assert_eq!(status, StatusCode::OK, "{n}");
        }
        assert_eq!(rig.gate.sessions().len(), stay);
        let status = rig.get(ME, &[("cookie", &first)]).await.status;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "the least used made room");
    }
}

/// Nobody asks for anything any more; the session goes all the same.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_ended_leaves_the_register() {
    let rig = Rig::new(sample(1));
    sign_in(&rig, &[]).await;
    rig.get(ME, &[("authorization", ALICE)]).await;
    let sessions = rig.gate.sessions();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        assert!(rig.gate.kill(session.id));
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.gate.sessions().len(), 0);
}

#[tokio::test]
async fn every_refusal_looks_alike() {
    let rig = Rig::new(sample(1));
    // nobody:x, alice:wrong, broken base64, another scheme, nothing
    let mut seen = Vec::new();
    for value in ["Basic bm9ib2R5Ong=", WRONG, "Basic !", "Bearer x", ""] {
        let list = [("authorization", value)];
        let answer = rig.get(ME, if value.is_empty() { &[] } else { &list }).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
        assert!(answer.header("www-authenticate").starts_with("Basic "), "{value}");
        seen.push(answer.text());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let script = rig.get(ME, &[("sec-fetch-mode", "cors")]).await;
    assert!(
        script.header("www-authenticate").starts_with("Cookie "),
        "no box of the browser's own"
    );
    let mut seen = Vec::new();
    for (user, password) in [
        ("alice", "wrong"),
        ("nobody", "x"),
        ("al\u{0}ice", "x"),
        ("", ""),
        ("alice", &"x".repeat(2_000)),
    ] {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = rig
            .send(request("POST", "/signin", &headers, &form(user, password)))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{user}");
        assert_eq!(answer.header("set-cookie"), "");
        let text = answer.text();
        let said = text
            .split("id=\"failure\">")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap();
        seen.push(said.to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_cookie_is_new_safe_and_kept_as_a_digest() {
    let rig = Rig::new(sample(1));
    let first = sign_in(&rig, &[("cookie", "__Host-sid=chosen-by-somebody-else")]).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    assert_eq!(first.header("location"), "/files/a");
    let set = first.header("set-cookie");
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = first.cookie();
    let value = cookie.strip_prefix("__Host-sid=").unwrap();
    assert_eq!(value.len(), 43, "32 bytes");
    assert_ne!(value, "chosen-by-somebody-else");
    let second = sign_in(&rig, &[("cookie", &cookie)]).await.cookie();
    assert_ne!(second, cookie);
    assert_eq!(
        rig.get(ME, &[("cookie", &cookie)]).await.status,
        StatusCode::UNAUTHORIZED,
        "the old one is over"
    );
    assert_eq!(rig.get(ME, &[("cookie", &second)]).await.status, StatusCode::OK);
    assert_eq!(rig.gate.sessions().len(), 1);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let rig = Rig::new(sample(1));
    let cookie = sign_in(&rig, &[]).await.cookie();
    let me = rig.get(ME, &[("cookie", &cookie)]).await.json();
    let token = me["token"].as_str().unwrap().to_owned();
    let target = "/api/v1/files?path=/a.bin";
    for shown in ["", "x", &token[1..]] {
        let headers = [("cookie", cookie.as_str()), ("x-portreeve-token", shown)];
        let answer = rig.send(request("DELETE", target, &headers, "")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{shown}");
    }
    let foreign = [
        ("cookie", cookie.as_str()),
        ("x-portreeve-token", token.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(
        rig.send(request("DELETE", target, &foreign, "")).await.status,
        StatusCode::FORBIDDEN
    );
    let out = [
        ("cookie", cookie.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(
        rig.send(request("POST", "/signout", &out, "token=x"))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    let right = [("cookie", cookie.as_str()), ("x-portreeve-token", token.as_str())];
    assert_eq!(
        rig.send(request("DELETE", target, &right, "")).await.status,
        StatusCode::NO_CONTENT
    );
    let left = rig
        .send(request("POST", "/signout", &out, &format!("token={token}")))
        .await;
    assert_eq!(
        (left.status, left.header("location")),
        (StatusCode::SEE_OTHER, "/signin")
    );
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(
        rig.get(ME, &[("cookie", &cookie)]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(rig.gate.sessions().len(), 0);
}

/// Another site's request is refused before anybody is asked about a credential.
#[tokio::test]
async fn another_site_reaches_no_verifier() {
    let rig = Rig::new(sample(1));
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        assert_eq!(
            sign_in(&rig, headers).await.status,
            StatusCode::FORBIDDEN,
            "{headers:?}"
        );
        let mut all = vec![("authorization", ALICE)];
        all.extend(headers);
        let answer = rig
            .send(request("DELETE", "/api/v1/files?path=/a.bin", &all, ""))
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(rig.verified(), 0);
    assert_eq!(
        sign_in(&rig, &[("origin", "https://files.example")]).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test(start_paused = true)]
async fn a_guesser_is_sent_away() {
    let rig = Rig::new(sample(1));
    let one = format!("GET {ME} HTTP/1.1\r\nhost: x\r\nauthorization: {WRONG}\r\n\r\n");
    let got = rig.raw(one.repeat(20).as_bytes()).await;
    assert_eq!(got.matches("HTTP/1.1 401").count(), 6, "limits.auth_attempts");
    assert!(got.contains("connection: close"));
    assert_eq!(rig.verified(), 6);
}

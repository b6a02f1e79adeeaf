//! The pages, and what every answer has in common.

use super::*;
use crate::routes;

#[tokio::test]
async fn strangers_see_the_form_and_nothing_else() {
    let rig = Rig::new(sample(1));
    for (pattern, methods, _) in routes::table() {
        let target = pattern.replace("{*path}", "a.bin");
        for method in methods {
            let headers = [
                ("content-length", "0"),
                ("content-type", "application/x-www-form-urlencoded"),
            ];
            let headers = if matches!(*method, "GET" | "HEAD") {
                &[][..]
            } else {
                &headers
            };
            let answer = rig.send(request(method, &target, headers, "")).await;
            let shut = answer.status == StatusCode::UNAUTHORIZED
                || answer.header("location").starts_with("/signin?next=");
            // The form's own refusal is a 401 too, but with the form.
            let form = answer.header("content-type").starts_with("text/html");
            // `/files` only leads to `/files/`, which is shut.
            let open = routes::PUBLIC.contains(&(method, pattern)) || pattern == "/files";
            assert_eq!(!shut || form, open, "{method} {pattern}: {}", answer.status);
        }
    }
    assert_eq!(rig.gate.sessions().len(), 0);
}

/// Every address, signed in or not, right or wrong: the same headers.
#[tokio::test]
async fn every_answer_is_shielded() {
    let rig = Rig::new(sample(1));
    for who in ["", ALICE] {
        for (pattern, _, _) in routes::table() {
            let target = pattern.replace("{*path}", "a.bin");
            for method in [
                "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
            ] {
                let list = [("authorization", who)];
                let answer = rig
                    .send(request(
                        method,
                        &target,
                        if who.is_empty() { &[] } else { &list },
                        "",
                    ))
                    .await;
                let at = format!("{method} {target} {}", answer.status);
                for (name, value) in [
                    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
                    ("x-content-type-options", "nosniff"),
                    ("x-frame-options", "DENY"),
                    ("referrer-policy", "no-referrer"),
                    ("cross-origin-opener-policy", "same-origin"),
                    ("cross-origin-resource-policy", "same-origin"),
                    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
                ] {
                    assert_eq!(answer.header(name), value, "{at}");
                }
                assert!(
                    answer
                        .header("content-security-policy")
                        .contains("default-src 'none'"),
                    "{at}"
                );
                let kept = target.starts_with("/assets/") || target == "/favicon.ico";
                if !kept {
                    assert_eq!(answer.header("cache-control"), "no-store", "{at}");
                }
                for name in ["server", "access-control-allow-origin", "x-powered-by"] {
                    assert_eq!(answer.header(name), "", "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_text_and_never_markup() {
    let memory = Memory::new();
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a&amp;b",
        "'x'",
        "{{ 7*7 }}",
        "javascript:alert(1)",
    ];
    for name in hostile {
        memory
            .plant(
                &path("/d")
                    .join(&portreeve_model::Name::new(name.replace('/', "_").into_bytes()).unwrap())
                    .unwrap(),
                b"x",
            )
            .unwrap();
    }
    let rig = Rig::new(memory);
    let page = rig.get("/files/d/", &[("authorization", ALICE)]).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(
        !text.contains("<script") && !text.contains("<img src=x") && !text.contains(" onerror=alert(1)>"),
        "{text}"
    );
    assert!(text.contains("{{ 7*7 }}"));
    let hrefs: Vec<&str> = text
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(hrefs.len() > hostile.len());
    assert!(
        hrefs
            .iter()
            .all(|href| href.starts_with('/') || href.starts_with('#')),
        "{hrefs:?}"
    );
    for href in hrefs
        .iter()
        .filter(|href| href.starts_with("/files/d/") && href.len() > 9)
    {
        let answer = rig.get(href, &[("authorization", ALICE)]).await;
        assert_eq!(answer.text(), "x", "{href}");
        assert_eq!(
            answer.header("content-security-policy"),
            "sandbox; default-src 'none'"
        );
        assert!(
            answer
                .header("content-disposition")
                .starts_with("attachment; filename*=")
        );
    }
    let missing = rig
        .get(
            "/files/%3Cscript%3E",
            &[("authorization", ALICE), ("accept", "text/html")],
        )
        .await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(!missing.text().contains("<script"));
    let echoed = rig
        .get("/signin?next=/files/%22%3E%3Cscript%3E", &[])
        .await
        .text();
    assert!(!echoed.contains("<script"), "{echoed}");
}

#[tokio::test]
async fn a_browser_finds_its_way() {
    let rig = Rig::new(sample(7));
    let page = rig.get("/files/d%20x/?cursor=AA", &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        page.header("location"),
        "/signin?next=%2Ffiles%2Fd%2520x%2F%3Fcursor%3DAA"
    );
    let form = rig.get(page.header("location"), &[]).await.text();
    assert!(
        form.contains("name=\"next\" value=\"/files/d%20x/?cursor=AA\""),
        "{form}"
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = "user=alice&password=open+sesame&next=%2F%2Fevil.example";
    let entered = rig.send(request("POST", "/signin", &headers, body)).await;
    assert_eq!(entered.header("location"), "/files/", "never another site");
    let cookie = entered.cookie();
    let cookie = [("cookie", cookie.as_str())];
    let list = rig.get("/files/", &cookie).await.text();
    assert!(
        list.contains("href=\"/files/a.bin\"") && list.contains(">alice<") && list.contains("7 B"),
        "{list}"
    );
    assert_eq!(rig.get("/files/a.bin", &cookie).await.text(), "0123456");
    assert_eq!(rig.get("/signin", &cookie).await.header("location"), "/files/");
    assert_eq!(rig.get("/", &cookie).await.header("location"), "/files/");
}

#[tokio::test]
async fn large_directories_come_in_pages() {
    let memory = Memory::new();
    for n in 0..1_500 {
        memory.plant(&path(&format!("/d/{n:04}")), b"x").unwrap();
    }
    let rig = Rig::new(memory);
    let first = rig.get("/files/d", &[("authorization", ALICE)]).await;
    assert_eq!(first.header("location"), "/files/d/");
    let first = rig.get("/files/d/", &[("authorization", ALICE)]).await.text();
    let count = |text: &str| text.matches("class=\"file\"").count();
    assert_eq!(count(&first), 1_000);
    let next = first
        .split("rel=\"next\"")
        .next()
        .unwrap()
        .rsplit("href=\"")
        .next()
        .unwrap();
    let second = rig
        .get(next.trim_end_matches([' ', '"']), &[("authorization", ALICE)])
        .await
        .text();
    assert_eq!(count(&second), 500);
    assert!(!second.contains("rel=\"next\""));
}

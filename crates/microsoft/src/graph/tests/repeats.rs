//! What is asked again and what is not, each with its opposite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    graph::{BatchItem, GraphFault, GraphLimits, segment},
    tests::stage::{Answer, Stage, graph_play, quick, token},
};

fn fine() -> Answer {
    Answer::json(200, &json!({"id": "x"}))
}

#[tokio::test]
async fn every_call_says_what_it_must() {
    let stage = Stage::open(graph_play(|_| fine())).await;
    let mailbox = stage.graph(quick()).mailbox("a#EXT#@b.org");
    let path = format!("messages/{}?$select=id", segment("AA/+=="));
    let _: Value = mailbox.get(&path).await.unwrap();
    let text = mailbox.preferring("outlook.body-content-type=\"text\"");
    let _: Value = text.patch("messages/x", &json!({"isRead": true})).await.unwrap();
    let asked = stage.asked();
    assert_eq!(
        asked[1].path,
        "/v1.0/users/a%23EXT%23@b.org/messages/AA%2F%2B==?$select=id"
    );
    assert_eq!(asked[1].header("authorization"), "Bearer t0ken");
    assert_eq!(asked[1].header("prefer"), "IdType=\"ImmutableId\"");
    assert_eq!(asked[1].header("accept"), "application/json");
    assert_eq!(asked[1].header("client-request-id").len(), 36);
    assert_eq!(asked[2].method, "PATCH");
    assert_eq!(
        asked[2].header("prefer"),
        "IdType=\"ImmutableId\", outlook.body-content-type=\"text\""
    );
    assert_eq!(asked[2].json(), json!({"isRead": true}));
    assert_eq!(
        asked[0].field("scope").unwrap(),
        format!("{}/.default", stage.url(""))
    );
    assert_eq!((mailbox.calls(), mailbox.in_flight()), (2, 0));
    assert!(mailbox.bytes_in() > 0 && mailbox.bytes_out() > 0);
}

#[tokio::test]
async fn a_path_stays_in_its_mailbox() {
    let stage = Stage::open(graph_play(|_| fine())).await;
    let mailbox = stage.mailbox();
    for path in ["../other@x/messages", "messages/../../other@x", "%2e%2e/other@x"] {
        let told = mailbox.get::<Value>(path).await.unwrap_err();
        assert!(matches!(told.kind, GraphFault::Invalid), "{path}: {told}");
    }
    for (id, kept) in [
        ("..", "_"),
        ("", "_"),
        (".", "_"),
        ("a/b", "a%2Fb"),
        ("?#", "%3F%23"),
    ] {
        assert_eq!(segment(id), kept);
    }
    assert_eq!(stage.count(), 0);
}

#[tokio::test]
async fn a_401_costs_one_new_token() {
    for (refusals, calls) in [(1, 2), (9, 2)] {
        let stage = Stage::open(move |asked| match &*asked.path {
            "/token" => token(&format!("t{}", asked.nth)),
            _ if asked.nth < 2 * refusals => Answer::error(401, "InvalidAuthenticationToken"),
            _ => fine(),
        })
        .await;
        let mailbox = stage.mailbox();
        let got = mailbox.get::<Value>("x").await;
        assert_eq!(stage.count_of("/x"), calls);
        assert_eq!(stage.count_of("/token"), 2);
        if refusals == 1 {
            got.unwrap();
        } else {
            assert!(matches!(got.unwrap_err().kind, GraphFault::Unauthorized));
        }
    }
}

#[tokio::test]
async fn reading_goes_on_through_all_that_passes() {
    let stage = Stage::open(graph_play(|asked| match asked.nth {
        0 => Answer::error(429, "ApplicationThrottled").and("retry-after", "0"),
        1 => Answer::With(504, Vec::new(), b"<html>".to_vec()),
        2 => Answer::Raw(Vec::new()),
        3 => Answer::With(200, Vec::new(), b"{\"id\": \"x".to_vec()),
        4 => Answer::error(200, "UnknownError"),
        _ => fine(),
    }))
    .await;
    let got: Value = stage.mailbox().get("x").await.unwrap();
    assert_eq!(got["id"], "x");
    assert_eq!(stage.count_of("/x"), 6);
}

#[tokio::test]
async fn nothing_goes_on_for_ever() {
    let stage = Stage::open(graph_play(|_| Answer::error(429, "ApplicationThrottled"))).await;
    let told = stage.mailbox().get::<Value>("x").await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::Throttled), "{told}");
    assert_eq!(stage.count_of("/x"), 6);

    let limits = GraphLimits {
        patience: Duration::ZERO,
        ..quick()
    };
    let stage = Stage::open(graph_play(|_| Answer::error(504, ""))).await;
    let told = stage
        .graph(limits)
        .mailbox("a@b")
        .get::<Value>("x")
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::Unavailable), "{told}");
    assert_eq!(stage.count_of("/x"), 1);
}

/// A service that is there as long as the switch says so.
async fn switched(up: &Arc<AtomicBool>, down: fn() -> Answer) -> Stage {
    let up = Arc::clone(up);
    Stage::open(graph_play(move |asked| match up.load(SeqCst) {
        true if asked.path.ends_with("/gone") => Answer::error(404, "ErrorItemNotFound"),
        true => fine(),
        false => down(),
    }))
    .await
}

#[tokio::test]
async fn one_request_waits_for_a_service_that_is_away_and_the_others_are_told_at_once() {
    let downs: [fn() -> Answer; 4] = [
        || Answer::Raw(Vec::new()),
        || Answer::error(504, ""),
        || Answer::error(503, "serviceNotAvailable"),
        || Answer::With(200, Vec::new(), b"{".to_vec()),
    ];
    for down in downs {
        let up = Arc::new(AtomicBool::new(false));
        let stage = switched(&up, down).await;
        let graph = stage.graph(quick());
        let mailbox = graph.mailbox("box@example.org");
        mailbox.get::<Value>("x").await.unwrap_err();
        assert_eq!(stage.count_of("/x"), 6);
        // Whoever asks, and whatever: it is asked, once.
        let told = graph
            .mailbox("Box@example.org")
            .get::<Value>("x")
            .await
            .unwrap_err();
        assert!(told.is_away(), "{told}");
        assert_eq!(stage.count_of("/x"), 7);
        mailbox
            .batch(vec![BatchItem::get("x"), BatchItem::get("y")])
            .await
            .unwrap_err();
        assert_eq!(stage.count_of("/$batch"), 1);
        let before = stage.count_of("/y");
        graph
            .mailbox("other@example.org")
            .get::<Value>("y")
            .await
            .unwrap_err();
        assert_eq!(
            stage.count_of("/y"),
            before + 6,
            "another mailbox is another matter"
        );
        // The first that gets through ends it, a refusal too.
        for path in ["x", "gone"] {
            up.store(true, SeqCst);
            let _ = mailbox.get::<Value>(path).await;
            up.store(false, SeqCst);
            let before = stage.count_of("/z");
            mailbox.get::<Value>("z").await.unwrap_err();
            assert_eq!(stage.count_of("/z"), before + 6, "after {path}");
        }
    }
}

#[tokio::test]
async fn patience_with_a_service_that_is_away_comes_back() {
    let limits = GraphLimits {
        away: Duration::ZERO,
        ..quick()
    };
    let stage = Stage::open(graph_play(|_| Answer::error(504, ""))).await;
    let mailbox = stage.graph(limits).mailbox("a@b");
    for calls in [6, 12] {
        mailbox.get::<Value>("x").await.unwrap_err();
        assert_eq!(stage.count_of("/x"), calls);
    }
}

#[tokio::test]
async fn a_service_that_throttles_is_not_away() {
    let stage = Stage::open(graph_play(|_| {
        Answer::error(429, "ApplicationThrottled").and("retry-after", "0")
    }))
    .await;
    let mailbox = stage.mailbox();
    for calls in [6, 12] {
        mailbox.get::<Value>("x").await.unwrap_err();
        assert_eq!(stage.count_of("/x"), calls);
    }
}

/// Patience that was spent on a throttle, or on tries of something else, says nothing of the service.
#[tokio::test]
async fn a_service_that_answers_is_not_away() {
    let asked = AtomicUsize::new(0);
    let stage = Stage::open(graph_play(move |call| {
        let before = asked.fetch_add(1, SeqCst);
        match (call.path.as_str(), before) {
            (path, 0) if path.ends_with("/x") => {
                Answer::error(429, "ApplicationThrottled").and("retry-after", "1")
            }
            (path, _) if path.ends_with("/x") => Answer::error(504, ""),
            (path, _) if path.ends_with("/clash") => Answer::error(409, "ErrorIrresolvableConflict"),
            (_, before) if before % 2 == 0 => Answer::error(504, ""),
            _ => fine(),
        }
    }))
    .await;
    let limits = GraphLimits {
        patience: Duration::from_secs(1),
        ..quick()
    };
    let mailbox = stage.graph(limits).mailbox("a@b");
    mailbox.get::<Value>("x").await.unwrap_err();
    assert_eq!(stage.count_of("/x"), 2, "its patience is spent");
    mailbox.get::<Value>("y").await.unwrap();
    let mailbox = stage.graph(quick()).mailbox("c@d");
    mailbox.get::<Value>("clash").await.unwrap_err();
    for path in ["z", "z"] {
        mailbox.get::<Value>(path).await.unwrap();
    }
}

/// What carries the batch is well; the mailbox behind it is not.
#[tokio::test]
async fn a_batch_whose_items_all_fail_has_reached_nobody() {
    let stage = Stage::open(graph_play(|asked| {
        let ids = asked.json()["requests"].as_array().unwrap().clone();
        let answer = |item: &Value| json!({"id": item["id"], "status": 504, "body": {}});
        let all: Vec<Value> = ids.iter().map(answer).collect();
        Answer::json(200, &json!({ "responses": all }))
    }))
    .await;
    let mailbox = stage.mailbox();
    for calls in [6, 7, 8] {
        let answers = mailbox.batch(vec![BatchItem::get("a")]).await.unwrap();
        assert!(answers[0].error.is_some());
        assert_eq!(stage.count_of("/$batch"), calls);
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not_asked_again() {
    for status in [400, 403, 404, 405, 409, 410, 413, 507] {
        let stage = Stage::open(graph_play(move |_| Answer::error(status, "Some"))).await;
        let told = stage.mailbox().get::<Value>("x").await.unwrap_err();
        assert_eq!(told.status, Some(status));
        assert_eq!(stage.count_of("/x"), 1, "{status}");
    }
}

#[tokio::test]
async fn a_creation_is_repeated_only_where_it_was_refused() {
    for (first, calls, uncertain) in [
        (Answer::error as fn(u16, &str) -> Answer, 2, false),
        (|_, _| Answer::error(429, "ApplicationThrottled"), 2, false),
        // A gateway's, behind which it may have been done.
        (|_, _| Answer::With(503, Vec::new(), Vec::new()), 1, true),
        (|_, _| Answer::error(409, "ErrorIrresolvableConflict"), 2, false),
        (|_, _| Answer::error(504, ""), 1, true),
        (|_, _| Answer::error(500, ""), 1, true),
        (|_, _| Answer::Raw(Vec::new()), 1, true),
        (|_, _| Answer::With(201, Vec::new(), b"{".to_vec()), 1, true),
        (|_, _| Answer::error(409, "ErrorFolderExists"), 1, false),
    ] {
        let stage = Stage::open(graph_play(move |asked| match asked.nth {
            0 => first(503, "serviceNotAvailable"),
            _ => fine(),
        }))
        .await;
        let got = stage.mailbox().post::<_, Value>("x", &json!({"a": 1})).await;
        assert_eq!(stage.count_of("/x"), calls);
        assert_eq!(got.is_ok(), calls == 2);
        if let Err(told) = got {
            assert_eq!(told.uncertain, uncertain, "{told}");
        }
    }
}

#[tokio::test]
async fn an_answer_with_nothing_in_it_is_enough_for_who_wants_nothing() {
    let stage = Stage::open(graph_play(|_| Answer::With(202, Vec::new(), Vec::new()))).await;
    let mailbox = stage.mailbox();
    let () = mailbox.post("messages/x/send", &json!({})).await.unwrap();
    let () = mailbox
        .post_raw("messages", "text/plain", Bytes::from_static(b"QQ=="))
        .await
        .unwrap();
    let asked = stage.asked();
    assert_eq!(asked[2].header("content-type"), "text/plain");
    assert_eq!(asked[2].text(), "QQ==");
    let told = mailbox.post::<_, String>("x", &json!({})).await.unwrap_err();
    assert!(told.uncertain, "{told}");
}

/// A mailbox that is not there for a while is no item that is gone: nothing was deleted.
#[tokio::test]
async fn a_mailbox_that_is_away_at_the_second_try_is_no_deletion() {
    let stage = Stage::open(graph_play(|asked| match asked.nth {
        0 => Answer::Raw(Vec::new()),
        _ => Answer::error(404, "MailboxNotEnabledForRESTAPI"),
    }))
    .await;
    let told = stage.mailbox().delete("messages/x").await.unwrap_err();
    assert!(told.mailbox_unknown(), "{told}");
}

#[tokio::test]
async fn gone_at_the_second_try_is_done() {
    let stage = Stage::open(graph_play(|asked| match asked.nth {
        0 => Answer::Raw(Vec::new()),
        _ => Answer::error(404, "ErrorItemNotFound"),
    }))
    .await;
    stage.mailbox().delete("messages/x").await.unwrap();
    assert_eq!(stage.count_of("/x"), 2);
    // At the first it is not there.
    let told = stage.mailbox().delete("messages/x").await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::NotFound), "{told}");
}

#[tokio::test]
async fn retry_after_closes_the_mailbox_for_all_and_no_other() {
    let stage = Stage::open(graph_play(|asked| {
        if asked.path.contains("/box@") {
            Answer::error(429, "ApplicationThrottled").and("retry-after", "3600")
        } else {
            fine()
        }
    }))
    .await;
    let graph = stage.graph(quick());
    let mailbox = graph.mailbox("box@example.org");
    for mailbox in [mailbox.clone(), graph.mailbox("BOX@example.org"), mailbox.clone()] {
        let told = mailbox.get::<Value>("x").await.unwrap_err();
        assert!(matches!(told.kind, GraphFault::Throttled), "{told}");
        let wait = told.retry_after.unwrap();
        assert!(
            wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600),
            "{wait:?}"
        );
        assert!(told.told().contains("try again in"), "{}", told.told());
    }
    assert!(mailbox.throttled_until().is_some());
    assert_eq!(stage.count_of("/x"), 1, "the others did not even ask");
    let other = graph.mailbox("other@example.org");
    other.get::<Value>("x").await.unwrap();
    assert!(other.throttled_until().is_none());
}

#[tokio::test]
async fn fifty_callers_are_four_at_a_time() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let stage = Stage::open(graph_play(move |_| {
        Answer::Held(Arc::clone(&held), Box::new(fine()))
    }))
    .await;
    let graph = stage.graph(quick());
    let callers: Vec<_> = (0..50)
        .map(|_| {
            // Each of its own session, as it were.
            let mailbox = graph.mailbox("box@example.org");
            tokio::spawn(async move { mailbox.get::<Value>("x").await })
        })
        .collect();
    // The token and the first four; then all.
    stage.until(5).await;
    assert_eq!(graph.mailbox("box@example.org").in_flight(), 4);
    gate.add_permits(50);
    for got in join_all(callers).await {
        got.unwrap().unwrap();
    }
    assert_eq!(stage.count_of("/x"), 50);
    assert_eq!(stage.peak(), 4);
}

#[tokio::test]
async fn nothing_secret_is_told() {
    let stage = Stage::open(graph_play(|_| Answer::Raw(Vec::new()))).await;
    let graph = stage.graph(quick());
    let mailbox = graph.mailbox("box@example.org");
    let told = mailbox
        .get::<Value>("messages/1d?$skiptoken=s3kip")
        .await
        .unwrap_err();
    let text = format!("{told} {told:?} {graph:?} {mailbox:?} {}", told.told());
    for word in ["s3kip", "t0ken", "s3cret", "1d?", "box@"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(matches!(told.kind, GraphFault::Network), "{told}");
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let stage = Stage::open(|_| {
        Answer::json(
            401,
            &json!({"error": "invalid_client", "error_codes": [7_000_215]}),
        )
    })
    .await;
    let told = stage.mailbox().get::<Value>("x").await.unwrap_err();
    let GraphFault::Token(token) = &told.kind else {
        panic!("{told}");
    };
    assert_eq!(token.numbers, [7_000_215]);
    assert!(told.hint().unwrap().contains("Value"));
    assert_eq!(stage.count(), 1);
}

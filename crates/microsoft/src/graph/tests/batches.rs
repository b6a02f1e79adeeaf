//! Batches.

use http::Method;
use serde_json::{Value, json};

use crate::{
    graph::BatchItem,
    tests::stage::{Answer, Asked, Stage, graph_play},
};

/// Answers each item by its path, last item first.
fn each(asked: &Asked, answer: impl Fn(&Value) -> Value) -> Answer {
    let asked = asked.json();
    let mut responses: Vec<Value> = asked["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| {
            let mut answer = answer(request);
            answer["id"] = request["id"].clone();
            answer
        })
        .collect();
    responses.reverse();
    Answer::json(200, &json!({"responses": responses}))
}

fn good(request: &Value) -> Value {
    json!({"status": 200, "headers": {}, "body": {"of": request["url"]}})
}

#[tokio::test]
async fn answers_have_the_order_of_the_items() {
    let stage = Stage::open(graph_play(|asked| each(asked, good))).await;
    let mailbox = stage.mailbox();
    let items = (0..45)
        .map(|n| BatchItem::get(format!("messages/{n}?$select=id")))
        .collect();
    let answers = mailbox.batch(items).await.unwrap();
    assert_eq!(answers.len(), 45);
    for (n, answer) in answers.into_iter().enumerate() {
        let body: Value = answer.read().unwrap();
        assert_eq!(
            body["of"],
            format!("/users/box@example.org/messages/{n}?$select=id")
        );
    }
    let sizes: Vec<usize> = stage.asked()[1..]
        .iter()
        .map(|asked| asked.json()["requests"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [20, 20, 5]);
    assert_eq!(stage.asked()[1].path, "/v1.0/$batch");
    assert_eq!(mailbox.calls(), 45, "each item counts");
    let request = &stage.asked()[1].json()["requests"][0];
    assert_eq!(request["headers"]["Prefer"], "IdType=\"ImmutableId\"");
    assert!(mailbox.batch(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn each_item_is_tried_again_by_its_own_rules() {
    let stage = Stage::open(graph_play(|asked| {
        let first = asked.nth == 0;
        each(asked, |request| {
            let url = request["url"].as_str().unwrap();
            match url.rsplit('/').next().unwrap() {
                "throttled" if first => json!({"status": 429, "headers": {"Retry-After": "0"}}),
                "embedded" if first => json!({"status": 200, "body": {"error": {"code": "UnknownError"}}}),
                "cut" if first => {
                    json!({"status": 200, "headers": {"Content-Type": "application/json"}, "body": "{\"of\""})
                }
                "raw" => json!({"status": 200, "headers": {"Content-Type": "text/plain"}, "body": "QQ=="}),
                "unwell" if first => json!({"status": 504}),
                "created" => json!({"status": 504, "body": {"error": {"code": "x"}}}),
                "refused" if first => {
                    json!({"status": 503, "body": {"error": {"code": "serviceNotAvailable"}}})
                }
                "gateway" => json!({"status": 503}),
                "missing" => json!({"status": 404, "body": {"error": {"code": "ErrorItemNotFound"}}}),
                "deleted" if first => json!({"status": 504}),
                "deleted" => json!({"status": 404, "body": {"error": {"code": "ErrorItemNotFound"}}}),
                _ => good(request),
            }
        })
    }))
    .await;
    let post = |path: &str| BatchItem::of(Method::POST, path, Some(json!({})));
    let answers = stage
        .mailbox()
        .batch(vec![
            BatchItem::get("fine"),
            BatchItem::get("throttled"),
            BatchItem::get("unwell"),
            post("created"),
            post("refused"),
            BatchItem::get("missing"),
            BatchItem::delete("deleted"),
            BatchItem::get("embedded"),
            BatchItem::get("cut"),
            BatchItem::get("raw"),
            post("gateway"),
        ])
        .await
        .unwrap();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 504, 200, 404, 204, 200, 200, 200, 503]);
    assert!(answers[3].error.as_ref().unwrap().uncertain);
    assert!(answers[10].error.as_ref().unwrap().uncertain);
    assert!(answers[7].body["of"].is_string() && answers[8].body["of"].is_string());
    let again: Vec<String> = stage.asked()[2].json()["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| {
            request["url"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        again,
        ["throttled", "unwell", "refused", "deleted", "embedded", "cut"]
    );
    assert_eq!(stage.count_of("$batch"), 2);
}

#[tokio::test]
async fn an_item_that_stays_throttled_is_told_so() {
    let stage = Stage::open(graph_play(|asked| each(asked, |_| json!({"status": 429})))).await;
    let answers = stage.mailbox().batch(vec![BatchItem::get("x")]).await.unwrap();
    assert_eq!(answers[0].status, 429);
    assert_eq!(stage.count_of("$batch"), 6);
}

#[tokio::test]
async fn a_batch_that_lacks_an_item_is_no_answer() {
    let stage = Stage::open(graph_play(|_| Answer::json(200, &json!({"responses": []})))).await;
    assert!(stage.mailbox().batch(vec![BatchItem::get("x")]).await.is_err());
}

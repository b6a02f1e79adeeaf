//! Pages and their links.

use serde_json::{Value, json};

use crate::{
    graph::GraphFault,
    tests::stage::{Answer, Stage, graph_play},
};

#[tokio::test]
async fn links_are_followed_as_they_stand_to_the_end() {
    let stage = Stage::open(graph_play(|asked| {
        let host = asked.header("host");
        let next = |text: &str| format!("https://{host}/v1.0/users/box/{text}");
        match asked.nth {
            0 => Answer::json(
                200,
                &json!({"value": [1, 2], "@odata.count": 4, "@odata.nextLink": next("a?$skiptoken=X%2By&$filter=a%20eq%20%27b%27")}),
            ),
            1 => Answer::json(200, &json!({"value": [], "@odata.nextLink": next("b?$skip=2")})),
            // Cut in the middle: not the end of the list.
            2 => Answer::With(200, Vec::new(), b"{\"value\": [3".to_vec()),
            3 => Answer::json(200, &json!({})),
            _ => Answer::json(200, &json!({"value": [3, 4], "@odata.deltaLink": next("delta?t=d3lta")})),
        }
    }))
    .await;
    let mut pages = stage
        .mailbox()
        .pages::<u32>("mailFolders/inbox/messages/delta?$select=id", Some(50));
    let first = pages.next().await.unwrap().unwrap();
    assert_eq!((first.value, first.count), (vec![1, 2], Some(4)));
    assert!(first.delta_link.is_none());
    assert!(pages.next().await.unwrap().unwrap().value.is_empty());
    let last = pages.next().await.unwrap().unwrap();
    assert!(!format!("{last:?}").contains("d3lta"));
    assert_eq!(last.value, [3, 4]);
    assert!(last.delta_link.unwrap().expose().ends_with("delta?t=d3lta"));
    assert!(pages.next().await.unwrap().is_none());
    let asked = stage.asked();
    assert_eq!(
        asked[2].path,
        "/v1.0/users/box/a?$skiptoken=X%2By&$filter=a%20eq%20%27b%27"
    );
    for asked in &asked[1..] {
        assert_eq!(
            asked.header("prefer"),
            "IdType=\"ImmutableId\", odata.maxpagesize=50"
        );
    }
}

#[tokio::test]
async fn a_link_leads_to_graph_or_nowhere() {
    for link in [
        "https://elsewhere.example/v1.0/x",
        "http://localhost/x",
        "/relative",
        "https://localhost:1/x",
    ] {
        let stage = Stage::open(graph_play(move |_| {
            Answer::json(200, &json!({"value": [], "@odata.nextLink": link}))
        }))
        .await;
        let told = stage
            .mailbox()
            .pages::<Value>("x", None)
            .next()
            .await
            .unwrap_err();
        assert!(matches!(told.kind, GraphFault::Broken), "{link}: {told}");
        let mut kept = stage.mailbox().pages_from_link::<Value>(link, None);
        assert!(kept.next().await.is_err(), "{link}");
        assert_eq!(stage.count_of("x"), 1, "{link}");
    }
}

#[tokio::test]
async fn a_circle_is_no_list() {
    let stage = Stage::open(graph_play(|asked| {
        let link = format!("https://{}{}", asked.header("host"), asked.path);
        Answer::json(200, &json!({"value": [1], "@odata.nextLink": link}))
    }))
    .await;
    assert!(stage.mailbox().pages::<u32>("x", None).next().await.is_err());
}

#[tokio::test]
async fn a_kept_link_that_does_not_hold_any_more() {
    let stage = Stage::open(graph_play(|_| Answer::error(410, "syncStateNotFound"))).await;
    let link = stage.url("/v1.0/users/box/delta?t=old");
    let told = stage
        .mailbox()
        .pages_from_link::<Value>(&link, None)
        .next()
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::Gone), "{told}");
    assert_eq!(stage.count_of("old"), 1);
}

#[tokio::test]
async fn all_has_a_bound() {
    let stage = Stage::open(graph_play(|_| Answer::json(200, &json!({"value": [1, 2, 3]})))).await;
    assert_eq!(
        stage.mailbox().pages::<u32>("x", None).all(3).await.unwrap(),
        [1, 2, 3]
    );
    let told = stage.mailbox().pages::<u32>("x", None).all(2).await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::TooLarge), "{told}");
}

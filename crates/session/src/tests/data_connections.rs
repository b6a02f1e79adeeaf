//! What a door with connections of its own for data (FTPS) tells the choke point.

use portreeve_model::Verb;
use serde_json::Value;

use super::*;
use crate::Effect;

#[tokio::test]
async fn a_transfer_says_whether_its_data_connection_was_bound() {
    let rig = Rig::plain();
    let session = rig.session().await;
    for reused in [Some(true), Some(false), None] {
        let upload = session
            .fs()
            .upload(&p("/f"), how(WriteMode::Replace))
            .await
            .unwrap();
        reused.inspect(|reused| upload.over_tls(*reused));
        upload.write(0, zeros(3)).await.unwrap();
        upload.commit().await.unwrap();
        let download = session.fs().download(&p("/f")).await.unwrap();
        reused.inspect(|reused| download.over_tls(*reused));
        assert_eq!(download.read(0, 9, Vec::new()).await.unwrap().len(), 3);
    }
    let told = |act: &str| -> Vec<Value> {
        let of_act = rig.records().into_iter().filter(|record| record["act"] == act);
        of_act.map(|record| record["tls_reused"].clone()).collect()
    };
    for act in ["upload", "download"] {
        assert_eq!(
            told(act),
            [Value::Bool(true), Value::Bool(false), Value::Null],
            "{act}"
        );
    }
}

#[tokio::test]
async fn data_connections_that_are_turned_away_are_recorded_and_a_flood_of_them_is_counted() {
    let rig = Rig::plain();
    let session = rig.session().await;
    for _ in 0..500 {
        session.turned_away("a data connection came from 192.0.2.66");
    }
    let id = session.id().to_string();
    drop(session);
    until(async || rig.outcomes("logout").len() == 1).await;
    let records = rig.records();
    let knocks: Vec<&Value> = records.iter().filter(|record| record["act"] == "knock").collect();
    assert_eq!(knocks.len(), 100);
    for knock in knocks {
        assert_eq!(knock["outcome"], "refused");
        assert_eq!(knock["why"], "a data connection came from 192.0.2.66");
        assert_eq!(knock["session"], id.as_str());
    }
    let last = records.last().unwrap();
    assert_eq!(last["unwritten"]["knock refused"], 400, "{last}");
}

#[tokio::test]
async fn a_try_that_the_door_refuses_counts_and_is_recorded() {
    let rig = Rig::plain();
    let mut connection = rig.knock().await;
    let alice = UserName::new("alice").unwrap();
    for n in 1..=6 {
        let closed = matches!(
            connection
                .refuse(&alice, "the control connection has no TLS")
                .await,
            SignIn::Closed
        );
        assert_eq!(closed, n == 6, "try {n}");
    }
    assert!(matches!(
        try_sign_in(&mut connection, "open").await,
        SignIn::Closed
    ));
    let records = rig.records();
    assert_eq!(records.len(), 6);
    for record in records {
        assert_eq!(
            (&record["act"], &record["outcome"]),
            (&"login".into(), &"refused".into())
        );
        assert_eq!(record["why"], "the control connection has no TLS");
        assert_eq!(record["user"], "alice");
    }
    assert_eq!(
        rig.keeper.asked.load(Ordering::SeqCst),
        0,
        "the chain was never asked"
    );
}

#[tokio::test]
async fn verbs_are_told_at_once_only_where_every_entry_has_the_same() {
    let plain = Rig::plain().session().await;
    let fs = plain.fs();
    assert_eq!(fs.verbs_below(&p("/d")), Some(fs.verbs(&p("/d/f"))));
    assert!(fs.verbs(&p("/d/f")).has(Verb::Delete));
    let terms = Terms {
        rules: vec![RuleOptions {
            pattern: "/keep/**".into(),
            effect: Effect::Deny,
            verbs: Some(VerbWords::One("delete".into())),
        }],
        ..Terms::default()
    };
    let ruled = Rig::new(Memory::new(), &terms).session().await;
    let fs = ruled.fs();
    assert_eq!(fs.verbs_below(&p("/keep")), None);
    assert!(!fs.verbs(&p("/keep/f")).has(Verb::Delete));
    assert!(fs.verbs(&p("/f")).has(Verb::Delete));
}

#[tokio::test]
async fn a_flood_of_refused_tries_is_counted() {
    let rig = Rig::plain();
    let alice = UserName::new("alice").unwrap();
    for _ in 0..50 {
        let mut connection = rig.knock().await;
        for _ in 0..5 {
            let _ = connection
                .refuse(&alice, "the control connection has no TLS")
                .await;
        }
    }
    assert_eq!(rig.outcomes("login").len(), 100);
}

//! Cases about records and sealed secrets.

use portreeve_model::Secret;

use super::{Outcome, Place, ensure, equal, text};
use crate::{RecordChange, SealKey, StoreError};

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

pub(super) async fn are_kept_in_their_spaces(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let (space, other) = ("names\0mail\0Inbox", "names\0mail\0Inbox2");
    let changes = [
        RecordChange::Put("b", "two"),
        RecordChange::Put("a", "one"),
        RecordChange::Put("\u{e9}", "line\nbreak \u{1f4e7}"),
        RecordChange::Put("b", "too"),
        RecordChange::Drop("never there"),
    ];
    store.save_records(space, &changes).await.map_err(text)?;
    store
        .save_records(other, &[RecordChange::Put("a", "theirs")])
        .await
        .map_err(text)?;
    store.close().await;
    let store = place.open().await.map_err(text)?;
    let expected = pairs(&[("a", "one"), ("b", "too"), ("\u{e9}", "line\nbreak \u{1f4e7}")]);
    equal(
        &store.records(space).await.map_err(text)?,
        &expected,
        "after a restart",
    )?;
    store
        .save_records(space, &[RecordChange::Drop("a"), RecordChange::Drop("b")])
        .await
        .map_err(text)?;
    equal(
        &store.records(space).await.map_err(text)?.len(),
        &1,
        "after dropping two",
    )?;
    equal(
        &store.records(other).await.map_err(text)?,
        &pairs(&[("a", "theirs")]),
        "the other space",
    )?;
    equal(
        &store.records("names").await.map_err(text)?,
        &Vec::new(),
        "a space that nobody made",
    )
}

pub(super) async fn are_replaced_and_renamed_as_a_whole(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let many: Vec<(String, String)> = (0..5000).map(|n| (format!("{n:05}"), format!("v{n}"))).collect();
    store.replace_records("one", &many).await.map_err(text)?;
    equal(&store.records("one").await.map_err(text)?, &many, "many")?;
    store
        .replace_records("two", &pairs(&[("old", "gone")]))
        .await
        .map_err(text)?;
    store.rename_records("one", "two").await.map_err(text)?;
    equal(&store.records("two").await.map_err(text)?, &many, "renamed")?;
    equal(
        &store.records("one").await.map_err(text)?,
        &Vec::new(),
        "the former name",
    )?;
    store.rename_records("two", "two").await.map_err(text)?;
    equal(
        &store.records("two").await.map_err(text)?.len(),
        &many.len(),
        "renamed to itself",
    )?;
    store.rename_records("nowhere", "two").await.map_err(text)?;
    equal(
        &store.records("two").await.map_err(text)?,
        &Vec::new(),
        "nothing came in its place",
    )?;
    store
        .replace_records("two", &pairs(&[("a", "b")]))
        .await
        .map_err(text)?;
    store.replace_records("two", &[]).await.map_err(text)?;
    equal(&store.records("two").await.map_err(text)?, &Vec::new(), "emptied")
}

pub(super) async fn are_found_by_how_their_space_begins(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let spaces = [
        "outbox\nexchange b@x",
        "outbox\nexchange \u{e9}@x",
        "outbox\nexchange a@x",
        "outbox\nexchange",
        "outbox\nimap a@x",
        "Outbox\nexchange a@x",
        "names\0outbox\nexchange a@x",
        "outbox\nexchange gone@x",
    ];
    for space in spaces {
        let changes = [RecordChange::Put("a", "1"), RecordChange::Put("b", "2")];
        store.save_records(space, &changes).await.map_err(text)?;
    }
    store
        .replace_records("outbox\nexchange gone@x", &[])
        .await
        .map_err(text)?;
    let found = async |prefix: &str| store.record_spaces(prefix).await.map_err(text);
    let expected = ["a@x", "b@x", "\u{e9}@x"].map(|address| format!("outbox\nexchange {address}"));
    equal(&found("outbox\nexchange ").await?, &expected.to_vec(), "a prefix")?;
    equal(
        &found("names\0").await?,
        &vec!["names\0outbox\nexchange a@x".to_owned()],
        "a prefix with a NUL",
    )?;
    equal(&found("").await?.len(), &(spaces.len() - 1), "all")?;
    equal(&found("nothing").await?, &Vec::new(), "nothing")
}

pub(super) async fn secrets_are_opened_by_their_key_and_name_alone(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let key = |fill: u8| SealKey::parse(&Secret::new(format!("{fill:02x}").repeat(32))).map_err(text);
    let (key, other) = (key(7)?, key(8)?);
    let secret = |text: &str| Secret::new(text.to_owned());
    store
        .seal(&key, "graph", &secret("hunter2"))
        .await
        .map_err(text)?;
    store.seal(&key, "imap", &secret("first")).await.map_err(text)?;
    store
        .seal(&key, "imap", &secret("second \u{e9}"))
        .await
        .map_err(text)?;
    store.close().await;
    let store = place.open().await.map_err(text)?;
    let opened = async |name: &str| -> Result<Option<String>, String> {
        let secret = store.unseal(&key, name).await.map_err(text)?;
        Ok(secret.map(|secret| secret.expose().to_owned()))
    };
    equal(&opened("graph").await?, &Some("hunter2".to_owned()), "a secret")?;
    equal(
        &opened("imap").await?,
        &Some("second \u{e9}".to_owned()),
        "the one that replaced",
    )?;
    equal(&opened("nobody").await?, &None, "a name that is not there")?;
    match store.unseal(&other, "graph").await {
        Err(StoreError::Sealed { why, .. }) => {
            ensure(why.contains("another key"), || why.clone())?;
        }
        end => return Err(format!("another key: {end:?}")),
    }
    let names = store.sealed_names().await.map_err(text)?;
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    equal(&names, &vec!["graph", "imap"], "the names")?;
    let long = store.seal(&key, "long", &secret(&"x".repeat(65 << 10))).await;
    ensure(long.is_err(), || "a secret beyond the limit was taken".to_owned())?;
    equal(&store.drop_sealed("imap").await.map_err(text)?, &true, "dropped")?;
    equal(
        &store.drop_sealed("imap").await.map_err(text)?,
        &false,
        "dropped twice",
    )?;
    equal(&opened("imap").await?, &None, "after it was dropped")
}

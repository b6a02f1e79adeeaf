//! Cases about quotas.

use portreeve_session::QuotaBook;

use super::{Outcome, Place, ensure, equal, text};

const KEY: &str = "app:\u{e9}ve /files";

pub(super) async fn counts_what_was_established(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    equal(
        &store.used(KEY).await.map_err(text)?,
        &None,
        "before anything was counted",
    )?;
    store.release(KEY, 5).await.map_err(text)?;
    equal(
        &store.used(KEY).await.map_err(text)?,
        &None,
        "a release does not count anybody",
    )?;
    store.establish(KEY, 100).await.map_err(text)?;
    store.establish(KEY, 7).await.map_err(text)?;
    ensure(store.reserve(KEY, 20, 120).await.map_err(text)?, || {
        "120 of 120 was refused".to_owned()
    })?;
    ensure(!store.reserve(KEY, 1, 120).await.map_err(text)?, || {
        "121 of 120 was taken".to_owned()
    })?;
    store.close().await;
    let store = place.open().await.map_err(text)?;
    equal(
        &store.used(KEY).await.map_err(text)?,
        &Some(120),
        "after a restart",
    )?;
    store.release(KEY, 500).await.map_err(text)?;
    equal(
        &store.used(KEY).await.map_err(text)?,
        &Some(0),
        "never below zero",
    )?;
    store.forget(KEY).await.map_err(text)?;
    equal(&store.used(KEY).await.map_err(text)?, &None, "after forgetting")
}

pub(super) async fn never_exceeds_its_limit(place: &dyn Place) -> Outcome {
    let stores = [
        place.open().await.map_err(text)?,
        place.open().await.map_err(text)?,
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(32) {
        let store = store.clone();
        tasks.spawn(async move { store.reserve(KEY, 10, 105).await });
    }
    let mut taken = 0;
    while let Some(done) = tasks.join_next().await {
        taken += usize::from(done.map_err(text)?.map_err(text)?);
    }
    equal(
        &taken,
        &10,
        "reservations of 10 within 105, asked for by 32 at once",
    )?;
    let [store, _] = &stores;
    equal(&store.used(KEY).await.map_err(text)?, &Some(100), "the count")
}

pub(super) async fn extremes_do_not_wrap(place: &dyn Place) -> Outcome {
    let store = place.open().await.map_err(text)?;
    let take = async |bytes, limit| store.reserve(KEY, bytes, limit).await.map_err(text);
    equal(
        &take(u64::MAX, u64::MAX).await?,
        &false,
        "more than can be counted",
    )?;
    equal(&take(11, 10).await?, &false, "more than the limit, first of all")?;
    equal(
        &store.used(KEY).await.map_err(text)?,
        &None,
        "refused reservations count nobody",
    )?;
    let most = i64::MAX.unsigned_abs();
    equal(
        &take(most, u64::MAX).await?,
        &true,
        "the most that can be counted",
    )?;
    equal(&take(1, u64::MAX).await?, &false, "one more")?;
    equal(&store.used(KEY).await.map_err(text)?, &Some(most), "the count")
}

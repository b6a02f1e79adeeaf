//! Cases about bans and failures.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portreeve_auth::{Ban, BanBook, BanChange};

use super::{Outcome, Place, equal, text};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(seconds * 1_000_000 + 7)
}

fn ip(raw: &str) -> Result<IpAddr, String> {
    raw.parse().map_err(text)
}

fn failed(source: IpAddr, when: u64) -> BanChange {
    BanChange::Failed { source, at: at(when) }
}

fn ban(source: IpAddr, since: u64, until: u64) -> Ban {
    Ban {
        source,
        since: at(since),
        until: at(until),
        reason: "5 failures, \u{1f6ab}".to_owned(),
    }
}

pub(super) async fn failures_count_severally_until_pruned(place: &dyn Place) -> Outcome {
    let (a, b) = (ip("192.0.2.1")?, ip("2001:db8:1:2::")?);
    let store = place.open().await.map_err(text)?;
    store
        .apply(&[failed(a, 10), failed(a, 10), failed(b, 5), failed(a, 20)])
        .await
        .map_err(text)?;
    store.close().await;
    let store = place.open().await.map_err(text)?;
    let all = store.load(at(0), at(0)).await.map_err(text)?.failures;
    equal(
        &all,
        &vec![(b, at(5)), (a, at(10)), (a, at(10)), (a, at(20))],
        "failures after a restart",
    )?;
    let since = store.load(at(0), at(10)).await.map_err(text)?.failures;
    equal(&since.len(), &3, "failures since a time, that time included")?;
    let prune = BanChange::Pruned {
        now: at(30),
        failures_before: at(20),
    };
    store.apply(&[prune]).await.map_err(text)?;
    equal(
        &store.load(at(0), at(0)).await.map_err(text)?.failures,
        &vec![(a, at(20))],
        "failures after pruning",
    )
}

pub(super) async fn a_ban_replaces_and_forgets_failures(place: &dyn Place) -> Outcome {
    let (a, b) = (ip("192.0.2.1")?, ip("192.0.2.2")?);
    let store = place.open().await.map_err(text)?;
    store
        .apply(&[failed(a, 1), failed(b, 1), BanChange::Banned(ban(a, 2, 50))])
        .await
        .map_err(text)?;
    store
        .apply(&[BanChange::Banned(ban(a, 3, 90))])
        .await
        .map_err(text)?;
    let all = store.load(at(10), at(0)).await.map_err(text)?;
    equal(&all.bans, &vec![ban(a, 3, 90)], "bans")?;
    equal(&all.failures, &vec![(b, at(1))], "failures of the others")?;
    equal(
        &store.load(at(90), at(0)).await.map_err(text)?.bans,
        &Vec::new(),
        "bans that have ended",
    )?;
    store
        .apply(&[BanChange::Lifted(a), BanChange::Lifted(a), BanChange::Lifted(b)])
        .await
        .map_err(text)?;
    equal(
        &store.load(at(10), at(0)).await.map_err(text)?,
        &portreeve_auth::BanRecords::default(),
        "all lifted",
    )
}

pub(super) async fn a_batch_is_applied_in_its_order(place: &dyn Place) -> Outcome {
    let a = ip("192.0.2.1")?;
    let store = place.open().await.map_err(text)?;
    let batch = [
        BanChange::Banned(ban(a, 1, 50)),
        BanChange::Lifted(a),
        failed(a, 2),
        failed(a, 3),
    ];
    store.apply(&batch).await.map_err(text)?;
    let all = store.load(at(0), at(0)).await.map_err(text)?;
    equal(&all.bans, &Vec::new(), "a ban that was lifted in the same batch")?;
    equal(
        &all.failures,
        &vec![(a, at(2)), (a, at(3))],
        "failures after the lifting",
    )
}

pub(super) async fn many_batches_lose_nothing(place: &dyn Place) -> Outcome {
    let stores = [
        place.open().await.map_err(text)?,
        place.open().await.map_err(text)?,
    ];
    let a = ip("192.0.2.1")?;
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(32) {
        let store = store.clone();
        tasks.spawn(async move { store.apply(&[failed(a, 1), failed(a, 2)]).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(text)?.map_err(text)?;
    }
    let [store, _] = &stores;
    equal(
        &store.load(at(0), at(0)).await.map_err(text)?.failures.len(),
        &64,
        "failures of 32 batches",
    )
}

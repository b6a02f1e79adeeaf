//! The ban table: what ip-time-ban must remember across a restart.
//!
//! Invariant: a batch is one transaction; failures are counted rows, so that several at one time count
//! severally.

use std::{net::IpAddr, time::SystemTime};

use async_trait::async_trait;
use portreeve_auth::{Ban, BanBook, BanBookError, BanChange, BanRecords};
use sqlx::Row as _;

use crate::{
    Store, StoreError,
    db::{self, Db},
    engine::{Connection, Row},
};

/// Most bans, and most failures, that are loaded: the newest.
const MOST: i64 = 100_000;

const BAN: &str = "INSERT INTO bans (source, since_at, until_at, reason) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (source) DO UPDATE SET since_at = excluded.since_at, until_at = excluded.until_at, \
    reason = excluded.reason";

const FAIL: &str = "INSERT INTO failures (source, at, times) VALUES ($1, $2, 1) \
    ON CONFLICT (source, at) DO UPDATE SET times = failures.times + 1";

#[async_trait]
impl BanBook for Store {
    async fn load(&self, now: SystemTime, failures_since: SystemTime) -> Result<BanRecords, BanBookError> {
        load(self.db(), now, failures_since)
            .await
            .map_err(|e| BanBookError(e.to_string()))
    }

    async fn apply(&self, changes: &[BanChange]) -> Result<(), BanBookError> {
        apply(self.db(), changes)
            .await
            .map_err(|e| BanBookError(e.to_string()))
    }
}

async fn load(db: &Db, now: SystemTime, failures_since: SystemTime) -> Result<BanRecords, StoreError> {
    let rows = sqlx::query(
        "SELECT source, since_at, until_at, reason FROM bans WHERE until_at > $1 ORDER BY since_at DESC, source LIMIT $2",
    )
    .bind(db::micros(now))
    .bind(MOST)
    .fetch_all(&db.pool)
    .await
    .map_err(|e| db.failed(&e))?;
    let bans = rows.iter().map(|row| ban(db, row)).collect::<Result<_, _>>()?;

    let rows = sqlx::query(
        "SELECT source, at, times FROM failures WHERE at >= $1 ORDER BY at DESC, source LIMIT $2",
    )
    .bind(db::micros(failures_since))
    .bind(MOST)
    .fetch_all(&db.pool)
    .await
    .map_err(|e| db.failed(&e))?;
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let mut failures = Vec::new();
    for row in &rows {
        let at = db::time(row.try_get("at").map_err(|e| db.failed(&e))?);
        let times: i64 = row.try_get("times").map_err(|e| db.failed(&e))?;
        let room = most.saturating_sub(failures.len());
        let times = usize::try_from(times).unwrap_or(0).min(room);
        failures.extend(std::iter::repeat_n((source(db, row)?, at), times));
    }
    failures.reverse();
    Ok(BanRecords { bans, failures })
}

async fn apply(db: &Db, changes: &[BanChange]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut write = db.write().await?;
    for change in changes {
        one(&mut write.tx, change).await.map_err(|e| db.failed(&e))?;
    }
    write.tx.commit().await.map_err(|e| db.failed(&e))
}

async fn one(tx: &mut Connection, change: &BanChange) -> Result<(), sqlx::Error> {
    match change {
        BanChange::Banned(ban) => {
            sqlx::query(BAN)
                .bind(ban.source.to_string())
                .bind(db::micros(ban.since))
                .bind(db::micros(ban.until))
                .bind(&ban.reason)
                .execute(&mut *tx)
                .await?;
            forget(tx, ban.source).await
        }
        BanChange::Lifted(source) => {
            sqlx::query("DELETE FROM bans WHERE source = $1")
                .bind(source.to_string())
                .execute(&mut *tx)
                .await?;
            forget(tx, *source).await
        }
        BanChange::Failed { source, at } => {
            sqlx::query(FAIL)
                .bind(source.to_string())
                .bind(db::micros(*at))
                .execute(tx)
                .await?;
            Ok(())
        }
        BanChange::Pruned { now, failures_before } => {
            sqlx::query("DELETE FROM bans WHERE until_at <= $1")
                .bind(db::micros(*now))
                .execute(&mut *tx)
                .await?;
            sqlx::query("DELETE FROM failures WHERE at < $1")
                .bind(db::micros(*failures_before))
                .execute(tx)
                .await?;
            Ok(())
        }
    }
}

async fn forget(tx: &mut Connection, source: IpAddr) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM failures WHERE source = $1")
        .bind(source.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

fn ban(db: &Db, row: &Row) -> Result<Ban, StoreError> {
    let read = |e: sqlx::Error| db.failed(&e);
    Ok(Ban {
        source: source(db, row)?,
        since: db::time(row.try_get("since_at").map_err(read)?),
        until: db::time(row.try_get("until_at").map_err(read)?),
        reason: row.try_get("reason").map_err(read)?,
    })
}

fn source(db: &Db, row: &Row) -> Result<IpAddr, StoreError> {
    let text: String = row.try_get("source").map_err(|e| db.failed(&e))?;
    text.parse()
        .map_err(|_| db.damaged(format!("{text:?} is no address")))
}

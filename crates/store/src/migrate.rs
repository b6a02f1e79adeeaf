//! Forward-only migrations, one file each, embedded.
//!
//! Invariants: all missing ones run in one transaction that holds the write lock, so an interrupted start
//! leaves the schema it found and two starting processes do not meet; a schema that is newer than this
//! program is refused before anything is touched; a published file is never edited, only followed by another.

use std::path::Path;

use crate::{StoreError, engine};

/// One step of the schema.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $name, ".sql")),
        }),*]
    };
}

/// All of them, in order.
pub(crate) const ALL: &[Migration] = migrations! {
    1 "0001_accounts"
    2 "0002_bans"
    3 "0003_quota"
    4 "0004_records"

};

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// Brings the schema up to date.
pub(crate) async fn run(pool: &engine::Pool, path: &Path) -> Result<(), StoreError> {
    apply(pool, path, ALL).await
}

async fn apply(pool: &engine::Pool, path: &Path, steps: &[Migration]) -> Result<(), StoreError> {
    let failed = |e: sqlx::Error| StoreError::from_engine(path, &e);
    let known = steps.last().map_or(0, |m| m.version);
    let mut tx = engine::write(pool).await.map_err(failed)?;
    sqlx::raw_sql(LEDGER).execute(&mut *tx).await.map_err(failed)?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_migrations")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for step in steps.iter().filter(|m| m.version > found) {
        sqlx::raw_sql(step.sql).execute(&mut *tx).await.map_err(failed)?;
        sqlx::query("INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)")
            .bind(step.version)
            .bind(step.name)
            .bind(crate::db::micros(std::time::SystemTime::now()))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tracing::info!(
            version = step.version,
            name = step.name,
            "database schema brought forward"
        );
    }
    tx.commit().await.map_err(failed)
}

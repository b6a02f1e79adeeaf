//! The quota table: bytes counted for each owner and mount.
//!
//! Invariant: a reservation is one statement that adds only where the sum stays within the limit, so that
//! no number of sessions, doors or processes exceeds it together.

use async_trait::async_trait;
use portreeve_session::{FsError, FsErrorKind, FsResult, QuotaBook};

use crate::{Store, StoreError, db::Db};

const RESERVE: &str = "INSERT INTO quota (owner, used) VALUES ($1, $2) \
    ON CONFLICT (owner) DO UPDATE SET used = quota.used + excluded.used WHERE quota.used <= $3";

#[async_trait]
impl QuotaBook for Store {
    async fn used(&self, key: &str) -> FsResult<Option<u64>> {
        let db = self.db();
        let used: Option<i64> = sqlx::query_scalar("SELECT used FROM quota WHERE owner = $1")
            .bind(key)
            .fetch_optional(&db.pool)
            .await
            .map_err(|e| fault(db.failed(&e)))?;
        Ok(used.map(|n| u64::try_from(n).unwrap_or(0)))
    }

    async fn establish(&self, key: &str, used: u64) -> FsResult<()> {
        let sql = "INSERT INTO quota (owner, used) VALUES ($1, $2) ON CONFLICT (owner) DO NOTHING";
        write(self.db(), sqlx::query(sql).bind(key).bind(stored(used))).await?;
        Ok(())
    }

    async fn reserve(&self, key: &str, bytes: u64, limit: u64) -> FsResult<bool> {
        let Some(room) = limit.checked_sub(bytes) else {
            return Ok(false);
        };
        if i64::try_from(bytes).is_err() {
            return Ok(false);
        }
        // Used at most this much before, the sum stays within the limit, and within the column.
        let before = room.min(i64::MAX.unsigned_abs() - bytes);
        let query = sqlx::query(RESERVE)
            .bind(key)
            .bind(stored(bytes))
            .bind(stored(before));
        Ok(write(self.db(), query).await? > 0)
    }

    async fn release(&self, key: &str, bytes: u64) -> FsResult<()> {
        let sql = "UPDATE quota SET used = CASE WHEN used > $2 THEN used - $2 ELSE 0 END WHERE owner = $1";
        write(self.db(), sqlx::query(sql).bind(key).bind(stored(bytes))).await?;
        Ok(())
    }

    async fn forget(&self, key: &str) -> FsResult<()> {
        write(
            self.db(),
            sqlx::query("DELETE FROM quota WHERE owner = $1").bind(key),
        )
        .await?;
        Ok(())
    }
}

type Query<'q> = sqlx::query::Query<'q, crate::engine::Engine, crate::engine::Arguments>;

async fn write(db: &Db, query: Query<'_>) -> FsResult<u64> {
    let mut write = db.write().await.map_err(fault)?;
    let done = query
        .execute(&mut *write.tx)
        .await
        .map_err(|e| fault(db.failed(&e)))?;
    write.tx.commit().await.map_err(|e| fault(db.failed(&e)))?;
    Ok(done.rows_affected())
}

/// The schema's integers are signed: what lies beyond counts as the most they hold.
fn stored(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The client learns that it is our side; the log learns why.
fn fault(error: StoreError) -> FsError {
    tracing::error!(%error, "the quota book cannot be used");
    FsError::new(FsErrorKind::Backend)
        .context("the quota cannot be checked now")
        .caused_by(error)
}

//! The records table: what parts of the server remember over a restart, text in named spaces.
//!
//! Invariant: all changes of one call happen, or none; what was answered survives a crash.

use sqlx::Row as _;

use crate::{
    Store, StoreError,
    engine::{Connection, Row},
};

/// A change of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordChange<'a> {
    /// It is this from now on.
    Put(&'a str, &'a str),
    /// It is gone.
    Drop(&'a str),
}

const PUT: &str = "INSERT INTO records (space, name, value) VALUES ($1, $2, $3) \
    ON CONFLICT (space, name) DO UPDATE SET value = excluded.value";

impl Store {
    /// All records of a space: name and value, in the order of names' bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn records(&self, space: &str) -> Result<Vec<(String, String)>, StoreError> {
        let db = self.db();
        let read = |row: &Row| Ok((row.try_get("name")?, row.try_get("value")?));
        let rows = sqlx::query("SELECT name, value FROM records WHERE space = $1 ORDER BY name")
            .bind(space)
            .fetch_all(&db.pool)
            .await
            .map_err(|e| db.failed(&e))?;
        let records: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        records.map_err(|e| db.failed(&e))
    }

    /// The spaces that hold something and whose names begin so, in the order of their bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_spaces(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let db = self.db();
        // A range, so that the key's index answers it however much other spaces hold.
        let end = format!("{prefix}{}", char::MAX);
        let rows =
            sqlx::query("SELECT DISTINCT space FROM records WHERE space >= $1 AND space < $2 ORDER BY space")
                .bind(prefix)
                .bind(end)
                .fetch_all(&db.pool)
                .await
                .map_err(|e| db.failed(&e))?;
        let spaces: Result<_, sqlx::Error> = rows.iter().map(|row: &Row| row.try_get("space")).collect();
        spaces.map_err(|e| db.failed(&e))
    }

    /// Changes some records of a space.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub async fn save_records(&self, space: &str, changes: &[RecordChange<'_>]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let db = self.db();
        let mut write = db.write().await?;
        for change in changes {
            change_one(&mut write.tx, space, *change)
                .await
                .map_err(|e| db.failed(&e))?;
        }
        write.tx.commit().await.map_err(|e| db.failed(&e))
    }

    /// Puts these records in the place of all that a space holds.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub async fn replace_records(&self, space: &str, records: &[(String, String)]) -> Result<(), StoreError> {
        let db = self.db();
        let mut write = db.write().await?;
        clear(&mut write.tx, space).await.map_err(|e| db.failed(&e))?;
        for (name, value) in records {
            change_one(&mut write.tx, space, RecordChange::Put(name, value))
                .await
                .map_err(|e| db.failed(&e))?;
        }
        write.tx.commit().await.map_err(|e| db.failed(&e))
    }

    /// A space gets another name; what that name held before is gone.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub async fn rename_records(&self, from: &str, to: &str) -> Result<(), StoreError> {
        if from == to {
            return Ok(());
        }
        let db = self.db();
        let mut write = db.write().await?;
        clear(&mut write.tx, to).await.map_err(|e| db.failed(&e))?;
        sqlx::query("UPDATE records SET space = $2 WHERE space = $1")
            .bind(from)
            .bind(to)
            .execute(&mut *write.tx)
            .await
            .map_err(|e| db.failed(&e))?;
        write.tx.commit().await.map_err(|e| db.failed(&e))
    }
}

async fn clear(tx: &mut Connection, space: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM records WHERE space = $1")
        .bind(space)
        .execute(tx)
        .await
        .map(drop)
}

async fn change_one(tx: &mut Connection, space: &str, change: RecordChange<'_>) -> Result<(), sqlx::Error> {
    let query = match change {
        RecordChange::Put(name, value) => sqlx::query(PUT).bind(space).bind(name).bind(value),
        RecordChange::Drop(name) => sqlx::query("DELETE FROM records WHERE space = $1 AND name = $2")
            .bind(space)
            .bind(name),
    };
    query.execute(tx).await.map(drop)
}

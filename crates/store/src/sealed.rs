//! The table of sealed secrets: written by people and by the server, read by the server alone.
//!
//! A secret is encrypted with AES-256-GCM under a key that is kept outside the database, so that a copy of
//! the file tells none. Its name is bound as associated data: one secret cannot be put in another's place.
//! The nonce is random, 96 bits; a server writes some thousand secrets in its life, far from the 2^32 that
//! NIST SP 800-38D allows under one key.

mod key;

use std::time::SystemTime;

use aws_lc_rs::aead::{Aad, Nonce};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portreeve_model::Secret;
use sqlx::Row as _;
use zeroize::Zeroizing;

pub use key::{KeyError, SealKey};

use crate::{Store, StoreError, db};

/// Longest secret, in bytes.
pub const MAX_SECRET: usize = 64 << 10;

const PUT: &str = "INSERT INTO sealed (name, sealer, nonce, value, changed) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (name) DO UPDATE SET sealer = excluded.sealer, nonce = excluded.nonce, \
    value = excluded.value, changed = excluded.changed";

impl Store {
    /// Seals a secret under a name; one of that name before is replaced. It is on the disk when this
    /// answers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seal(&self, key: &SealKey, name: &str, secret: &Secret) -> Result<(), StoreError> {
        let failed = |why: &str| StoreError::Sealed {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        if secret.expose().len() > MAX_SECRET {
            return Err(failed("it is longer than 64 KiB"));
        }
        let mut nonce = [0; 12];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| failed("the system gives no random numbers"))?;
        let mut bytes = Zeroizing::new(secret.expose().as_bytes().to_vec());
        key.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(name)),
                &mut *bytes,
            )
            .map_err(|_| failed("it cannot be encrypted"))?;
        let db = self.db();
        let mut write = db.write().await?;
        sqlx::query(PUT)
            .bind(name)
            .bind(key.fingerprint())
            .bind(STANDARD.encode(nonce))
            .bind(STANDARD.encode(&*bytes))
            .bind(db::micros(SystemTime::now()))
            .execute(&mut *write.tx)
            .await
            .map_err(|e| db.failed(&e))?;
        write.tx.commit().await.map_err(|e| db.failed(&e))
    }

    /// The secret of this name; none where there is none.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] where it was sealed under another key, or changed.
    pub async fn unseal(&self, key: &SealKey, name: &str) -> Result<Option<Secret>, StoreError> {
        let db = self.db();
        let row = sqlx::query("SELECT sealer, nonce, value FROM sealed WHERE name = $1")
            .bind(name)
            .fetch_optional(&db.pool)
            .await
            .map_err(|e| db.failed(&e))?;
        let Some(row) = row else { return Ok(None) };
        let column = |name: &str| row.try_get::<String, _>(name).map_err(|e| db.failed(&e));
        let failed = |why: &str| StoreError::Sealed {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        if column("sealer")? != key.fingerprint() {
            return Err(failed(
                "it was sealed under another key; give that key back ([store] key), or seal the secret again",
            ));
        }
        let changed = || failed("its record was changed; seal the secret again");
        let nonce = STANDARD.decode(column("nonce")?).map_err(|_| changed())?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| changed())?;
        let mut bytes = Zeroizing::new(STANDARD.decode(column("value")?).map_err(|_| changed())?);
        let plain = key
            .cipher()
            .open_in_place(nonce, Aad::from(bound(name)), &mut bytes)
            .map_err(|_| changed())?;
        let text = std::str::from_utf8(plain).map_err(|_| changed())?;
        Ok(Some(Secret::new(text.to_owned())))
    }

    /// The names of all sealed secrets and when each was written, in the order of names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sealed_names(&self) -> Result<Vec<(String, SystemTime)>, StoreError> {
        let db = self.db();
        let rows = sqlx::query("SELECT name, changed FROM sealed ORDER BY name")
            .fetch_all(&db.pool)
            .await
            .map_err(|e| db.failed(&e))?;
        let read = |row: &crate::engine::Row| Ok((row.try_get("name")?, db::time(row.try_get("changed")?)));
        let names: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        names.map_err(|e| db.failed(&e))
    }

    /// Forgets a sealed secret; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_sealed(&self, name: &str) -> Result<bool, StoreError> {
        let db = self.db();
        let mut write = db.write().await?;
        let done = sqlx::query("DELETE FROM sealed WHERE name = $1")
            .bind(name)
            .execute(&mut *write.tx)
            .await
            .map_err(|e| db.failed(&e))?;
        write.tx.commit().await.map_err(|e| db.failed(&e))?;
        Ok(done.rows_affected() > 0)
    }
}

/// What a ciphertext is bound to.
fn bound(name: &str) -> String {
    format!("portreeve sealed secret 1\0{name}")
}

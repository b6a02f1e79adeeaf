//! The account table: what `application` signs in with.
//!
//! Invariant: an account is one statement to read (keys joined), so a reader never sees half a change; a
//! change and the step of the counter are one transaction, and [`Accounts::generation`] has moved before
//! the change is answered.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use portreeve_auth::{Account, AccountChange, AccountKey, Accounts, AccountsError, Audience, Membership};
use portreeve_model::{GroupName, RoleName, UserName};
use sqlx::Row as _;

use crate::{
    Store, StoreError,
    db::{self, Db},
    engine::{Connection, Row},
};

/// Longest page of [`Accounts::list`].
const PAGE: usize = 1_000;

const FIND: &str = "SELECT a.audience, a.name, a.member_of, a.password, a.disabled, a.expires, a.mail, a.created, \
    a.last_login, k.fingerprint, k.line, k.label \
    FROM accounts a LEFT JOIN account_keys k ON k.audience = a.audience AND k.name = a.name \
    WHERE a.audience = $1 AND a.name = $2 ORDER BY k.position";

const LIST: &str = "SELECT a.audience, a.name, a.member_of, a.password, a.disabled, a.expires, a.mail, a.created, \
    a.last_login, k.fingerprint, k.line, k.label \
    FROM (SELECT * FROM accounts WHERE audience = $1 AND name > $2 ORDER BY name LIMIT $3) a \
    LEFT JOIN account_keys k ON k.audience = a.audience AND k.name = a.name \
    ORDER BY a.name, k.position";

const ADD: &str = "INSERT INTO accounts \
    (audience, name, member_of, password, disabled, expires, mail, created, last_login) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (audience, name) DO NOTHING";

const ADD_KEY: &str = "INSERT INTO account_keys (audience, name, fingerprint, position, line, label) \
    VALUES ($1, $2, $3, (SELECT COALESCE(MAX(position), 0) + 1 FROM account_keys WHERE audience = $1 AND name = $2), \
    $4, $5) ON CONFLICT (audience, name, fingerprint) DO UPDATE SET line = excluded.line, label = excluded.label";

/// Reads the counter that every change moves.
pub(crate) async fn generation(db: &Db) -> Result<u64, StoreError> {
    let value: i64 = sqlx::query_scalar("SELECT value FROM counters WHERE name = 'accounts'")
        .fetch_one(&db.pool)
        .await
        .map_err(|e| db.failed(&e))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

#[async_trait]
impl Accounts for Store {
    async fn find(&self, audience: Audience, name: &UserName) -> Result<Option<Account>, AccountsError> {
        let rows = sqlx::query(FIND)
            .bind(word(audience))
            .bind(name.as_str())
            .fetch_all(&self.db().pool)
            .await
            .map_err(|e| unavailable(&self.db().failed(&e)))?;
        Ok(gather(self.db(), &rows).map_err(|e| unavailable(&e))?.pop())
    }

    async fn list(
        &self,
        audience: Audience,
        after: Option<&UserName>,
        limit: usize,
    ) -> Result<Vec<Account>, AccountsError> {
        let rows = sqlx::query(LIST)
            .bind(word(audience))
            .bind(after.map_or("", UserName::as_str))
            .bind(i64::try_from(limit.min(PAGE)).unwrap_or(0))
            .fetch_all(&self.db().pool)
            .await
            .map_err(|e| unavailable(&self.db().failed(&e)))?;
        gather(self.db(), &rows).map_err(|e| unavailable(&e))
    }

    async fn add(&self, account: &Account) -> Result<(), AccountsError> {
        let audience = account.member_of.audience();
        let row = sqlx::query(ADD)
            .bind(word(audience))
            .bind(account.name.as_str())
            .bind(names(&account.member_of))
            .bind(account.password.as_deref())
            .bind(i64::from(account.disabled))
            .bind(account.expires.map(db::micros))
            .bind(account.mail.as_deref())
            .bind(db::micros(account.created))
            .bind(account.last_login.map(db::micros));
        let mut write = self.db().write().await.map_err(|e| unavailable(&e))?;
        let fault = |e: sqlx::Error| unavailable(&self.db().failed(&e));
        if row.execute(&mut *write.tx).await.map_err(fault)?.rows_affected() == 0 {
            return Err(AccountsError::Exists(account.name.clone()));
        }
        for key in &account.keys {
            add_key(&mut write.tx, audience, &account.name, key)
                .await
                .map_err(fault)?;
        }
        self.finish(write).await
    }

    async fn change(
        &self,
        audience: Audience,
        name: &UserName,
        change: AccountChange,
    ) -> Result<(), AccountsError> {
        if let AccountChange::MemberOf(of) = &change
            && of.audience() != audience
        {
            return Err(AccountsError::WrongAudience);
        }
        let mut write = self.db().write().await.map_err(|e| unavailable(&e))?;
        let fault = |e: sqlx::Error| unavailable(&self.db().failed(&e));
        if !exists(&mut write.tx, audience, name).await.map_err(fault)? {
            return Err(AccountsError::NoAccount(name.clone()));
        }
        match apply(&mut write.tx, audience, name, &change)
            .await
            .map_err(fault)?
        {
            Applied::Changed => self.finish(write).await,
            Applied::Nothing => Ok(()),
            Applied::NoKey(fingerprint) => Err(AccountsError::NoKey(name.clone(), fingerprint)),
        }
    }

    async fn remove(&self, audience: Audience, name: &UserName) -> Result<(), AccountsError> {
        let mut write = self.db().write().await.map_err(|e| unavailable(&e))?;
        let gone = sqlx::query("DELETE FROM accounts WHERE audience = $1 AND name = $2")
            .bind(word(audience))
            .bind(name.as_str())
            .execute(&mut *write.tx)
            .await
            .map_err(|e| unavailable(&self.db().failed(&e)))?
            .rows_affected();
        if gone == 0 {
            return Err(AccountsError::NoAccount(name.clone()));
        }
        self.finish(write).await
    }

    async fn record_login(
        &self,
        audience: Audience,
        name: &UserName,
        at: SystemTime,
    ) -> Result<(), AccountsError> {
        let mut write = self.db().write().await.map_err(|e| unavailable(&e))?;
        let fault = |e: sqlx::Error| unavailable(&self.db().failed(&e));
        // Sign-ins that end at the same time may arrive in any order: the latest stays.
        let known = sqlx::query(
            "UPDATE accounts SET last_login = CASE WHEN last_login > $3 THEN last_login ELSE $3 END \
             WHERE audience = $1 AND name = $2",
        )
        .bind(word(audience))
        .bind(name.as_str())
        .bind(db::micros(at))
        .execute(&mut *write.tx)
        .await
        .map_err(fault)?
        .rows_affected();
        if known == 0 {
            return Err(AccountsError::NoAccount(name.clone()));
        }
        write.tx.commit().await.map_err(fault)
    }

    fn generation(&self) -> u64 {
        self.accounts_generation()
    }
}

impl Store {
    /// Moves the counter, commits, and lets this process see it.
    async fn finish(&self, mut write: db::Write<'_>) -> Result<(), AccountsError> {
        let fault = |e: sqlx::Error| unavailable(&self.db().failed(&e));
        let value: i64 = sqlx::query_scalar(
            "UPDATE counters SET value = value + 1 WHERE name = 'accounts' RETURNING value",
        )
        .fetch_one(&mut *write.tx)
        .await
        .map_err(fault)?;
        write.tx.commit().await.map_err(fault)?;
        self.saw_accounts(u64::try_from(value).unwrap_or(0));
        Ok(())
    }
}

enum Applied {
    Changed,
    Nothing,
    NoKey(String),
}

async fn apply(
    tx: &mut Connection,
    audience: Audience,
    name: &UserName,
    change: &AccountChange,
) -> Result<Applied, sqlx::Error> {
    match change {
        AccountChange::Password(hash) => {
            set(
                tx,
                "UPDATE accounts SET password = $3 WHERE audience = $1 AND name = $2",
                audience,
                name,
                hash.as_deref(),
            )
            .await
        }
        AccountChange::Rehash { from, to } => {
            let done = sqlx::query(
                "UPDATE accounts SET password = $3 WHERE audience = $1 AND name = $2 AND password = $4",
            )
            .bind(word(audience))
            .bind(name.as_str())
            .bind(to)
            .bind(from)
            .execute(tx)
            .await?;
            Ok(if done.rows_affected() == 0 {
                Applied::Nothing
            } else {
                Applied::Changed
            })
        }
        AccountChange::AddKey(key) => {
            add_key(tx, audience, name, key).await?;
            Ok(Applied::Changed)
        }
        AccountChange::RemoveKey(fingerprint) => {
            let done = sqlx::query(
                "DELETE FROM account_keys WHERE audience = $1 AND name = $2 AND fingerprint = $3",
            )
            .bind(word(audience))
            .bind(name.as_str())
            .bind(fingerprint)
            .execute(tx)
            .await?;
            Ok(if done.rows_affected() == 0 {
                Applied::NoKey(fingerprint.clone())
            } else {
                Applied::Changed
            })
        }
        AccountChange::Disabled(off) => {
            set(
                tx,
                "UPDATE accounts SET disabled = $3 WHERE audience = $1 AND name = $2",
                audience,
                name,
                i64::from(*off),
            )
            .await
        }
        AccountChange::Expires(at) => {
            let at = at.map(db::micros);
            set(
                tx,
                "UPDATE accounts SET expires = $3 WHERE audience = $1 AND name = $2",
                audience,
                name,
                at,
            )
            .await
        }
        AccountChange::Mail(mail) => {
            set(
                tx,
                "UPDATE accounts SET mail = $3 WHERE audience = $1 AND name = $2",
                audience,
                name,
                mail.as_deref(),
            )
            .await
        }
        AccountChange::MemberOf(of) => {
            set(
                tx,
                "UPDATE accounts SET member_of = $3 WHERE audience = $1 AND name = $2",
                audience,
                name,
                names(of),
            )
            .await
        }
    }
}

async fn set<'q, T>(
    tx: &mut Connection,
    sql: &'static str,
    audience: Audience,
    name: &'q UserName,
    value: T,
) -> Result<Applied, sqlx::Error>
where
    T: sqlx::Encode<'q, crate::engine::Engine> + sqlx::Type<crate::engine::Engine> + 'q,
{
    sqlx::query(sql)
        .bind(word(audience))
        .bind(name.as_str())
        .bind(value)
        .execute(tx)
        .await?;
    Ok(Applied::Changed)
}

async fn add_key(
    tx: &mut Connection,
    audience: Audience,
    name: &UserName,
    key: &AccountKey,
) -> Result<(), sqlx::Error> {
    sqlx::query(ADD_KEY)
        .bind(word(audience))
        .bind(name.as_str())
        .bind(&key.fingerprint)
        .bind(&key.line)
        .bind(&key.label)
        .execute(tx)
        .await?;
    Ok(())
}

async fn exists(tx: &mut Connection, audience: Audience, name: &UserName) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM accounts WHERE audience = $1 AND name = $2")
        .bind(word(audience))
        .bind(name.as_str())
        .fetch_optional(tx)
        .await?;
    Ok(found.is_some())
}

/// Rows of one account follow each other, one for each key.
fn gather(db: &Arc<Db>, rows: &[Row]) -> Result<Vec<Account>, StoreError> {
    let mut accounts: Vec<Account> = Vec::new();
    for row in rows {
        let account = account(db, row)?;
        if accounts.last().is_none_or(|last| last.name != account.name) {
            accounts.push(account);
        }
        if let (Some(key), Some(last)) = (key(row).map_err(|e| db.failed(&e))?, accounts.last_mut()) {
            last.keys.push(key);
        }
    }
    Ok(accounts)
}

fn account(db: &Db, row: &Row) -> Result<Account, StoreError> {
    let read = |e: sqlx::Error| db.failed(&e);
    let raw: String = row.try_get("name").map_err(read)?;
    let name = UserName::new(&raw).map_err(|e| db.damaged(format!("account name {raw:?}: {e}")))?;
    let audience: String = row.try_get("audience").map_err(read)?;
    let list: String = row.try_get("member_of").map_err(read)?;
    let member_of = membership(&audience, &list)
        .ok_or_else(|| db.damaged(format!("groups or roles of {name:?}: {list:?}")))?;
    Ok(Account {
        name,
        member_of,
        password: row.try_get("password").map_err(read)?,
        keys: Vec::new(),
        disabled: row.try_get::<i64, _>("disabled").map_err(read)? != 0,
        expires: row
            .try_get::<Option<i64>, _>("expires")
            .map_err(read)?
            .map(db::time),
        mail: row.try_get("mail").map_err(read)?,
        created: db::time(row.try_get("created").map_err(read)?),
        last_login: row
            .try_get::<Option<i64>, _>("last_login")
            .map_err(read)?
            .map(db::time),
    })
}

fn key(row: &Row) -> Result<Option<AccountKey>, sqlx::Error> {
    let Some(fingerprint) = row.try_get::<Option<String>, _>("fingerprint")? else {
        return Ok(None);
    };
    Ok(Some(AccountKey {
        fingerprint,
        line: row.try_get("line")?,
        label: row.try_get("label")?,
    }))
}

const fn word(audience: Audience) -> &'static str {
    match audience {
        Audience::Transfer => "transfer",
        Audience::Admin => "admin",
    }
}

fn names(of: &Membership) -> String {
    let names: Vec<&str> = match of {
        Membership::Groups(groups) => groups.iter().map(GroupName::as_str).collect(),
        Membership::Roles(roles) => roles.iter().map(RoleName::as_str).collect(),
    };
    serde_json::Value::from(names).to_string()
}

fn membership(audience: &str, list: &str) -> Option<Membership> {
    let names: Vec<String> = serde_json::from_str(list).ok()?;
    match audience {
        "transfer" => names
            .iter()
            .map(|n| GroupName::new(n).ok())
            .collect::<Option<_>>()
            .map(Membership::Groups),
        "admin" => names
            .iter()
            .map(|n| RoleName::new(n).ok())
            .collect::<Option<_>>()
            .map(Membership::Roles),
        _ => None,
    }
}

fn unavailable(error: &StoreError) -> AccountsError {
    AccountsError::Unavailable(error.to_string())
}

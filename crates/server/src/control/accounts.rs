//! Accounts of the store, as the command line asks for them.
//!
//! Invariant: a password arrives here as a hash; nobody who asks is ever told one.

use std::time::SystemTime;

use portreeve_auth::{
    Account, AccountChange, AccountKey, Accounts, AccountsError, Audience, KeyRules, Membership, StoredHash,
    folder,
};
use portreeve_model::{GroupName, RoleName, UserName};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::Realm;

/// Accounts that are asked for at once.
const PAGE: usize = 500;

/// What about which account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AccountRequest {
    /// Add one.
    Add {
        /// Its name.
        name: String,
        /// Groups or roles, the primary one first.
        member_of: Vec<String>,
        /// A PHC string.
        password: Option<String>,
        /// Keys, in the form of `authorized_keys`.
        keys: Vec<String>,
        /// When it expires (RFC 3339).
        expires: Option<String>,
        /// An address for templates.
        mail: Option<String>,
    },
    /// All of them.
    List,
    /// One of them.
    Show {
        /// Its name.
        name: String,
    },
    /// Set the password.
    Passwd {
        /// Its name.
        name: String,
        /// A PHC string; none takes the password away.
        password: Option<String>,
    },
    /// Add a key.
    KeyAdd {
        /// Its name.
        name: String,
        /// The key, in the form of `authorized_keys`.
        line: String,
    },
    /// Remove a key.
    KeyRemove {
        /// Its name.
        name: String,
        /// `SHA256:…`.
        fingerprint: String,
    },
    /// Switch it off or on.
    Disabled {
        /// Its name.
        name: String,
        /// Off.
        disabled: bool,
    },
    /// Set or remove the expiry.
    Expire {
        /// Its name.
        name: String,
        /// When (RFC 3339); none: never.
        at: Option<String>,
    },
    /// Replace its groups or roles.
    MemberOf {
        /// Its name.
        name: String,
        /// Groups or roles, the primary one first.
        member_of: Vec<String>,
    },
    /// Remove it.
    Remove {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Debug for AccountRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.change().unwrap_or_else(|| "a question".to_owned()))
    }
}

impl AccountRequest {
    /// How the audit log names it; none for what only looks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        Some(match self {
            Self::List | Self::Show { .. } => return None,
            Self::Add { name, member_of, .. } => format!("add {name} ({})", member_of.join(", ")),
            Self::Passwd {
                name,
                password: Some(_),
            } => format!("passwd {name}"),
            Self::Passwd { name, password: None } => format!("passwd {name}: none"),
            Self::KeyAdd { name, .. } => format!("key add {name}"),
            Self::KeyRemove { name, fingerprint } => format!("key remove {name} {fingerprint}"),
            Self::Disabled { name, disabled: true } => format!("disable {name}"),
            Self::Disabled {
                name,
                disabled: false,
            } => format!("enable {name}"),
            Self::Expire { name, at } => format!("expire {name} {}", at.as_deref().unwrap_or("never")),
            Self::MemberOf { name, member_of } => format!("groups {name} ({})", member_of.join(", ")),
            Self::Remove { name } => format!("remove {name}"),
        })
    }
}

/// Does it. `suffixes` are those that some step cuts off names.
///
/// # Errors
/// A sentence: what is wrong and what to do.
pub(super) async fn run(
    accounts: &dyn Accounts,
    suffixes: &[String],
    realm: Realm,
    what: AccountRequest,
) -> Result<Json, String> {
    let audience = Audience::from(realm);
    let failed = |error: AccountsError| error.to_string();
    let (name, change) = match what {
        AccountRequest::List => return list(accounts, audience).await,
        AccountRequest::Show { name } => {
            let name = user(&name)?;
            let found = accounts.find(audience, &name).await.map_err(failed)?;
            return found
                .map(|account| shown(&account))
                .ok_or_else(|| format!("there is no account '{name}'"));
        }
        AccountRequest::Add {
            name,
            member_of,
            password,
            keys,
            expires,
            mail,
        } => {
            let name = user(&name)?;
            no_twin(accounts, suffixes, audience, &name).await?;
            let mut account = Account::new(name.clone(), membership(realm, &member_of)?, SystemTime::now());
            account.password = password.map(|text| phc(&text)).transpose()?;
            account.keys = keys.iter().map(|line| key(line)).collect::<Result<_, _>>()?;
            account.expires = expires.as_deref().map(moment).transpose()?;
            account.mail = mail;
            accounts.add(&account).await.map_err(failed)?;
            return Ok(shown(&account));
        }
        AccountRequest::Remove { name } => {
            accounts.remove(audience, &user(&name)?).await.map_err(failed)?;
            return Ok(json!({ "removed": name }));
        }
        AccountRequest::Passwd { name, password } => (
            name,
            AccountChange::Password(password.map(|text| phc(&text)).transpose()?),
        ),
        AccountRequest::KeyAdd { name, line } => (name, AccountChange::AddKey(key(&line)?)),
        AccountRequest::KeyRemove { name, fingerprint } => (name, AccountChange::RemoveKey(fingerprint)),
        AccountRequest::Disabled { name, disabled } => (name, AccountChange::Disabled(disabled)),
        AccountRequest::Expire { name, at } => (
            name,
            AccountChange::Expires(at.as_deref().map(moment).transpose()?),
        ),
        AccountRequest::MemberOf { name, member_of } => {
            (name, AccountChange::MemberOf(membership(realm, &member_of)?))
        }
    };
    let name = user(&name)?;
    accounts.change(audience, &name, change).await.map_err(failed)?;
    let account = accounts.find(audience, &name).await.map_err(failed)?;
    account
        .map(|account| shown(&account))
        .ok_or_else(|| format!("there is no account '{name}'"))
}

async fn list(accounts: &dyn Accounts, audience: Audience) -> Result<Json, String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = accounts
            .list(audience, after.as_ref(), PAGE)
            .await
            .map_err(|error| error.to_string())?;
        all.extend(page.iter().map(shown));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
            _ => return Ok(Json::Array(all)),
        }
    }
}

/// Names that differ only in case, spelling or a suffix that is cut off would be one person to people,
/// and on some storages one private folder. Which step the suffix belongs to does not matter: a step can
/// get one more with the next reload, when nobody looks at the accounts.
async fn no_twin(
    accounts: &dyn Accounts,
    suffixes: &[String],
    audience: Audience,
    name: &UserName,
) -> Result<(), String> {
    let (ours, mut after) = (folder(name, suffixes), None);
    loop {
        let page = accounts
            .list(audience, after.as_ref(), PAGE)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(twin) = page
            .iter()
            .find(|other| other.name != *name && folder(&other.name, suffixes) == ours)
        {
            return Err(format!(
                "there is an account '{}': '{name}' would share its private folder; take another name",
                twin.name
            ));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
            _ => return Ok(()),
        }
    }
}

fn user(name: &str) -> Result<UserName, String> {
    UserName::new(name).map_err(|error| format!("{name:?}: {error}"))
}

fn membership(realm: Realm, names: &[String]) -> Result<Membership, String> {
    if names.is_empty() {
        return Err(match realm {
            Realm::Transfer => "an account needs a group: --group NAME".to_owned(),
            Realm::Admin => "an administrator needs a role: --role NAME".to_owned(),
        });
    }
    let wrong = |name: &str, error| format!("{name:?}: {error}");
    match realm {
        Realm::Transfer => {
            let groups = names
                .iter()
                .map(|name| GroupName::new(name).map_err(|error| wrong(name, error)));
            groups.collect::<Result<_, _>>().map(Membership::Groups)
        }
        Realm::Admin => {
            let roles = names
                .iter()
                .map(|name| RoleName::new(name).map_err(|error| wrong(name, error)));
            roles.collect::<Result<_, _>>().map(Membership::Roles)
        }
    }
}

fn phc(text: &str) -> Result<String, String> {
    StoredHash::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn key(line: &str) -> Result<AccountKey, String> {
    // The method that reads the key says whether it takes a short RSA key.
    let rules = KeyRules { allow_rsa_2048: true };
    AccountKey::parse(line.trim(), None, rules)
        .map_err(|error| format!("'{}' is no key: {error}", line.trim()))
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("'{text}' is no time: write 2027-01-31 or 2027-01-31T12:00:00Z");
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.into());
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(start.timestamp().into())
}

fn shown(account: &Account) -> Json {
    let mut shown = json!({
        "name": account.name.as_str(),
        "password": account.password.is_some(),
        "keys": account.keys.iter()
            .map(|key| json!({ "fingerprint": key.fingerprint, "label": key.label }))
            .collect::<Vec<_>>(),
        "disabled": account.disabled,
        "expires": account.expires.map(rfc3339),
        "mail": account.mail,
        "created": rfc3339(account.created),
        "last_login": account.last_login.map(rfc3339),
    });
    let (key, names): (_, Vec<&str>) = match &account.member_of {
        Membership::Groups(groups) => ("groups", groups.iter().map(GroupName::as_str).collect()),
        Membership::Roles(roles) => ("roles", roles.iter().map(RoleName::as_str).collect()),
    };
    if let Some(object) = shown.as_object_mut() {
        object.insert(key.to_owned(), json!(names));
    }
    shown
}

/// Whole seconds, UTC.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let stamp = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::Timestamp::from_second(stamp.as_second())
        .unwrap_or(stamp)
        .to_string()
}

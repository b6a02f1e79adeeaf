//! Options of mailboxes in Exchange Online, and what can be said of them before anything is connected.

use std::{collections::HashSet, fs, path::PathBuf, time::Duration};

use portreeve_microsoft::{App, CloudName, Credential, Net, NetOptions};
use portreeve_model::{
    Secret,
    options::{DurationText, SecretText},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{MailOptions, OptionsError};

/// The shortest time for which an answer may be reused; below it every step of one listing would ask anew.
const LEAST_FRESH: Duration = Duration::from_millis(100);
/// The longest.
const MOST_FRESH: Duration = Duration::from_hours(1);
/// A certificate or a key is at most this long, in bytes.
const MAX_PEM: u64 = 256 << 10;

/// Mailboxes in Exchange Online as a storage, by Microsoft Graph: attachments are files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeOptions {
    /// The mailbox's address, e.g. `"invoices@example.com"`; or a list, each of which becomes a directory; or
    /// an address made from who signs in, e.g. `"{user.mail}"`.
    pub mailbox: Addresses,
    /// Directory (tenant) ID of the app registration: a GUID or one of the directory's domains.
    #[serde(alias = "tenant")]
    #[schemars(extend("x-aliases" = ["tenant"]))]
    pub directory_id: String,
    /// Application (client) ID of the app registration.
    #[serde(alias = "client_id")]
    #[schemars(extend("x-aliases" = ["client_id"]))]
    pub application_id: String,
    /// The app's client secret: its Value, not its Secret ID. Give one of `password`, `certificate` with
    /// `key`, `federated_token_file` and `refresh_token`.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// A PEM file with the certificate that was uploaded to the app registration.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[serde(default)]
    pub key: Option<SecretText>,
    /// A file with a token of another identity provider that the app registration trusts, such as a
    /// Kubernetes service account's; read each time.
    #[serde(default)]
    pub federated_token_file: Option<PathBuf>,
    /// The first refresh token of a person who signed in for this server (delegated permissions); the ones
    /// that follow are sealed in the state database. `password` may accompany it.
    #[serde(default)]
    pub refresh_token: Option<SecretText>,
    /// Which of Microsoft's clouds: `"global"`, `"us-gov"`, `"us-dod"` or `"china"`.
    #[serde(default)]
    pub cloud: CloudName,
    /// Where tokens come from, instead of the cloud's own address.
    #[serde(default)]
    pub authority: Option<String>,
    /// Where Graph is, with its version, instead of the cloud's own address, e.g.
    /// `"https://graph.microsoft.com/v1.0"`.
    #[serde(default)]
    pub graph: Option<String>,
    /// A PEM file with certificate authorities to trust beside those of the system, for networks that look
    /// into TLS.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy that everything goes through, `"connect://[user:password@]host:port"`.
    #[serde(default)]
    pub proxy: Option<String>,
    /// How long before its end a token is no longer used.
    #[serde(default = "default_token_grace")]
    pub token_grace: DurationText,
    /// How long what was seen of folders and messages may be reused without asking.
    #[serde(default = "default_fresh_for")]
    pub fresh_for: DurationText,
    /// How long an attachment that was fetched is kept for the next reader, encrypted in the spool.
    #[serde(default = "default_spool_keep")]
    pub spool_keep: DurationText,
    /// Requests at once to one mailbox; Exchange refuses more than 4.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: u32,
    /// Requests at once to all mailboxes of this app; without it there is no such limit.
    #[serde(default)]
    pub app_in_flight: Option<u32>,
    /// What every mailbox shares; set from the same table of the configuration.
    #[serde(skip)]
    pub mail: MailOptions,
}

/// One address (or template of one), or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Addresses {
    /// `"a@example.com"` or `"{user.mail}"`.
    One(String),
    /// `["a@example.com", "b@example.com"]`.
    Several(Vec<String>),
}

impl Addresses {
    /// All of them, as written.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// The beginning of a secret's hash: enough to tell two apart, of no use for anything else.
fn fingerprint(secret: &Secret) -> String {
    let hash = blake3::hash(secret.expose().as_bytes()).to_hex();
    hash.chars().take(16).collect()
}

/// What the secrets that the options name turned out to be.
#[derive(Debug, Clone, Default)]
pub struct ExchangeSecrets {
    /// Of `password`.
    pub password: Option<Secret>,
    /// Of `key`.
    pub key: Option<Secret>,
    /// Of `refresh_token`.
    pub refresh_token: Option<Secret>,
}

impl ExchangeOptions {
    /// What is wrong with the options in themselves, all of it; nobody is asked.
    #[must_use]
    pub fn problems(&self) -> Vec<OptionsError> {
        let mut problems = crate::option_problems(&self.mail);
        let mut wrong = |option: &'static str, text: &str| {
            problems.push(OptionsError {
                option,
                text: text.to_owned(),
            });
        };
        let all = self.mailbox.all();
        if all.is_empty() {
            wrong(
                "mailbox",
                "the list is empty; name at least one address, e.g. [\"invoices@example.com\"]",
            );
        }
        let mut seen = HashSet::new();
        for address in all {
            if !is_address(address) {
                let text = format!("{address:?} is no address; write one like \"invoices@example.com\"");
                wrong("mailbox", &text);
            } else if !seen.insert(address.to_lowercase()) {
                wrong(
                    "mailbox",
                    &format!("{address:?} stands there twice; leave one out"),
                );
            }
        }
        for (option, value) in [
            ("directory_id", &self.directory_id),
            ("application_id", &self.application_id),
        ] {
            if value.is_empty()
                || !value
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            {
                wrong(
                    option,
                    "it must be the ID from the app registration's overview page (a GUID)",
                );
            }
        }
        if ["common", "organizations", "consumers"].contains(&&*self.directory_id.to_lowercase()) {
            wrong(
                "directory_id",
                "an application signs in to one directory: write its ID or its domain",
            );
        }
        self.credential_problems(&mut wrong);
        for (option, value) in [("authority", &self.authority), ("graph", &self.graph)] {
            let plain = |url: &String| url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
            if value
                .as_ref()
                .is_some_and(|url| !plain(url) || url.contains(['?', '#', ' ']))
            {
                wrong(option, "it must be an https:// address without a query");
            }
        }
        if self
            .proxy
            .as_ref()
            .is_some_and(|proxy| !proxy.starts_with("connect://"))
        {
            wrong(
                "proxy",
                "it must be written connect://host:port or connect://user:password@host:port",
            );
        }
        if !(LEAST_FRESH..=MOST_FRESH).contains(&self.fresh_for.0) {
            wrong("fresh_for", "it must be between 100ms and 1h; 5s is the default");
        }
        if self.token_grace.0 > Duration::from_mins(30) {
            wrong(
                "token_grace",
                "tokens live about an hour: it must be at most 30m; 30s is the default",
            );
        }
        if !(1..=4).contains(&self.max_in_flight) {
            wrong(
                "max_in_flight",
                "it must be between 1 and 4: Exchange refuses more than 4 for one mailbox",
            );
        }
        if self.app_in_flight == Some(0) {
            wrong(
                "app_in_flight",
                "0 would let no request through; leave the option out for no limit",
            );
        }
        problems
    }

    fn credential_problems(&self, wrong: &mut impl FnMut(&'static str, &str)) {
        let ways = [
            (
                "password",
                self.password.is_some() && self.refresh_token.is_none(),
            ),
            ("certificate", self.certificate.is_some()),
            ("federated_token_file", self.federated_token_file.is_some()),
            ("refresh_token", self.refresh_token.is_some()),
        ];
        let mut given = ways.iter().filter(|(_, given)| *given).map(|(option, _)| *option);
        match (given.next(), given.next()) {
            (None, _) => wrong(
                "password",
                "the app needs a way to prove itself: give password, or certificate and key, or \
                 federated_token_file, or refresh_token",
            ),
            (Some(first), Some(second)) => {
                wrong(
                    second,
                    &format!("the app proves itself in one way: leave out this or {first}"),
                );
            }
            (Some(_), None) => {}
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => wrong(
                "key",
                "the certificate needs its private key, e.g. key = { file = \"…\" }",
            ),
            (None, Some(_)) => wrong("certificate", "the key needs its certificate: a PEM file"),
            _ => {}
        }
    }

    /// How the app proves itself. Reads the certificate's file.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option.
    fn credential(&self, secrets: &ExchangeSecrets) -> Result<Credential, OptionsError> {
        let missing = |option: &'static str| OptionsError {
            option,
            text: "the secret could not be had; see where the option says that it is kept".into(),
        };
        if self.refresh_token.is_some() {
            return Ok(Credential::Refresh {
                client_secret: secrets.password.clone(),
                // The person is in it by the token that was given: two people of one app have two places.
                vault_name: format!(
                    "refresh-token {} {} {}",
                    self.directory_id,
                    self.application_id,
                    secrets
                        .refresh_token
                        .as_ref()
                        .map_or_else(String::new, fingerprint)
                ),
                initial: secrets.refresh_token.clone(),
            });
        }
        if let Some(path) = &self.certificate {
            let wrong = |text: String| OptionsError {
                option: "certificate",
                text: format!("{}: {text}", path.display()),
            };
            let long = fs::metadata(path)
                .map_err(|error| wrong(error.to_string()))?
                .len();
            if long > MAX_PEM {
                return Err(wrong("it is too long for a certificate".into()));
            }
            return Ok(Credential::Certificate {
                certificate: fs::read(path).map_err(|error| wrong(error.to_string()))?,
                key: secrets.key.clone().ok_or_else(|| missing("key"))?,
            });
        }
        if let Some(file) = &self.federated_token_file {
            return Ok(Credential::Federated { file: file.clone() });
        }
        let password = secrets.password.clone().ok_or_else(|| missing("password"))?;
        Ok(Credential::Secret(password))
    }

    /// The app registration and the way to Microsoft's hosts. Reads the files that the options name; asks
    /// nobody.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option.
    pub fn app(&self, secrets: &ExchangeSecrets) -> Result<App, OptionsError> {
        let way = NetOptions {
            proxy: self.proxy.clone(),
            ca_file: self.ca_file.clone(),
        };
        let net = Net::open(&way).map_err(|error| OptionsError {
            option: if self.proxy.is_some() { "proxy" } else { "ca_file" },
            text: error.to_string(),
        })?;
        let (tenant, client) = (self.directory_id.clone(), self.application_id.clone());
        let mut app = App::new(self.cloud, tenant, client, self.credential(secrets)?, net);
        app.authority = self.authority_base();
        app.grace = self.token_grace.0;
        Ok(app)
    }

    /// Where Graph is, with its version, without a slash at the end.
    #[must_use]
    pub fn graph_base(&self) -> String {
        let own = self
            .graph
            .as_deref()
            .map(|base| base.trim_end_matches('/').to_owned());
        own.unwrap_or_else(|| format!("{}/v1.0", self.cloud.graph()))
    }

    /// Where tokens come from, without a slash at the end.
    #[must_use]
    pub fn authority_base(&self) -> String {
        let base = self.authority.as_deref().unwrap_or(self.cloud.authority());
        base.trim_end_matches('/').to_owned()
    }
}

/// Whether `text` can be a mailbox's address, or a template of one.
pub(super) fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/\\,;<>\"?".contains(c);
    let template = text.contains('{') && text.contains('}');
    let parts = text
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    text.len() <= 320 && !text.contains(odd) && (template || parts)
}

const fn default_token_grace() -> DurationText {
    DurationText(Duration::from_secs(30))
}

const fn default_fresh_for() -> DurationText {
    DurationText(Duration::from_secs(5))
}

const fn default_spool_keep() -> DurationText {
    DurationText(Duration::from_mins(1))
}

const fn default_max_in_flight() -> u32 {
    4
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn read(change: &Value) -> Result<ExchangeOptions, String> {
        let mut all = json!({
            "mailbox": "invoices@example.com", "directory_id": "8c9c4e7a-0000-4000-8000-5f0a3f6f0e11",
            "application_id": "11111111-2222-3333-4444-555555555555", "password": "s3cret~value",
        });
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => all.as_object_mut().unwrap().remove(key),
                value => all.as_object_mut().unwrap().insert(key.clone(), value.clone()),
            };
        }
        from_value(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_that_is_needed_is_sound() {
        let options = read(&json!({})).unwrap();
        assert_eq!(options.problems().len(), 0, "{:?}", options.problems());
        assert_eq!(options.graph_base(), "https://graph.microsoft.com/v1.0");
        assert!(
            !format!("{options:?}").contains("s3cret"),
            "a secret stands in Debug"
        );
    }

    #[test]
    fn two_people_of_one_app_have_two_places_for_their_tokens() {
        let place = |token: &str| {
            let options = read(&json!({"password": null, "refresh_token": token})).unwrap();
            let secrets = ExchangeSecrets {
                refresh_token: Some(Secret::new(token.into())),
                ..ExchangeSecrets::default()
            };
            match options.credential(&secrets).unwrap() {
                Credential::Refresh { vault_name, .. } => vault_name,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(place("anna's"), place("anna's"));
        assert_ne!(place("anna's"), place("ben's"));
        assert!(!place("anna's").contains("anna"));
    }

    #[test]
    fn each_mistake_is_told_with_its_option() {
        for (change, option, part) in [
            (json!({"mailbox": []}), "mailbox", "at least one"),
            (json!({"mailbox": "nobody"}), "mailbox", "no address"),
            (json!({"mailbox": "a@b/c"}), "mailbox", "no address"),
            (json!({"mailbox": ["a@x.org", "A@x.org"]}), "mailbox", "twice"),
            (json!({"directory_id": "common"}), "directory_id", "one directory"),
            (json!({"application_id": ""}), "application_id", "GUID"),
            (json!({"password": null}), "password", "prove itself"),
            (
                json!({"certificate": "/c.pem", "key": "k"}),
                "certificate",
                "leave out",
            ),
            (
                json!({"password": null, "certificate": "/c.pem"}),
                "key",
                "private key",
            ),
            (json!({"key": "k"}), "certificate", "needs its certificate"),
            (json!({"authority": "http://x"}), "authority", "https"),
            (json!({"graph": "https://x/v1.0?y"}), "graph", "query"),
            (json!({"proxy": "http://x:1"}), "proxy", "connect://"),
            (json!({"fresh_for": "0s"}), "fresh_for", "100ms"),
            (json!({"token_grace": "2h"}), "token_grace", "30m"),
            (json!({"max_in_flight": 5}), "max_in_flight", "4"),
            (json!({"app_in_flight": 0}), "app_in_flight", "0"),
        ] {
            let problems = read(&change).unwrap().problems();
            let told = problems
                .iter()
                .any(|p| p.option == option && p.text.contains(part));
            assert!(told, "{change}: {problems:?}");
        }
    }

    #[test]
    fn every_way_to_prove_itself_is_sound_alone() {
        for change in [
            json!({"password": {"env": "X"}}),
            json!({"password": null, "certificate": "/c.pem", "key": {"file": "/k.pem"}}),
            json!({"password": null, "federated_token_file": "/run/token"}),
            json!({"refresh_token": {"sealed": "first"}}),
            json!({"password": null, "refresh_token": "x"}),
            json!({"mailbox": ["a@x.org", "b@x.org"], "tenant": "contoso.com", "directory_id": null}),
            json!({"mailbox": "{user.mail}"}),
            json!({"mailbox": "bob_contoso.com#EXT#@x.org", "cloud": "us-gov"}),
        ] {
            let problems = read(&change).unwrap().problems();
            assert!(problems.is_empty(), "{change}: {problems:?}");
        }
    }
}

//! Options of a mailbox that is reached by IMAP, and what can be said of them before anything is connected.

use std::{path::PathBuf, time::Duration};

use portreeve_model::{
    Secret,
    options::{DurationText, SecretText},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Addresses, MailOptions, OptionsError};

/// Where Microsoft hands out tokens for a directory.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Mailboxes on a mail server as a storage, by IMAP over TLS: attachments are files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImapOptions {
    /// The mail server's name, e.g. `"outlook.office365.com"`.
    pub host: String,
    /// Its port for IMAP over TLS from the start; clear text and STARTTLS are not offered.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Who signs in with `password`. Where the app's id is part of it, as in
    /// `"invoices@example.com~<client id>"`, it is the mailbox and `application_id` in one.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password; with `application_id` the app's client secret.
    #[serde(default, alias = "client_secret")]
    #[schemars(extend("x-aliases" = ["client_secret"]))]
    pub password: Option<SecretText>,
    /// The mailbox's address, where it is not the user's own; or a list, each of which becomes a directory;
    /// or an address made from who signs in, e.g. `"{user.mail}"`.
    #[serde(default)]
    pub mailbox: Option<Addresses>,
    /// Application (client) ID of the app registration, for OAuth.
    #[serde(default, alias = "client_id")]
    #[schemars(extend("x-aliases" = ["client_id"]))]
    pub application_id: Option<String>,
    /// Directory (tenant) ID of the app registration.
    #[serde(default, alias = "tenant")]
    #[schemars(extend("x-aliases" = ["tenant"]))]
    pub directory_id: Option<String>,
    /// Where tokens come from, in place of Microsoft's endpoint for `directory_id`.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// What a token is asked for.
    #[serde(default = "default_scopes")]
    pub scopes: String,
    /// The first refresh token of a person who signed in for this server (delegated permissions); the ones
    /// that follow are sealed in the state database.
    #[serde(default)]
    pub refresh_token: Option<SecretText>,
    /// How signing in is done: `"auto"` takes what the server offers.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// A PEM file with certificate authorities to trust beside those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A proxy that everything goes through, `"connect://[user:password@]host:port"`.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Connections at once to one mailbox, one more for `idle` not counted.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// How long what was seen of folders and messages may be reused without asking.
    #[serde(default = "default_fresh_for")]
    pub fresh_for: DurationText,
    /// Have the server tell what happens in the folder that was listed last (IDLE), where it can.
    #[serde(default = "default_idle")]
    pub idle: bool,
    /// How long an attachment that was fetched is kept for the next reader, encrypted in the spool.
    #[serde(default = "default_spool_keep")]
    pub spool_keep: DurationText,
    /// The folder of drafts, where the server does not say which it is.
    #[serde(default)]
    pub drafts: Option<String>,
    /// The folder of deleted messages, where the server does not say which it is: it is protected.
    #[serde(default)]
    pub trash: Option<String>,
    /// What every mailbox shares; set from the same table of the configuration.
    #[serde(skip)]
    pub mail: MailOptions,
}

/// How signing in is done (SASL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// What the server offers: XOAUTH2 before OAUTHBEARER for a token, PLAIN before LOGIN for a password.
    #[default]
    Auto,
    /// A token as Google and Microsoft take it.
    Xoauth2,
    /// A token as RFC 7628 has it.
    Oauthbearer,
    /// A password (RFC 4616).
    Plain,
    /// A password, the oldest way.
    Login,
}

/// What the secrets that the options name turned out to be.
#[derive(Debug, Clone, Default)]
pub struct ImapSecrets {
    /// Of `password`.
    pub password: Option<Secret>,
    /// Of `refresh_token`.
    pub refresh_token: Option<Secret>,
}

impl ImapOptions {
    /// A mailbox on `host` with everything else as by default.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: default_port(),
            username: None,
            password: None,
            mailbox: None,
            application_id: None,
            directory_id: None,
            token_endpoint: None,
            scopes: default_scopes(),
            refresh_token: None,
            mechanism: Mechanism::default(),
            ca_file: None,
            proxy: None,
            connections: default_connections(),
            fresh_for: default_fresh_for(),
            idle: default_idle(),
            spool_keep: default_spool_keep(),
            drafts: None,
            trash: None,
            mail: MailOptions::default(),
        }
    }

    /// Who signs in, and the app that was written behind the name.
    #[must_use]
    pub fn user(&self) -> (Option<&str>, Option<&str>) {
        let Some(name) = self.username.as_deref() else {
            return (None, None);
        };
        match name.split_once('~') {
            Some((user, app)) => (Some(user), Some(app)),
            None => (Some(name), None),
        }
    }

    /// The app that tokens are for, where there is one.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.application_id.as_deref().or(self.user().1)
    }

    /// Where tokens come from.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        let own = self.token_endpoint.clone();
        let directory = self.directory_id.as_deref();
        own.or_else(|| directory.map(|id| format!("{AUTHORITY}/{id}/oauth2/v2.0/token")))
    }

    /// The mailboxes that are meant, as they are written: one, several, or a template.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        match &self.mailbox {
            Some(addresses) => addresses.all().to_vec(),
            None => self.user().0.map(str::to_owned).into_iter().collect(),
        }
    }

    /// The one address that is made from who signs in, in whichever option it is written.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        let one = match &self.mailbox {
            Some(addresses) => match addresses.all() {
                [one] => one.as_str(),
                _ => return None,
            },
            None => self.user().0?,
        };
        one.contains('{').then_some(one)
    }

    /// What is wrong with the options in themselves, all of it; nobody is asked.
    #[must_use]
    pub fn problems(&self) -> Vec<OptionsError> {
        let mut problems = crate::option_problems(&self.mail);
        let mut wrong = |option: &'static str, text: &str| {
            let text = text.to_owned();
            problems.push(OptionsError { option, text });
        };
        let name = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if self.host.is_empty() || !self.host.chars().all(name) {
            wrong(
                "host",
                "it must be the mail server's name alone, e.g. \"outlook.office365.com\"",
            );
        }
        if matches!(self.port, 0 | 143) {
            wrong(
                "port",
                "it must be the port for IMAP over TLS, usually 993; clear text is not spoken",
            );
        }
        let all = self.addresses();
        if all.is_empty() {
            wrong(
                "username",
                "nobody signs in: set username, or mailbox with application_id",
            );
        }
        if all
            .iter()
            .any(|name| name.is_empty() || name.chars().any(|c| c.is_control() || c == '/'))
        {
            wrong(
                "mailbox",
                "an address is empty, or holds a slash or a control character",
            );
        }
        let oauth = self.application().is_some();
        let by_token = matches!(self.mechanism, Mechanism::Xoauth2 | Mechanism::Oauthbearer);
        if oauth {
            if self.endpoint().is_none() {
                wrong(
                    "token_endpoint",
                    "tokens need directory_id (Microsoft) or token_endpoint",
                );
            }
            if self.password.is_none() && self.refresh_token.is_none() {
                wrong("password", "the app needs its client secret, or refresh_token");
            }
            if matches!(self.mechanism, Mechanism::Plain | Mechanism::Login) {
                wrong(
                    "mechanism",
                    "it shows a password, but application_id asks for a token",
                );
            }
        } else {
            if by_token {
                wrong("mechanism", "it shows a token, which needs application_id");
            }
            if self.password.is_none() {
                wrong(
                    "password",
                    "it is missing; or set application_id and directory_id for OAuth",
                );
            }
            match self.user().0 {
                None => wrong("username", "a password needs the name of its user"),
                Some(user) if user.contains('{') => wrong(
                    "username",
                    "a password is that of one user: name them here, and write the template in mailbox",
                ),
                Some(_) => {}
            }
            for (option, given) in [
                ("refresh_token", self.refresh_token.is_some()),
                ("token_endpoint", self.token_endpoint.is_some()),
                ("directory_id", self.directory_id.is_some()),
            ] {
                if given {
                    wrong(option, "it has a meaning only with application_id");
                }
            }
        }
        if self.user().1.is_some() && self.application_id.is_some() {
            wrong("application_id", "it is part of username already; leave one out");
        }
        if !(1..=50).contains(&self.connections) {
            wrong(
                "connections",
                "it must be from 1 to 50; mail servers allow few for one mailbox",
            );
        }
        if self.fresh_for.0 > Duration::from_hours(1) {
            wrong("fresh_for", "at most \"1h\"");
        }
        problems
    }
}

const fn default_port() -> u16 {
    993
}

fn default_scopes() -> String {
    "https://outlook.office365.com/.default".to_owned()
}

const fn default_connections() -> u32 {
    4
}

const fn default_fresh_for() -> DurationText {
    DurationText(Duration::from_secs(5))
}

const fn default_idle() -> bool {
    true
}

const fn default_spool_keep() -> DurationText {
    DurationText(Duration::from_mins(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut ImapOptions)) -> Vec<&'static str> {
        let mut options = ImapOptions::new("mail.example.com");
        change(&mut options);
        options
            .problems()
            .into_iter()
            .map(|problem| problem.option)
            .collect()
    }

    fn secret() -> Option<SecretText> {
        Some(SecretText::Env("X".into()))
    }

    #[test]
    fn options_say_what_is_wrong() {
        assert_eq!(problems(|_| {}), ["username", "password", "username"]);
        let plain = |o: &mut ImapOptions| {
            o.username = Some("a".into());
            o.password = secret();
        };
        assert!(problems(plain).is_empty());
        let app = |o: &mut ImapOptions| {
            o.username = Some("box@example.com~1234".into());
            o.password = secret();
            o.directory_id = Some("t".into());
        };
        assert!(problems(app).is_empty());
        for (option, change) in [
            ("host", (|o| o.host = "imaps://x".into()) as fn(&mut ImapOptions)),
            ("port", |o| o.port = 143),
            ("mechanism", |o| o.mechanism = Mechanism::Xoauth2),
            ("connections", |o| o.connections = 0),
            ("token_endpoint", |o| o.token_endpoint = Some("https://x".into())),
            ("mailbox", |o| o.mailbox = Some(Addresses::One("a/b".into()))),
            ("username", |o| o.username = Some("{user}".into())),
            ("fresh_for", |o| {
                o.fresh_for = DurationText(Duration::from_hours(2));
            }),
        ] {
            let found = problems(|o| {
                plain(o);
                change(o);
            });
            assert_eq!(found, [option]);
        }
        for (option, change) in [
            (
                "token_endpoint",
                (|o| o.directory_id = None) as fn(&mut ImapOptions),
            ),
            ("mechanism", |o| o.mechanism = Mechanism::Login),
            ("password", |o| o.password = None),
            ("application_id", |o| o.application_id = Some("5".into())),
        ] {
            let found = problems(|o| {
                app(o);
                change(o);
            });
            assert_eq!(found, [option]);
        }
    }

    #[test]
    fn the_app_may_be_part_of_the_name() {
        let mut options = ImapOptions::new("h");
        options.username = Some("box@example.com~12-34".into());
        options.directory_id = Some("t".into());
        assert_eq!(options.application(), Some("12-34"));
        assert_eq!(options.addresses(), ["box@example.com"]);
        assert_eq!(options.template(), None);
        options.username = Some("{user.mail}~12-34".into());
        assert_eq!(options.template(), Some("{user.mail}"));
        options.mailbox = Some(Addresses::One("{user}@example.com".into()));
        assert_eq!(options.template(), Some("{user}@example.com"));
        options.mailbox = Some(Addresses::One("box@example.com".into()));
        assert_eq!(options.template(), None);
        let endpoint = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
        assert_eq!(options.endpoint().as_deref(), Some(endpoint));
    }
}

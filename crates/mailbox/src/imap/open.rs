//! From options to a mailbox: who signs in, by which way.
//!
//! Invariant: nothing is connected here; a server that is down keeps nothing from starting.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use portreeve_microsoft::{App, CloudName, Credential, Net, NetOptions, TokenSource};

use super::{
    Imap, ImapOptions, ImapSecrets, Treatment,
    connection::Stream,
    error::{ImapError, Kind},
    folders::Given,
    pool::{Dial, Pool},
    sign_in::{Proof, SignIn},
};
use crate::{Mailbox, OptionsError, Surroundings};

/// A token that holds for less than this is renewed.
const GRACE: Duration = Duration::from_secs(30);

impl ImapOptions {
    /// The way to the server and to the token endpoint. Reads the authorities; asks nobody.
    pub(crate) fn net(&self) -> Result<Arc<Net>, OptionsError> {
        let net = Net::open(&NetOptions {
            proxy: self.proxy.clone(),
            ca_file: self.ca_file.clone(),
        });
        net.map_err(|error| OptionsError {
            option: if self.proxy.is_some() { "proxy" } else { "ca_file" },
            text: error.to_string(),
        })
    }

    /// Where tokens for a mailbox come from; nowhere without an app.
    pub(crate) fn tokens(
        &self,
        address: &str,
        secrets: &ImapSecrets,
        around: &Surroundings,
    ) -> Result<Option<Arc<TokenSource>>, OptionsError> {
        let Some(client) = self.application() else {
            return Ok(None);
        };
        let directory = self.directory_id.clone().unwrap_or_default();
        let endpoint = self.endpoint().unwrap_or_default();
        let credential = if self.refresh_token.is_some() {
            let user = self.user().0.unwrap_or(address);
            Credential::Refresh {
                client_secret: secrets.password.clone(),
                vault_name: format!("imap-refresh-token {endpoint} {client} {user}"),
                initial: secrets.refresh_token.clone(),
            }
        } else {
            let password = secrets.password.clone().ok_or_else(|| OptionsError {
                option: "password",
                text: "the secret could not be had; see where the option says that it is kept".to_owned(),
            })?;
            Credential::Secret(password)
        };
        let mut app = App::new(
            CloudName::Global,
            directory,
            client.to_owned(),
            credential,
            self.net()?,
        );
        app.token_endpoint = self.endpoint();
        app.grace = GRACE;
        let tokens = around.cloud.tokens(&app, &self.scopes);
        tokens.map(Some).map_err(|error| OptionsError {
            option: "token_endpoint",
            text: error.to_string(),
        })
    }
}

impl Imap {
    /// The mailbox of this address (see [`ImapOptions::addresses`]). Nothing is asked yet.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option: it cannot be used, or its secret could not be had.
    pub fn open(
        options: &ImapOptions,
        address: &str,
        secrets: &ImapSecrets,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        if let Some(problem) = options.problems().into_iter().next() {
            return Err(problem);
        }
        let wrong = |option: &'static str, text: String| OptionsError { option, text };
        if address.is_empty() || address.chars().any(|c| c.is_control() || "{}".contains(c)) {
            return Err(wrong(
                "mailbox",
                format!("{address:?} is no address of a mailbox"),
            ));
        }
        let net = options.net()?;
        let missing = || {
            let text = "the secret could not be had; see where the option says that it is kept";
            wrong("password", text.to_owned())
        };
        let (user, _) = options.user();
        let proof = match options.tokens(address, secrets, around)? {
            None => Proof::Password(secrets.password.clone().ok_or_else(missing)?),
            Some(tokens) => Proof::Token(tokens),
        };
        let sign_in = SignIn {
            user: user.unwrap_or(address).to_owned(),
            mailbox: address.to_owned(),
            proof,
            mechanism: options.mechanism,
            host: options.host.clone(),
            port: options.port,
        };
        let pool = Pool::new(
            dial(net, &options.host, options.port),
            sign_in,
            options.connections,
        );
        let how = Treatment {
            space: space(options, address),
            address: address.to_owned(),
            fresh_for: options.fresh_for.0,
            spool_keep: options.spool_keep.0,
            max_entries: usize::try_from(options.mail.max_entries).unwrap_or(usize::MAX),
            max_draft: options.mail.max_upload.0,
            idle: options.idle,
            given: Given {
                drafts: options.drafts.clone(),
                trash: options.trash.clone(),
            },
        };
        Ok(Self::new(pool, around, how))
    }
}

impl Mailbox {
    /// The mailbox of this address on a mail server, by IMAP. Nothing is asked yet.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option and says what is wrong.
    pub fn imap(
        options: &ImapOptions,
        address: &str,
        secrets: &ImapSecrets,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        let store = Imap::open(options, address, secrets, around)?;
        Self::over(Arc::new(store), &space(options, address), &options.mail, around)
    }
}

/// What tells one mailbox from all others.
fn space(options: &ImapOptions, address: &str) -> String {
    let (host, address) = (options.host.to_lowercase(), address.to_lowercase());
    format!("imap {host} {} {address}", options.port)
}

fn dial(net: Arc<Net>, host: &str, port: u16) -> Dial {
    let host: Arc<str> = host.into();
    Arc::new(move || {
        let (net, host) = (Arc::clone(&net), Arc::clone(&host));
        async move {
            let stream = net.connect_tls(&host, port).await;
            let stream = stream.map_err(|error| ImapError::new(Kind::Unreachable, error.to_string()))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    })
}

//! From options to a mailbox: who signs in, by which way.
//!
//! Invariant: nothing is connected here; a server that is down keeps nothing from starting.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use portreeve_microsoft::{App, CloudName, Credential, Net, NetOptions};

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
            return Err(wrong("mailbox", format!("{address:?} is no address of a mailbox")));
        }
        let net = Net::open(&NetOptions {
            proxy: options.proxy.clone(),
            ca_file: options.ca_file.clone(),
        });
        let net = net.map_err(|error| {
            let option = if options.proxy.is_some() { "proxy" } else { "ca_file" };
            wrong(option, error.to_string())
        })?;
        let missing = || {
            let text = "the secret could not be had; see where the option says that it is kept";
            wrong("password", text.to_owned())
        };
        let (user, _) = options.user();
        let proof = match options.application() {
            None => Proof::Password(secrets.password.clone().ok_or_else(missing)?),
            Some(client) => {
                let directory = options.directory_id.clone().unwrap_or_default();
                let credential = if options.refresh_token.is_some() {
                    let endpoint = options.endpoint().unwrap_or_default();
                    Credential::Refresh {
                        client_secret: secrets.password.clone(),
                        vault_name: format!("imap-refresh-token {endpoint} {client} {}", user.unwrap_or(address)),
                        initial: secrets.refresh_token.clone(),
                    }
                } else {
                    Credential::Secret(secrets.password.clone().ok_or_else(missing)?)
                };
                let mut app = App::new(CloudName::Global, directory, client.to_owned(), credential, Arc::clone(&net));
                app.token_endpoint = options.endpoint();
                app.grace = GRACE;
                let tokens = around.cloud.tokens(&app, &options.scopes);
                Proof::Token(tokens.map_err(|error| wrong("token_endpoint", error.to_string()))?)
            }
        };
        let sign_in = SignIn {
            user: user.unwrap_or(address).to_owned(),
            mailbox: address.to_owned(),
            proof,
            mechanism: options.mechanism,
            host: options.host.clone(),
            port: options.port,
        };
        let pool = Pool::new(dial(net, &options.host, options.port), sign_in, options.connections);
        let how = Treatment {
            space: space(options, address),
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
    format!(
        "imap {} {} {address}",
        options.host.to_lowercase(),
        options.port
    )
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

//! Mailboxes elsewhere: one, several side by side, or that of whoever signs in.
//!
//! Invariant: secrets are read here, for one storage at a time, and handed to it alone; what tells whether
//! they changed says nothing about them.

use std::{collections::BTreeMap, sync::Arc};

use portreeve_mailbox::{
    Exchange, ExchangeOptions, ExchangeSecrets, ImapOptions, ImapSecrets, Mailbox, OptionsError, Surroundings,
};
use portreeve_model::Secret;
use portreeve_vfs::FileSystem;
use sha2::{Digest, Sha256};

use crate::{options::StorageKind, secrets::Keeper};

/// The secrets of one storage, by option.
#[derive(Debug, Default)]
pub(crate) struct Given {
    secrets: BTreeMap<&'static str, Secret>,
    /// What a file that belongs to a secret holds: a certificate is exchanged together with its key.
    beside: Vec<u8>,
}

impl Given {
    /// Reads all that the options name. Blocks.
    ///
    /// # Errors
    /// The first that cannot be read, with its option.
    pub(crate) fn read(kind: &StorageKind, keeper: &Keeper) -> Result<Self, String> {
        let mut given = Self::default();
        for (option, place) in kind.secrets() {
            let secret = keeper.read(place).map_err(|why| format!("{option}: {why}"))?;
            given.secrets.insert(option, secret);
        }
        if let StorageKind::Exchange(options) = kind
            && let Some(path) = &options.certificate
        {
            // One that cannot be read is told when it is used.
            given.beside = std::fs::read(path).unwrap_or_default();
        }
        Ok(given)
    }

    /// The secret of an option.
    pub(crate) fn of(&self, option: &str) -> Option<Secret> {
        self.secrets.get(option).cloned()
    }

    /// Changes when one of them does.
    pub(crate) fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for (option, secret) in &self.secrets {
            digest.update((secret.expose().len() as u64).to_be_bytes());
            digest.update(option);
            digest.update(secret.expose());
        }
        digest.update(&self.beside);
        format!("{:x?}", digest.finalize().as_slice())
    }
}

/// Mailboxes in Exchange Online.
///
/// # Errors
/// A sentence that names the option.
pub(crate) fn exchange(
    storage: &str,
    options: &ExchangeOptions,
    given: &Given,
    around: &Surroundings,
) -> Result<Arc<dyn FileSystem>, String> {
    around.spool.prepare().map_err(|error| error.to_string())?;
    let secrets = ExchangeSecrets {
        password: given.of("password"),
        key: given.of("key"),
        refresh_token: given.of("refresh_token"),
    };
    let (name, own, near) = (storage.to_owned(), options.clone(), around.clone());
    let open = move |address: &str| -> Result<Arc<dyn FileSystem>, OptionsError> {
        let store = Exchange::open(&own, address, &secrets, &near.cloud, &near)?;
        let name = format!("exchange {name} {}", address.to_lowercase());
        let mailbox = Mailbox::over(Arc::new(store), &name, &own.mail, &near)?;
        Ok(Arc::new(mailbox))
    };
    arrange(options.mailbox.all(), open)
}

/// Mailboxes on a mail server.
///
/// # Errors
/// A sentence that names the option.
pub(crate) fn imap(
    options: &ImapOptions,
    given: &Given,
    around: &Surroundings,
) -> Result<Arc<dyn FileSystem>, String> {
    around.spool.prepare().map_err(|error| error.to_string())?;
    let secrets = ImapSecrets {
        password: given.of("password"),
        refresh_token: given.of("refresh_token"),
    };
    let (own, near) = (options.clone(), around.clone());
    let open = move |address: &str| -> Result<Arc<dyn FileSystem>, OptionsError> {
        let mailbox = Mailbox::imap(&own, address, &secrets, &near)?;
        Ok(Arc::new(mailbox))
    };
    arrange(&options.addresses(), open)
}

/// One mailbox is the storage itself; of several each is a directory, and so is each that a template asks for.
fn arrange<F>(addresses: &[String], open: F) -> Result<Arc<dyn FileSystem>, String>
where
    F: Fn(&str) -> Result<Arc<dyn FileSystem>, OptionsError> + Send + Sync + 'static,
{
    let told = |error: OptionsError| format!("{}: {}", error.option, error.text);
    match addresses {
        [one] if !one.contains('{') => open(one).map_err(told),
        _ => Err("mailbox: several mailboxes in one storage are not built yet".to_owned()),
    }
}

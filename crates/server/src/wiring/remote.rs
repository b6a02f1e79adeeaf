//! Mailboxes elsewhere: one, several side by side, or that of whoever signs in.
//!
//! Invariant: secrets are read here, for one storage at a time, and handed to it alone; what tells whether
//! they changed says nothing about them.

use std::{collections::BTreeMap, sync::Arc};

use portreeve_mailbox::{
    ExchangeOptions, ExchangeSecrets, ImapOptions, ImapSecrets, LeftWaiting, Mailbox, Mailboxes, MakeMailbox,
    OptionsError, Surroundings,
};
use portreeve_model::Secret;
use portreeve_vfs::{FileSystem, FsError, FsErrorKind};
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

    fn of(&self, option: &str) -> Option<Secret> {
        self.secrets.get(option).cloned()
    }

    /// As a storage in Exchange Online takes them.
    pub(crate) fn exchange(&self) -> ExchangeSecrets {
        ExchangeSecrets {
            password: self.of("password"),
            key: self.of("key"),
            refresh_token: self.of("refresh_token"),
        }
    }

    /// As a storage on a mail server takes them.
    pub(crate) fn imap(&self) -> ImapSecrets {
        ImapSecrets {
            password: self.of("password"),
            refresh_token: self.of("refresh_token"),
        }
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
    options: &ExchangeOptions,
    given: &Given,
    around: &Surroundings,
) -> Result<Arc<dyn FileSystem>, String> {
    let (own, secrets, near) = (options.clone(), given.exchange(), around.clone());
    let open = move |address: &str| Mailbox::exchange(&own, address, &secrets, &near);
    arrange(options.mailbox.all(), around, options.left_waiting(around), open)
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
    let (own, secrets, near) = (options.clone(), given.imap(), around.clone());
    let open = move |address: &str| Mailbox::imap(&own, address, &secrets, &near);
    // Nothing is sent by IMAP.
    arrange(&options.addresses(), around, None, open)
}

/// One mailbox is the storage itself; of several each is a directory, and so is each that a template gives.
fn arrange<F>(
    addresses: &[String],
    around: &Surroundings,
    left: Option<LeftWaiting>,
    open: F,
) -> Result<Arc<dyn FileSystem>, String>
where
    F: Fn(&str) -> Result<Mailbox, OptionsError> + Send + Sync + 'static,
{
    let told = |error: OptionsError| format!("{}: {}", error.option, error.text);
    around.spool.prepare().map_err(|error| error.to_string())?;
    let make: MakeMailbox = match addresses {
        [one] if !one.contains('{') => return Ok(Arc::new(open(one).map_err(told)?)),
        _ => Box::new(move |address| match open(address) {
            Ok(mailbox) => Ok(Arc::new(mailbox) as Arc<dyn FileSystem>),
            Err(error) => Err(FsError::new(FsErrorKind::Backend).context(told(error))),
        }),
    };
    let [_] = addresses else {
        return Ok(Arc::new(Mailboxes::listed(addresses, make).map_err(told)?));
    };
    let any = Arc::new(Mailboxes::any(make).map_err(told)?);
    if let Some(left) = left {
        any.open_waiting(left);
    }
    Ok(any)
}

#[cfg(test)]
mod tests;

//! Public keys of accounts, in the form of `authorized_keys` (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
//!
//! Invariants: an option that is not understood and kept refuses the key, since it restricts something;
//! keys that are too weak are refused when they are read, not when they are used; a key is compared by
//! its data, never by its comment.

mod options;
mod pattern;

use std::{net::IpAddr, time::SystemTime};

use ssh_key::{Algorithm, HashAlg, public::KeyData};

use crate::{AccountKey, PublicKey, Reason};
use options::{KeyOptions, split};

/// Longest line, in bytes: an RSA key of 8,192 bits takes 1,400.
const MAX_LINE: usize = 8 * 1024;

/// What is allowed beyond the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyRules {
    /// RSA keys of 2,048 bits and more; by default 3,072.
    pub allow_rsa_2048: bool,
}

/// Why a line is no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyLineError(pub(crate) String);

/// A key that may let somebody in, with its restrictions.
#[derive(Debug, Clone)]
pub struct AuthorizedKey {
    data: KeyData,
    comment: String,
    options: KeyOptions,
}

impl AuthorizedKey {
    /// Reads one line: `[options] type base64 [comment]`.
    ///
    /// # Errors
    /// [`KeyLineError`] that says what is wrong and what to do.
    pub fn parse(line: &str, rules: KeyRules) -> Result<Self, KeyLineError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Err(KeyLineError("there is no key in the line".into()));
        }
        if line.len() > MAX_LINE {
            return Err(KeyLineError(format!("the line is longer than {MAX_LINE} bytes")));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(KeyLineError(
                "the line holds a line break or another control character".into(),
            ));
        }
        if line.contains("PRIVATE KEY") {
            return Err(KeyLineError(
                "this is a private key: give the line of the .pub file, and make a new key, since this one is no longer \
                 secret"
                    .into(),
            ));
        }
        let (options, key) = split(line)?;
        let options = KeyOptions::parse(options)?;
        let mut words = key.split_ascii_whitespace();
        let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
            return Err(KeyLineError("the key's type or its data is missing".into()));
        };
        check_kind(kind)?;
        let parsed = ssh_key::PublicKey::from_openssh(&format!("{kind} {blob}"))
            .map_err(|why| KeyLineError(format!("the key cannot be read: {why}")))?;
        let data = parsed.key_data().clone();
        check_strength(&data, rules)?;
        Ok(Self {
            data,
            comment: words.collect::<Vec<_>>().join(" "),
            options,
        })
    }

    /// `SHA256:…`, the name of the key in logs and lists.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.data)
    }

    /// What stands behind the key.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Whether it is this key.
    #[must_use]
    pub fn is(&self, key: &PublicKey) -> bool {
        self.data == *key.0.key_data()
    }

    /// Whether it may be used from there, at that time.
    ///
    /// # Errors
    /// Why not.
    pub fn usable(&self, from: IpAddr, at: SystemTime) -> Result<(), Reason> {
        self.fresh(at)?;
        self.options.admits(from)
    }

    /// Whether it has not expired.
    ///
    /// # Errors
    /// That it has.
    pub fn fresh(&self, at: SystemTime) -> Result<(), Reason> {
        self.options.fresh(at)
    }

    /// From when on it is refused.
    #[must_use]
    pub const fn expires(&self) -> Option<SystemTime> {
        self.options.expires
    }
}

impl AccountKey {
    /// Reads a line for an account; the label is the key's comment where none is given.
    ///
    /// # Errors
    /// As [`AuthorizedKey::parse`].
    pub fn parse(line: &str, label: Option<&str>, rules: KeyRules) -> Result<Self, KeyLineError> {
        let key = AuthorizedKey::parse(line, rules)?;
        Ok(Self {
            fingerprint: key.fingerprint(),
            line: line.trim().to_owned(),
            label: label.unwrap_or(key.comment()).to_owned(),
        })
    }
}

pub(crate) fn fingerprint(data: &KeyData) -> String {
    data.fingerprint(HashAlg::Sha256).to_string()
}

const KINDS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

fn check_kind(kind: &str) -> Result<(), KeyLineError> {
    if KINDS.contains(&kind) {
        return Ok(());
    }
    let why = match kind {
        "ssh-dss" => "DSA keys are too weak",
        "sk-ssh-ed25519@openssh.com" | "sk-ecdsa-sha2-nistp256@openssh.com" => {
            "keys of security tokens are not supported yet: nobody would check that the token was touched"
        }
        kind if kind.contains("-cert-v0") => "certificates are not supported yet",
        _ => "this type of key is not known",
    };
    Err(KeyLineError(format!("'{kind}': {why}; use {}", KINDS.join(", "))))
}

fn check_strength(data: &KeyData, rules: KeyRules) -> Result<(), KeyLineError> {
    match data {
        KeyData::Rsa(rsa) => {
            let (bits, least) = (rsa.key_size(), if rules.allow_rsa_2048 { 2048 } else { 3072 });
            if bits < least {
                let hint = if bits >= 2048 {
                    ", or set allow_rsa_2048 = true"
                } else {
                    ""
                };
                return Err(KeyLineError(format!(
                    "an RSA key of {bits} bits is too weak: use Ed25519, or RSA of at least {least} bits{hint}"
                )));
            }
            if bits > 8192 {
                return Err(KeyLineError(format!(
                    "an RSA key of {bits} bits costs too much to check: use at most 8192 bits, or Ed25519"
                )));
            }
            Ok(())
        }
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) => Ok(()),
        // The data may say another type than the word before it.
        other => check_kind(match other.algorithm() {
            Algorithm::Dsa => "ssh-dss",
            _ => "?",
        }),
    }
}

#[cfg(test)]
mod tests;

//! What an administrator may set for an SFTP listener. Everything else is chosen.

use portreeve_model::options::SizeText;
use schemars::JsonSchema;
use serde::Deserialize;

/// A cipher that may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
pub enum CipherName {
    /// AES-256 in Galois/counter mode (RFC 5647 as OpenSSH has it).
    #[serde(rename = "aes256-gcm@openssh.com")]
    Aes256Gcm,
    /// AES-128 in Galois/counter mode.
    #[serde(rename = "aes128-gcm@openssh.com")]
    Aes128Gcm,
    /// ChaCha20 with Poly1305 (OpenSSH `PROTOCOL.chacha20poly1305`).
    #[serde(rename = "chacha20-poly1305@openssh.com")]
    ChaCha20Poly1305,
    /// AES-256 in counter mode, for clients without the others.
    #[serde(rename = "aes256-ctr")]
    Aes256Ctr,
}

/// Options of a listener with `protocol = "sftp"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SftpOptions {
    /// Ciphers offered, the preferred one first. Default: AES-256-GCM, AES-128-GCM, ChaCha20-Poly1305,
    /// AES-256-CTR.
    pub ciphers: Vec<CipherName>,
    /// Also make and offer an ECDSA host key (nistp256). Ed25519 is always offered.
    pub ecdsa_host_key: bool,
    /// Offer the RSA-3072 host key too, for clients that know no Ed25519.
    pub rsa_host_key: bool,
    /// Smallest RSA key with which a user may sign in, in bits: 2048 to 8192.
    pub min_rsa_bits: u32,
    /// Also offer HMAC-SHA-2 without encrypt-then-MAC, for clients on libssh2 before 1.11, such as curl on
    /// Debian 12. Scanners warn about it; clients that know better do not choose it.
    pub compatible: bool,
    /// Allow `ln` (hardlink@openssh.com).
    pub hard_links: bool,
    /// Bytes that a client may send before we took them: what decides upload speed over long distances.
    pub window: SizeText,
    /// A text shown before sign-in.
    pub banner: Option<String>,
}

impl Default for SftpOptions {
    fn default() -> Self {
        Self {
            ciphers: vec![
                CipherName::Aes256Gcm,
                CipherName::Aes128Gcm,
                CipherName::ChaCha20Poly1305,
                CipherName::Aes256Ctr,
            ],
            ecdsa_host_key: false,
            rsa_host_key: true,
            compatible: false,
            min_rsa_bits: 3072,
            hard_links: false,
            window: SizeText(16 << 20),
            banner: None,
        }
    }
}

impl SftpOptions {
    /// Every rule that the types do not say.
    ///
    /// # Errors
    /// One sentence for each value that cannot be: the field's name first.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if self.ciphers.is_empty() {
            wrong.push("ciphers: at least one is needed".to_owned());
        }
        if !(2048..=8192).contains(&self.min_rsa_bits) {
            wrong.push("min_rsa_bits: 2048 to 8192 are possible".to_owned());
        }
        if !(256 << 10..=64 << 20).contains(&self.window.0) {
            wrong.push("window: \"256 KiB\" to \"64 MiB\" are possible".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

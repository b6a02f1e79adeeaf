//! Which algorithms are offered. No SHA-1, no CBC, no group exchange, no compression.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, keys::Algorithm, keys::EcdsaCurve, keys::HashAlg, mac};

use crate::{CipherName, SftpOptions};

/// Post-quantum first; strict key exchange is RFC-less but everywhere (OpenSSH `PROTOCOL` §1.10).
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Encrypt-then-MAC only; the AEAD ciphers need none.
const MAC: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// The same with MACs over the plain text behind them: what libssh2 before 1.11 knows.
const MAC_COMPATIBLE: &[mac::Name] = &[
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512,
    mac::HMAC_SHA256,
];

/// Signatures of user keys that are taken, told to clients as `server-sig-algs` (RFC 8308 section 3.1).
/// Of host keys russh offers those among them that it has a key for.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// What is offered to a client.
pub(crate) fn preferred(options: &SftpOptions) -> Preferred {
    let ciphers = options.ciphers.iter().map(|name| match name {
        CipherName::Aes256Gcm => cipher::AES_256_GCM,
        CipherName::Aes128Gcm => cipher::AES_128_GCM,
        CipherName::ChaCha20Poly1305 => cipher::CHACHA20_POLY1305,
        CipherName::Aes256Ctr => cipher::AES_256_CTR,
    });
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(SIGNATURES),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(ciphers.collect()),
        mac: Cow::Borrowed(if options.compatible { MAC_COMPATIBLE } else { MAC }),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

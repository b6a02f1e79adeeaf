//! TLS for the doors that need it: one certificate for each pair of files, exchanged while
//! connections live.
//!
//! Invariant: a certificate that is served has the key that belongs to it; a bad pair on disk never
//! replaces a good one in memory.

mod pair;
mod self_signed;
mod watched;

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

pub use pair::PairError;
pub use self_signed::self_signed;
pub use watched::{Exchange, WatchedPair};

/// The provider: X25519MLKEM768 first, then X25519, P-256 and P-384.
#[must_use]
pub fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Whether clients show certificates, and who signs them.
#[derive(Debug, Clone, Copy)]
pub enum Clients<'a> {
    /// They are not asked.
    Unasked,
    /// One that is shown must be signed by one of these (PEM).
    Asked(&'a [u8]),
    /// One must be shown, signed by one of these (PEM).
    Certified(&'a [u8]),
}

/// The server side of TLS for FTP, TLS 1.2 alone where `newest` is false.
///
/// # Errors
/// A sentence: the signers are none.
pub fn ftp_config(
    pair: Arc<WatchedPair>,
    newest: bool,
    clients: Clients<'_>,
) -> Result<ServerConfig, String> {
    let text = |error: rustls::Error| error.to_string();
    let versions: &[&rustls::SupportedProtocolVersion] = if newest {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    } else {
        &[&rustls::version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(quick(provider())))
        .with_protocol_versions(versions)
        .map_err(text)?;
    let builder = match clients {
        Clients::Unasked => builder.with_no_client_auth(),
        Clients::Asked(pem) => builder.with_client_cert_verifier(verifier(pem, false)?),
        Clients::Certified(pem) => builder.with_client_cert_verifier(verifier(pem, true)?),
    };
    let mut config = builder.with_cert_resolver(pair);
    // Every suite is a good one; judges of TLS want the server to have an order all the same.
    config.ignore_client_order = true;
    // The second is what FileZilla says.
    config.alpn_protocols = [b"ftp".to_vec(), b"x-filezilla-ftp".to_vec()].into();
    Ok(config)
}

/// The order of Mozilla's "intermediate": AES-128 with SHA-256 first. Every file has a handshake of its own,
/// and SHA-384 is a sixth of the time that a resumed one takes.
fn quick(provider: CryptoProvider) -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..provider
    }
}

fn verifier(pem: &[u8], needed: bool) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for signer in CertificateDer::pem_slice_iter(pem) {
        let signer = signer.map_err(|error| error.to_string())?;
        roots.add(signer).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
    let builder = if needed {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    // Without signers nobody could be let in: the builder says so.
    builder
        .build()
        .map(|built| built as Arc<dyn ClientCertVerifier>)
        .map_err(|error| error.to_string())
}

/// The server side of TLS 1.3 and 1.2, without 0-RTT, for the application protocols named.
///
/// # Errors
/// The provider does not know these versions: a mistake of the build.
pub fn server_config(pair: Arc<WatchedPair>, alpn: &[&str]) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(pair);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

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
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
};

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

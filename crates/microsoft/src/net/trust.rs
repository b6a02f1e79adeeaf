//! Which authorities are trusted: the system's and those of a file.

use std::{fs, path::Path, sync::Arc};

use rustls::{ClientConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};

use super::NetError;

/// Largest file of authorities that is read: that of a whole system has about 250 KiB.
const MOST: u64 = 4 << 20;

pub(super) struct Trust {
    extra: Vec<CertificateDer<'static>>,
}

impl Trust {
    pub(super) fn read(file: Option<&Path>) -> Result<Self, NetError> {
        let Some(file) = file else {
            return Ok(Self { extra: Vec::new() });
        };
        let told = |why: String| NetError::Trust(format!("ca_file {}: {why}", file.display()));
        let size = fs::metadata(file).map_err(|e| told(e.to_string()))?.len();
        if size > MOST {
            return Err(told(format!(
                "{size} bytes are more than the {MOST} that are read"
            )));
        }
        let text = fs::read(file).map_err(|e| told(e.to_string()))?;
        let extra = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| told(format!("not PEM: {e}")))?;
        if extra.is_empty() {
            return Err(told(
                "holds no certificate (PEM, \"BEGIN CERTIFICATE\")".to_owned(),
            ));
        }
        Ok(Self { extra })
    }

    /// A TLS configuration that offers these protocols.
    pub(super) fn client(&self, alpn: &[&[u8]]) -> Result<ClientConfig, NetError> {
        let failed = |e: rustls::Error| NetError::Trust(format!("trusted authorities: {e}"));
        let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new_with_extra_roots(self.extra.iter().cloned(), Arc::clone(&provider))
            .map_err(failed)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            // The builder's word for a verifier of one's own: this is the platform's, and it verifies.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// A digest of what makes one way differ from another.
    pub(super) fn identity(&self, proxy: Option<&str>) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(proxy.unwrap_or_default().as_bytes());
        for certificate in &self.extra {
            digest.update([0]);
            digest.update(certificate);
        }
        digest.finalize().into()
    }
}

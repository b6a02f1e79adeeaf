//! RSA keys and the certificates over them: the one that signs tokens, the one an application registers, the one of
//! another identity provider. Made once a process, since making them is slow.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A key and its certificate.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PKCS #8 in PEM.
    pub key: String,
    /// `x5t#S256`: SHA-256 of the certificate, base64url.
    pub thumbprint: String,
    /// The certificate, DER.
    der: Vec<u8>,
    /// PKCS #1, DER.
    private: Vec<u8>,
    public: Vec<u8>,
    public_pem: String,
}

impl ClientCertificate {
    fn make(name: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("an RSA key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.self_signed(&pair).expect("a certificate");
        // PKCS #8 wraps PKCS #1 in a head of 26 bytes where the key has 2,048 bits.
        let private = pair.serialize_der().get(26..).unwrap_or_default().to_vec();
        Self {
            certificate: certificate.pem(),
            key: pair.serialize_pem(),
            thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der())),
            der: certificate.der().to_vec(),
            private,
            public: pair.public_key_raw().to_vec(),
            public_pem: pair.public_key_pem(),
        }
    }

    pub(crate) fn signs(&self) -> EncodingKey {
        EncodingKey::from_rsa_der(&self.private)
    }

    pub(crate) fn verifies(&self) -> DecodingKey {
        DecodingKey::from_rsa_der(&self.public)
    }

    pub(crate) fn public_pem(&self) -> String {
        self.public_pem.clone()
    }

    pub(crate) fn kid(&self) -> &str {
        self.thumbprint.get(..20).unwrap_or_default()
    }

    /// The public key as a JSON Web Key Set, without `alg`, as Entra has it.
    pub(crate) fn jwks(&self) -> Value {
        // SEQUENCE { INTEGER (257 bytes, the first is zero), INTEGER 65537 }.
        let modulus = self.public.get(9..265).unwrap_or_default();
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "kid": self.kid(), "x5t": self.kid(),
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
            "x5c": [base64::engine::general_purpose::STANDARD.encode(&self.der)],
        }]})
    }
}

/// The key of Entra itself.
pub(crate) fn signing() -> &'static ClientCertificate {
    static KEY: OnceLock<ClientCertificate> = OnceLock::new();
    KEY.get_or_init(|| ClientCertificate::make("entra.standin.test"))
}

/// The certificate that an application may register.
pub(crate) fn client() -> &'static ClientCertificate {
    static KEY: OnceLock<ClientCertificate> = OnceLock::new();
    KEY.get_or_init(|| ClientCertificate::make("portreeve.standin.test"))
}

/// One that nobody registered, also the key of the other identity provider.
pub(crate) fn foreign() -> &'static ClientCertificate {
    static KEY: OnceLock<ClientCertificate> = OnceLock::new();
    KEY.get_or_init(|| ClientCertificate::make("issuer.standin.test"))
}

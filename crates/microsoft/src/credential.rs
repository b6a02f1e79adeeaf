//! What an app proves itself with at the token endpoint, and what becomes of it in the form that is sent.
//!
//! Invariant: the parts of a form are secrets from the moment they are made.

mod assertion;

use std::{fmt, path::PathBuf};

use portreeve_model::Secret;
use sha2::{Digest, Sha256};

use crate::token::{TokenError, TokenFault};

/// Longest file of a federated identity that is read.
const MOST_FEDERATED: u64 = 64 * 1024;

/// What an app signs in with. Source: Microsoft, "OAuth 2.0 client credentials flow", "Certificate credentials".
#[derive(Clone)]
pub enum Credential {
    /// A client secret: the Value, not the Secret ID.
    Secret(Secret),
    /// A certificate that is uploaded to the app registration.
    Certificate {
        /// The certificate, PEM.
        certificate: Vec<u8>,
        /// Its RSA key, PEM (PKCS#8 or PKCS#1), not encrypted.
        key: Secret,
    },
    /// A token of another identity provider, e.g. the projected token of a Kubernetes service account.
    Federated {
        /// Where it lies; read anew for each request, since its owner replaces it.
        file: PathBuf,
    },
    /// A person's consent, kept as a refresh token that changes with each use.
    Refresh {
        /// The secret of a confidential client; public clients have none.
        client_secret: Option<Secret>,
        /// The name under which the vault keeps the token.
        vault_name: String,
        /// The token to begin with while the vault has none.
        initial: Option<Secret>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Credential::Secret(…)",
            Self::Certificate { .. } => "Credential::Certificate(…)",
            Self::Federated { .. } => "Credential::Federated(…)",
            Self::Refresh { .. } => "Credential::Refresh(…)",
        })
    }
}

/// Fields of the form, in the order in which they are sent.
pub(crate) type Form = Vec<(&'static str, Secret)>;

impl Credential {
    /// Whether the certificate and the key can be used, found out before the first request.
    ///
    /// # Errors
    /// They are not PEM, or the key is not RSA.
    pub fn check(&self) -> Result<(), TokenError> {
        match self {
            Self::Certificate { certificate, key } => {
                assertion::sign(certificate, key, "check", "check").map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// The fields that prove the app's identity. A refresh token is not among them.
    pub(crate) async fn fields(&self, client: &str, endpoint: &str) -> Result<Form, TokenError> {
        let asserted = |assertion: Secret| {
            vec![
                (
                    "client_assertion_type",
                    Secret::new("urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
                ),
                ("client_assertion", assertion),
            ]
        };
        match self {
            Self::Secret(secret) => Ok(vec![("client_secret", secret.clone())]),
            Self::Certificate { certificate, key } => {
                assertion::sign(certificate, key, client, endpoint).map(asserted)
            }
            Self::Federated { file } => {
                let told = |why: String| {
                    TokenError::here(
                        TokenFault::Credential,
                        format!("federated token {}: {why}", file.display()),
                    )
                };
                let size = tokio::fs::metadata(file)
                    .await
                    .map_err(|e| told(e.to_string()))?
                    .len();
                if size > MOST_FEDERATED {
                    return Err(told(format!("{size} bytes are no token")));
                }
                let text = tokio::fs::read_to_string(file)
                    .await
                    .map_err(|e| told(e.to_string()))?;
                let text = Secret::new(text);
                let token = text.expose().trim();
                if token.is_empty() {
                    return Err(told("is empty".to_owned()));
                }
                Ok(asserted(Secret::new(token.to_owned())))
            }
            Self::Refresh { client_secret, .. } => Ok(client_secret
                .iter()
                .map(|secret| ("client_secret", secret.clone()))
                .collect()),
        }
    }

    /// A digest that tells two credentials apart; nothing of them can be read from it that is not guessed first.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        match self {
            Self::Secret(secret) => {
                add(b"secret");
                add(secret.expose().as_bytes());
            }
            Self::Certificate { certificate, key } => {
                add(b"certificate");
                add(certificate);
                add(key.expose().as_bytes());
            }
            Self::Federated { file } => {
                add(b"federated");
                add(file.as_os_str().as_encoded_bytes());
            }
            Self::Refresh {
                client_secret,
                vault_name,
                initial,
            } => {
                add(b"refresh");
                add(client_secret.as_ref().map_or("", Secret::expose).as_bytes());
                add(vault_name.as_bytes());
                add(initial.as_ref().map_or("", Secret::expose).as_bytes());
            }
        }
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(form: &Form, name: &str) -> String {
        let found = form.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.expose().to_owned()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_federated_token_is_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let credential = Credential::Federated { file: file.clone() };
        let error = credential.fields("c", "e").await.unwrap_err();
        assert_eq!(error.kind, TokenFault::Credential);
        for token in ["first", "second"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            let form = credential.fields("c", "e").await.unwrap();
            assert_eq!(field(&form, "client_assertion"), token);
            assert!(field(&form, "client_assertion_type").ends_with(":jwt-bearer"));
        }
        std::fs::write(&file, " \n").unwrap();
        assert!(credential.fields("c", "e").await.is_err());
    }

    #[test]
    fn a_new_secret_has_a_new_fingerprint() {
        let of = |text: &str| Credential::Secret(Secret::new(text.to_owned())).fingerprint();
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        assert!(!format!("{:?}", Credential::Secret(Secret::new("geheim".into()))).contains("geheim"));
    }
}

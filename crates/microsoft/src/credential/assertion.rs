//! The signed assertion of a certificate: PS256 with the certificate's SHA-256 thumbprint.
//! Source: Microsoft, "Microsoft identity platform application authentication certificate credentials".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portreeve_model::Secret;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::token::{TokenError, TokenFault};

/// How long an assertion holds: Microsoft asks for five to ten minutes.
const LIFE: Duration = Duration::from_secs(600);
/// The clocks of two machines differ a little: it holds from this long ago.
const SKEW: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: u64,
    iat: u64,
    exp: u64,
}

pub(super) fn sign(
    certificate: &[u8],
    key: &Secret,
    client: &str,
    endpoint: &str,
) -> Result<Secret, TokenError> {
    let told = |why: &str| TokenError::here(TokenFault::Credential, format!("client certificate: {why}"));
    let certificate = CertificateDer::from_pem_slice(certificate)
        .map_err(|_| told("it is not PEM (\"BEGIN CERTIFICATE\")"))?;
    let pem = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| {
        told("its key is not PEM, or it is encrypted; Portreeve reads keys without a passphrase")
    })?;
    let rsa = match &pem {
        PrivateKeyDer::Pkcs1(der) => der.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(der) => {
            unwrap_pkcs8(der.secret_pkcs8_der()).ok_or_else(|| told("its key is not RSA"))?
        }
        _ => return Err(told("its key is not RSA")),
    };
    let mut header = Header::new(Algorithm::PS256);
    header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        aud: endpoint,
        iss: client,
        sub: client,
        jti: uuid::Uuid::new_v4().to_string(),
        nbf: now.saturating_sub(SKEW).as_secs(),
        iat: now.as_secs(),
        exp: (now + LIFE - SKEW).as_secs(),
    };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_rsa_der(rsa))
        .map(Secret::new)
        .map_err(|_| told("its key cannot sign (RSA of 2048 bits or more is needed)"))
}

/// The RSA key within a PKCS#8 wrapper (RFC 5958 section 2: version, algorithm, octet string), if it holds one.
fn unwrap_pkcs8(der: &[u8]) -> Option<&[u8]> {
    /// 1.2.840.113549.1.1.1, `rsaEncryption`.
    const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (body, _) = element(der, 0x30)?;
    let (_version, rest) = element(body, 0x02)?;
    let (algorithm, rest) = element(rest, 0x30)?;
    let (key, _) = element(rest, 0x04)?;
    algorithm.starts_with(RSA).then_some(key)
}

/// The content of the DER element at the front and what follows it (X.690 section 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], mut rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        length = bytes.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b));
        rest = after;
    }
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::*;

    fn rsa() -> (String, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["app".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (certificate.pem(), key)
    }

    #[test]
    fn an_assertion_says_who_and_for_whom() {
        let (certificate, key) = rsa();
        let secret = Secret::new(key.serialize_pem());
        let signed = sign(certificate.as_bytes(), &secret, "client", "https://login/token").unwrap();
        let header = decode_header(signed.expose()).unwrap();
        assert_eq!(header.alg, Algorithm::PS256);
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        assert_eq!(
            header.x5t_s256.unwrap(),
            URL_SAFE_NO_PAD.encode(Sha256::digest(&der))
        );
        let mut rule = Validation::new(Algorithm::PS256);
        rule.set_audience(&["https://login/token"]);
        let public = rustls_public(&key);
        let claims = decode::<Value>(signed.expose(), &DecodingKey::from_rsa_der(&public), &rule)
            .unwrap()
            .claims;
        assert_eq!(claims["iss"], "client");
        assert_eq!(claims["sub"], "client");
        let span = claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap();
        assert_eq!(span, LIFE.as_secs());
        let again = sign(certificate.as_bytes(), &secret, "client", "https://login/token").unwrap();
        assert_ne!(again.expose(), signed.expose(), "each has its own id");
    }

    /// The PKCS#1 public key within the `SubjectPublicKeyInfo`.
    fn rustls_public(key: &rcgen::KeyPair) -> Vec<u8> {
        use rcgen::PublicKeyData;
        let info = key.subject_public_key_info();
        let (body, _) = element(&info, 0x30).unwrap();
        let (_, rest) = element(body, 0x30).unwrap();
        let (bits, _) = element(rest, 0x03).unwrap();
        bits[1..].to_vec()
    }

    #[test]
    fn keys_that_cannot_sign() {
        let (certificate, _) = rsa();
        let ec = rcgen::KeyPair::generate().unwrap();
        for (key, why) in [
            (ec.serialize_pem(), "not RSA"),
            ("geheim".to_owned(), "not PEM"),
            (String::new(), "not PEM"),
        ] {
            let told = sign(certificate.as_bytes(), &Secret::new(key), "c", "e").unwrap_err();
            assert!(told.to_string().contains(why), "{told}");
            assert!(!told.to_string().contains("geheim"), "{told}");
        }
        assert!(sign(b"nothing", &Secret::new(ec.serialize_pem()), "c", "e").is_err());
    }

    #[test]
    fn der_that_lies_about_its_length() {
        for der in [
            &[0x30, 0x05, 0x02][..],
            &[0x30, 0x84, 1, 1][..],
            &[0x30, 0x80][..],
            &[0x30][..],
            &[][..],
        ] {
            assert!(unwrap_pkcs8(der).is_none(), "{der:?}");
        }
    }
}

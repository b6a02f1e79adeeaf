//! What a request shows of itself: Basic (RFC 7617) and our cookie, parsed; and the digests under
//! which they are kept.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use portreeve_model::{Secret, UserName};
use sha2::{Digest, Sha256};

use crate::vault::Key;

/// The cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub(crate) const COOKIE: &str = "__Host-sid";

/// Longest password that is looked at.
const MAX_PASSWORD: usize = 1_024;

/// A name and a password from an `Authorization` header.
#[derive(Debug)]
pub(crate) struct Basic {
    pub(crate) user: UserName,
    pub(crate) password: Secret,
}

/// Why an `Authorization` header is of no use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the `Authorization` header; none where there is none.
pub(crate) fn basic(headers: &HeaderMap) -> Option<Result<Basic, Malformed>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?;
    if all.next().is_some() {
        return Some(Err(Malformed));
    }
    Some(parse_basic(value.as_bytes()).ok_or(Malformed))
}

fn parse_basic(value: &[u8]) -> Option<Basic> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let pair = Secret::new(String::from_utf8(decoded).ok()?);
    let (user, password) = pair.expose().split_once(':')?;
    named(user, password)
}

/// A name and a password, checked for what no account can have.
pub(crate) fn named(user: &str, password: &str) -> Option<Basic> {
    if password.len() > MAX_PASSWORD {
        return None;
    }
    Some(Basic {
        user: UserName::new(user).ok()?,
        password: Secret::new(password.to_owned()),
    })
}

/// Our cookie's value; none where it is missing or there is more than one.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut ours = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    let value = ours.next()?;
    ours.next().is_none().then_some(value)
}

/// Under which a browser's session is kept: the cookie itself is known to the browser alone.
pub(crate) fn cookie_key(value: &str) -> Key {
    Sha256::digest(value.as_bytes()).into()
}

/// Text that nobody guesses: 32 random bytes.
pub(crate) fn random_text() -> Result<String, getrandom::Error> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random_bytes()?))
}

/// 32 random bytes.
pub(crate) fn random_bytes() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The key of the Basic cache: it dies with the process, so what is kept under it is worth nothing
/// elsewhere.
#[derive(Clone)]
pub(crate) struct BasicKey([u8; 32]);

impl BasicKey {
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        Ok(Self(random_bytes()?))
    }

    /// Under which a sign-in is kept: name, password and where it came from. Lengths are part of it,
    /// so that no two triples look the same.
    pub(crate) fn digest(&self, basic: &Basic, source: IpAddr) -> Key {
        // HMAC takes keys of any length, so this key always fits.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return [0; 32];
        };
        let source = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        mac.update(&source);
        for part in [basic.user.as_str(), basic.password.expose()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn reads_basic() {
        for (value, want) in [
            ("Basic YWxpY2U6b3BlbiBzZXNhbWU=", Some(("alice", "open sesame"))),
            ("basic YWxpY2U6YTpi", Some(("alice", "a:b"))),
            ("Basic YWxpY2U6", Some(("alice", ""))),
            ("Basic YWxpY2U=", None),
            ("Basic Onh4", None),
            ("Basic !!!", None),
            ("Basic /w==", None),
            ("Bearer YWxpY2U6YTpi", None),
            ("Basic", None),
        ] {
            let got = basic(&headers(&[("authorization", value)])).unwrap().ok();
            let got = got.as_ref().map(|b| (b.user.as_str(), b.password.expose()));
            assert_eq!(got, want, "{value}");
        }
        assert!(basic(&HeaderMap::new()).is_none());
        let two = [
            ("authorization", "Basic YWxpY2U6"),
            ("authorization", "Basic YWxpY2U6"),
        ];
        assert!(basic(&headers(&two)).unwrap().is_err());
        let long = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("a:{}", "x".repeat(1_025)))
        );
        assert!(basic(&headers(&[("authorization", &long)])).unwrap().is_err());
    }

    #[test]
    fn reads_our_cookie_and_no_other() {
        for (list, want) in [
            (&[("cookie", "a=b; __Host-sid=xyz; c=d")][..], Some("xyz")),
            (&[("cookie", "a=b"), ("cookie", "__Host-sid=xyz")], Some("xyz")),
            (&[("cookie", "__Host-sid=x; __Host-sid=y")], None),
            (&[("cookie", "__host-sid=x")], None),
            (&[("cookie", "sid=x")], None),
            (&[], None),
        ] {
            assert_eq!(cookie(&headers(list)), want, "{list:?}");
        }
    }

    #[test]
    fn every_part_counts_in_the_digest() {
        let key = BasicKey::fresh().unwrap();
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let digest = |user, password, source| key.digest(&named(user, password).unwrap(), source);
        let base = digest("ab", "c", source);
        assert_eq!(base, digest("ab", "c", source));
        assert_ne!(base, digest("a", "bc", source));
        assert_ne!(base, digest("ab", "d", source));
        assert_ne!(base, digest("ab", "c", "192.0.2.2".parse().unwrap()));
        let other = BasicKey::fresh().unwrap();
        assert_ne!(base, other.digest(&named("ab", "c").unwrap(), source));
    }
}

//! The options of an `https` listener that are this door's own.

use std::time::Duration;

use portreeve_model::options::{DurationText, SizeText};
use schemars::JsonSchema;
use serde::Deserialize;

/// What an `https` listener may set beside its address, its certificate and its chain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebOptions {
    /// The address that people type, like `"https://files.example.com"`. With it, requests for other
    /// hosts are refused.
    pub public_url: Option<String>,
    /// Further host names that the listener answers for.
    pub hosts: Vec<String>,
    /// A browser's sign-in ends after this long without a request.
    pub session_idle: DurationText,
    /// A browser's sign-in ends after this long, whatever happens.
    pub session_lifetime: DurationText,
    /// The head of a request must have come within this time; an idle HTTP/1.1 connection is closed
    /// after it too.
    pub header_timeout: DurationText,
    /// An upload that is slower than this, per second and over half a minute, is cut; what came is kept.
    pub minimum_rate: SizeText,
    /// The memory that downloads of this listener may read ahead; beyond it they go on in smaller steps.
    pub read_ahead: SizeText,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            public_url: None,
            hosts: Vec::new(),
            session_idle: DurationText(Duration::from_secs(30 * 60)),
            session_lifetime: DurationText(Duration::from_secs(12 * 3_600)),
            header_timeout: DurationText(Duration::from_secs(10)),
            minimum_rate: SizeText(1 << 10),
            read_ahead: SizeText(32 << 20),
        }
    }
}

/// Why options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebOptionsError {
    /// `public_url` is not an address like `https://host[:port]`.
    #[error("public_url must be like \"https://files.example.com\", without a path: '{0}' is not")]
    PublicUrl(String),
    /// A host that is none.
    #[error("hosts: '{0}' is not a host name or an address (no scheme, port or path)")]
    Host(String),
    /// A duration of zero.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

impl WebOptions {
    /// Every host that the listener answers for; none means any.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn check(&self) -> Result<Vec<String>, WebOptionsError> {
        for (name, value) in [
            ("session_idle", self.session_idle),
            ("session_lifetime", self.session_lifetime),
            ("header_timeout", self.header_timeout),
        ] {
            if value.0.is_zero() {
                return Err(WebOptionsError::Zero(name));
            }
        }
        let mut hosts = Vec::new();
        if let Some(url) = &self.public_url {
            hosts.push(host_of(url).ok_or_else(|| WebOptionsError::PublicUrl(url.clone()))?);
        }
        for host in &self.hosts {
            let authority: Option<http::uri::Authority> = host.parse().ok();
            if authority.is_none_or(|a| a.host() != host) {
                return Err(WebOptionsError::Host(host.clone()));
            }
            hosts.push(host.clone());
        }
        Ok(hosts)
    }
}

fn host_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let plain = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|a| plain && !a.as_str().contains('@'))?;
    Some(authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_from_both_options() {
        let options: WebOptions = serde_json::from_value(serde_json::json!({
            "public_url": "https://files.example.com:8443/", "hosts": ["other.example", "192.0.2.1", "[2001:db8::1]"]
        }))
        .unwrap();
        assert_eq!(
            options.check().unwrap(),
            ["files.example.com", "other.example", "192.0.2.1", "[2001:db8::1]"]
        );
    }

    #[test]
    fn refuses_what_is_no_host() {
        for url in [
            "files.example.com",
            "http://a",
            "https://a/path",
            "https://u@a",
            "https://a?x",
            "",
        ] {
            let options = WebOptions {
                public_url: Some(url.into()),
                ..WebOptions::default()
            };
            assert!(options.check().is_err(), "{url}");
        }
        for host in ["https://a", "a:1", "a/b", "u@a", ""] {
            let options = WebOptions {
                hosts: vec![host.into()],
                ..WebOptions::default()
            };
            assert!(options.check().is_err(), "{host}");
        }
        assert!(serde_json::from_str::<WebOptions>("{\"publik_url\": \"x\"}").is_err());
    }
}

//! Why a host could not be reached, in words that name the next step.

use std::{io, time::Duration};

/// Why there is no connection. Texts name hosts and ports, never credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The proxy's address cannot be used.
    #[error("proxy: {0}")]
    Proxy(String),
    /// The trusted authorities cannot be used.
    #[error("{0}")]
    Trust(String),
    /// This is not a host name.
    #[error("{0:?} is not a host name")]
    Host(String),
    /// The name has no address, or nobody listens there.
    #[error("{host}:{port} cannot be reached: {why}")]
    Unreachable {
        /// The host that was called.
        host: String,
        /// Its port.
        port: u16,
        /// What the system said.
        why: String,
    },
    /// The proxy answered, and not with a way through.
    #[error("the proxy {proxy} does not let {target} through: {why}")]
    Refused {
        /// The proxy's host and port.
        proxy: String,
        /// The host and port that it was asked for.
        target: String,
        /// Its status, or 0 where it said nothing that could be read.
        status: u16,
        /// What that means.
        why: String,
    },
    /// TLS did not come about.
    #[error("TLS with {host}:{port} failed: {why}")]
    Tls {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What did not fit.
        why: String,
    },
    /// It took too long.
    #[error(
        "{host}:{port} did not answer within {seconds} s: a firewall on the way, or a proxy that is needed"
    )]
    TimedOut {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// How long was waited.
        seconds: u64,
    },
}

impl NetError {
    pub(super) fn unreachable(host: &str, port: u16, error: &io::Error) -> Self {
        Self::Unreachable {
            host: host.to_owned(),
            port,
            why: error.to_string(),
        }
    }

    pub(super) fn timed_out(host: &str, port: u16, after: Duration) -> Self {
        Self::TimedOut {
            host: host.to_owned(),
            port,
            seconds: after.as_secs(),
        }
    }

    pub(super) fn tls(host: &str, port: u16, error: &io::Error) -> Self {
        let mut why = error.to_string();
        if why.contains("UnknownIssuer") {
            why.push_str(
                "; the certificate's authority is not trusted: where a proxy opens TLS, name its authority in ca_file",
            );
        }
        Self::Tls {
            host: host.to_owned(),
            port,
            why,
        }
    }
}

/// What an HTTP client's error says, its causes included and its URL left out: that may be a secret.
pub(super) fn words(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request broke off"
    };
    let mut text = what.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        // Causes may repeat one another, and may repeat a URL.
        if !said.contains("://") && !text.contains(&said) && text.len() < 400 {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    if text.contains("proxy authorization required") {
        text.push_str(" (407: write connect://user:password@host:port; only Basic is spoken)");
    }
    if text.contains("UnknownIssuer") {
        text.push_str(" (the certificate's authority is not trusted: where a proxy opens TLS, name its authority in ca_file)");
    }
    text
}

//! The address of a CONNECT proxy: `connect://[user:password@]host:port`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use portreeve_model::Secret;

use super::NetError;

/// A proxy that is asked with CONNECT.
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    login: Option<(String, Secret)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Proxy {
    pub(super) fn parse(text: &str) -> Result<Self, NetError> {
        // The text is not repeated: it may hold a password.
        let wrong = |why: &str| NetError::Proxy(format!("{why}; write connect://[user:password@]host:port"));
        let rest = text
            .strip_prefix("connect://")
            .ok_or_else(|| wrong("the address does not begin with connect://"))?
            .trim_end_matches('/');
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = place
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
        if host.is_empty()
            || !host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c))
        {
            return Err(wrong("the host is not a name or an address"));
        }
        let login = match login {
            None => None,
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let plain = |text: &str| {
                    percent_decode_str(text)
                        .decode_utf8()
                        .map(std::borrow::Cow::into_owned)
                        .map_err(|_| wrong("user or password is not UTF-8 once percent-decoded"))
                };
                let user = plain(user)?;
                if user.contains(':') {
                    // RFC 7617 section 2: the user ends at the first colon.
                    return Err(wrong("a user's name cannot hold a colon"));
                }
                Some((user, Secret::new(plain(password)?)))
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            login,
        })
    }

    /// The value of `Proxy-Authorization` (RFC 7617), if there are credentials.
    pub(super) fn authorization(&self) -> Option<Secret> {
        let (user, password) = self.login.as_ref()?;
        let pair = Secret::new(format!("{user}:{}", password.expose()));
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
    }

    /// Host and port as they stand in a URL or a `Host` header.
    pub(crate) fn place(&self) -> String {
        place(&self.host, self.port)
    }

    /// The same proxy for the HTTP client, which uses CONNECT for `https` alone.
    pub(super) fn reqwest(&self) -> Result<reqwest::Proxy, NetError> {
        let proxy = reqwest::Proxy::https(format!("http://{}", self.place()))
            .map_err(|e| NetError::Proxy(format!("the address cannot be used: {}", e.without_url())))?;
        Ok(match &self.login {
            Some((user, password)) => proxy.basic_auth(user, password.expose()),
            None => proxy,
        })
    }
}

/// `host:port`, an IPv6 address in brackets (RFC 3986 section 3.2.2).
pub(crate) fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, place, login) in [
            ("connect://proxy:3128", "proxy:3128", None),
            ("connect://proxy.corp:3128/", "proxy.corp:3128", None),
            ("connect://[::1]:8080", "[::1]:8080", None),
            (
                "connect://u:p%40ss%3A@10.0.0.1:1",
                "10.0.0.1:1",
                Some(("u", "p@ss:")),
            ),
            ("connect://dom%5Cu:p@proxy:1", "proxy:1", Some(("dom\\u", "p"))),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.place(), place, "{text}");
            let found = proxy.login.as_ref().map(|(u, p)| (u.as_str(), p.expose()));
            assert_eq!(found, login, "{text}");
            assert!(proxy.reqwest().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "http://proxy:3128",
            "proxy:3128",
            "connect://proxy",
            "connect://proxy:0",
            "connect://proxy:70000",
            "connect://:1",
            "connect://pro xy:1",
            "connect://a%3Ab:geheim@proxy:1",
            "connect://u:%ff@proxy:1",
        ] {
            let told = Proxy::parse(text).unwrap_err().to_string();
            assert!(told.contains("write connect://"), "{text}: {told}");
            assert!(!told.contains("geheim"), "{told}");
        }
    }

    #[test]
    fn credentials_are_those_of_basic() {
        let proxy = Proxy::parse("connect://Aladdin:open%20sesame@proxy:1").unwrap();
        // The example of RFC 7617 section 2.
        assert_eq!(
            proxy.authorization().unwrap().expose(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert!(!format!("{proxy:?}").contains("sesame"));
    }
}

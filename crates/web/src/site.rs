//! Is the request meant for this site, and does it come from it: the host list and the check
//! against other sites' forms. Both run before anything else looks at the request.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority};

use crate::problem::Problem;

/// The hosts that a listener answers for; empty answers for any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// From `public_url`'s host and the configured list.
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// Whether a request for `host` (no port) is ours. The address that was connected to, and
    /// loopback addresses, always are: a name that another site points at us cannot look like one.
    fn has(&self, host: &str, local: IpAddr) -> bool {
        if self.0.is_empty() || self.0.iter().any(|ours| ours.eq_ignore_ascii_case(host)) {
            return true;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip.to_canonical() == local,
            Err(_) => host.eq_ignore_ascii_case("localhost") && local.is_loopback(),
        }
    }
}

/// The authority that the request is for: one, and only one, whatever the HTTP version.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (None, _) => None,
        (Some(value), None) => {
            let parsed = value
                .to_str()
                .ok()
                .and_then(|text| text.parse::<Authority>().ok());
            Some(parsed.ok_or_else(|| Problem::bad_request("the Host header is not a host").close())?)
        }
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("more than one Host header").close());
        }
    };
    match (uri.authority(), host) {
        (Some(target), Some(host)) if !same(target, &host) => {
            Err(Problem::bad_request("the request line and the Host header name different hosts").close())
        }
        (Some(target), _) => Ok(target.clone()),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Problem::bad_request("a Host header is needed (RFC 9112 section 3.2)").close()),
    }
}

fn same(a: &Authority, b: &Authority) -> bool {
    a.as_str().eq_ignore_ascii_case(b.as_str())
}

/// Refuses what is meant for another host.
pub(crate) fn check_host(hosts: &Hosts, authority: &Authority, local: IpAddr) -> Result<(), Problem> {
    if authority.as_str().contains('@') || !hosts.has(authority.host(), local) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            "this server does not answer for that host; its names are set by public_url and hosts",
        )
        .close());
    }
    Ok(())
}

/// Refuses a request that would change something and that a browser sends for another site
/// (Fetch Metadata; `Origin` where a browser does not send it). Clients that are no browsers send
/// neither and pass.
pub(crate) fn check_source(
    method: &Method,
    headers: &HeaderMap,
    authority: &Authority,
) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let foreign = match headers.get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none",
        None => headers
            .get_all(header::ORIGIN)
            .iter()
            .any(|origin| !is_origin_of(origin.as_bytes(), authority)),
    };
    if !foreign {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "cross-site",
        "a request that changes something must come from this site itself",
    ))
}

fn is_origin_of(origin: &[u8], authority: &Authority) -> bool {
    let host = std::str::from_utf8(origin)
        .ok()
        .and_then(|text| text.strip_prefix("https://"));
    host.is_some_and(|host| {
        let bare = |text: &str| text.strip_suffix(":443").unwrap_or(text).to_ascii_lowercase();
        bare(host) == bare(authority.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn one_host_and_one_only() {
        for (uri, list, want) in [
            ("/", &[("host", "a.example")][..], Some("a.example")),
            ("https://a.example/", &[], Some("a.example")),
            ("https://a.example/", &[("host", "A.example")], Some("A.example")),
            ("https://a.example/", &[("host", "b.example")], None),
            ("/", &[("host", "a.example"), ("host", "a.example")], None),
            ("/", &[("host", "a b")], None),
            ("/", &[], None),
        ] {
            let got = authority(&uri.parse().unwrap(), &headers(list)).ok();
            let same = got.as_ref().map(|a| a.as_str().to_ascii_lowercase());
            assert_eq!(same, want.map(str::to_ascii_lowercase), "{uri} {list:?}");
        }
    }

    #[test]
    fn answers_for_its_hosts() {
        let local: IpAddr = "192.0.2.1".parse().unwrap();
        let hosts = Hosts::new(["Files.example.com".to_owned()]);
        for (authority, want) in [
            ("files.example.com", true),
            ("files.example.com:8443", true),
            ("192.0.2.1:8443", true),
            ("127.0.0.1", true),
            ("[::1]:8443", true),
            ("192.0.2.2", false),
            ("evil.example", false),
            ("localhost", false),
            ("user@files.example.com", false),
        ] {
            let authority: Authority = authority.parse().unwrap();
            assert_eq!(check_host(&hosts, &authority, local).is_ok(), want, "{authority}");
        }
        assert!(check_host(&Hosts::default(), &"any".parse().unwrap(), local).is_ok());
    }

    #[test]
    fn other_sites_change_nothing() {
        let here: Authority = "a.example:8443".parse().unwrap();
        for (list, want) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://a.example:8443"),
                ],
                false,
            ),
            (&[("origin", "https://a.example:8443")], true),
            (&[("origin", "https://a.example")], false),
            (&[("origin", "http://a.example:8443")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.example")], false),
        ] {
            let list = headers(list);
            assert_eq!(
                check_source(&Method::POST, &list, &here).is_ok(),
                want,
                "{list:?}"
            );
            assert!(check_source(&Method::GET, &list, &here).is_ok());
        }
    }
}

//! The way to a host, stage by stage, for whoever looks for what stands in it: each stage says what was found and, where
//! it failed, what to do.
//!
//! Invariant: what is told holds no credential and no token.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header::DATE;
use serde::Deserialize;
use tokio::{net::lookup_host, time::timeout};

use crate::{
    AccessToken, TokenError, TokenSource,
    net::{Net, NetError, http::send},
};

/// Longest wait for one stage.
const MOST: Duration = Duration::from_secs(15);
/// A clock that is wrong by more makes assertions and tokens fail.
const SKEW: Duration = Duration::from_secs(240);

/// What came of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `dns`, `proxy`, `tcp`, `tls`, `http` or `token`.
    pub name: &'static str,
    /// Whether the next stage makes sense.
    pub passed: bool,
    /// What was found, a sentence.
    pub found: String,
    /// What to do about it, where there is something.
    pub advice: Option<String>,
}

impl Stage {
    fn passed(name: &'static str, found: String) -> Self {
        Self {
            name,
            passed: true,
            found,
            advice: None,
        }
    }

    fn failed(name: &'static str, found: String, advice: &str) -> Self {
        Self {
            name,
            passed: false,
            found,
            advice: Some(advice.to_owned()),
        }
    }
}

/// The stages to a host, up to the first that fails. `https` asks for an answer of HTTP too; any answer passes.
pub async fn host(net: &Net, host: &str, port: u16, https: bool) -> Vec<Stage> {
    let mut stages = Vec::new();
    let (first, first_port) = net.first_hop(host, port);
    let found = match timeout(MOST, lookup_host((first.as_str(), first_port))).await {
        Ok(Ok(addresses)) => {
            let mut all: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            all.dedup();
            Ok(all)
        }
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("no answer".to_owned()),
    };
    match found {
        Ok(all) if !all.is_empty() => {
            stages.push(Stage::passed("dns", format!("{first} is {}", all.join(", "))));
        }
        other => {
            let why = other.err().unwrap_or_else(|| "no address".to_owned());
            stages.push(Stage::failed(
                "dns",
                format!("{first} has no address: {why}"),
                "check the name and this machine's resolver; where names outside are known to a proxy alone, set proxy",
            ));
            return stages;
        }
    }
    let name = if net.proxied() { "proxy" } else { "tcp" };
    let stream = match net.connect(host, port).await {
        Ok(stream) => {
            let by = if net.proxied() {
                format!("{first}:{first_port} lets {host}:{port} through")
            } else {
                format!("{host}:{port} listens")
            };
            stages.push(Stage::passed(name, by));
            stream
        }
        Err(error) => {
            let advice = match &error {
                NetError::Refused { status: 407, .. } => "give the proxy's address credentials",
                NetError::Refused { .. } => "have the proxy's administrator allow this host and port",
                _ if net.proxied() => "check the proxy's address, and that it may be reached from here",
                _ => "have the firewall allow this host and port, or set proxy",
            };
            stages.push(Stage::failed(name, error.to_string(), advice));
            return stages;
        }
    };
    match net.wrap(stream, host, port).await {
        Ok(stream) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|v| v.as_str()).unwrap_or("TLS");
            stages.push(Stage::passed(
                "tls",
                format!("{version}, and the certificate is {host}'s"),
            ));
        }
        Err(error) => {
            stages.push(Stage::failed(
                "tls",
                error.to_string(),
                "where a proxy or firewall opens TLS, name its authority in ca_file or have this host excepted; \
                 otherwise check this machine's clock and its package of authorities",
            ));
            return stages;
        }
    }
    if https {
        stages.push(answer(net, host, port).await);
    }
    stages
}

async fn answer(net: &Net, host: &str, port: u16) -> Stage {
    let url = format!("https://{}/", crate::net::place(host, port));
    let answer = match timeout(MOST, send(net.http(host).get(url), 0)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(lost)) => {
            return Stage::failed(
                "http",
                format!("{host} does not answer: {}", lost.words),
                "something on the way lets TLS through but no request: look at proxies and firewalls",
            );
        }
        Err(_) => {
            return Stage::failed(
                "http",
                format!("{host} does not answer within {} s", MOST.as_secs()),
                "try again; where it stays so, look at proxies and firewalls",
            );
        }
    };
    let mut stage = Stage::passed("http", format!("{host} answers ({})", answer.status().as_u16()));
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    if let Some(off) = date.and_then(|date| skew(date, SystemTime::now()))
        && off > SKEW
    {
        stage.advice = Some(format!(
            "this machine's clock differs from {host}'s by {} s: set it, or tokens will be refused",
            off.as_secs()
        ));
    }
    stage
}

/// How far a date of HTTP is from now.
fn skew(date: &str, now: SystemTime) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    let date = SystemTime::from(date.timestamp());
    now.duration_since(date)
        .or_else(|e| Ok::<_, ()>(e.duration()))
        .ok()
}

/// The token endpoint's stage.
pub async fn token(source: &Arc<TokenSource>) -> (Stage, Result<AccessToken, TokenError>) {
    let outcome = source.token().await;
    let stage = match &outcome {
        Ok(token) => {
            let minutes = token.remaining().as_secs() / 60;
            Stage::passed("token", format!("a token for {minutes} min"))
        }
        Err(error) => {
            let advice = error
                .hint
                .unwrap_or("look the number up in Microsoft's list of AADSTS errors");
            Stage::failed("token", error.to_string(), advice)
        }
    };
    (stage, outcome)
}

/// The app roles that a token seems to carry, for a hint to an administrator and for nothing else: a token is the
/// resource's to read, its form may change, and nothing here is verified. No roles do not mean no permission: RBAC for
/// Applications writes none.
#[must_use]
pub fn peek_roles(token: &AccessToken) -> Option<Vec<String>> {
    roles(token.expose())
}

fn roles(token: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        roles: Vec<String>,
    }
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    Some(
        claims
            .roles
            .iter()
            .take(50)
            .map(|role| crate::token::cut(role))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Cloud, MemoryVault, NetOptions,
        tests::stage::{Answer, secret},
    };

    fn names(stages: &[Stage]) -> Vec<(&'static str, bool)> {
        stages.iter().map(|stage| (stage.name, stage.passed)).collect()
    }

    async fn server() -> crate::tests::stage::Stage {
        crate::tests::stage::Stage::open(|asked| match &*asked.path {
            "/token" => Answer::json(
                401,
                &json!({"error": "invalid_client", "error_codes": [7_000_222]}),
            ),
            _ => Answer::error(404, "x").and("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        })
        .await
    }

    #[tokio::test]
    async fn all_stages_of_a_host_that_is_well() {
        let server = server().await;
        let stages = host(&server.net(None), "localhost", server.port, true).await;
        assert_eq!(
            names(&stages),
            [("dns", true), ("tcp", true), ("tls", true), ("http", true)]
        );
        let advice = stages[3].advice.as_deref().unwrap();
        assert!(advice.contains("clock"), "{advice}");
        let bare = host(&server.net(None), "localhost", server.port, false).await;
        assert_eq!(bare.len(), 3);
    }

    #[tokio::test]
    async fn it_ends_at_the_stage_that_fails() {
        let server = server().await;
        let net = Net::open(&NetOptions::default()).unwrap();
        let stages = host(&net, "localhost", server.port, true).await;
        assert_eq!(names(&stages), [("dns", true), ("tcp", true), ("tls", false)]);
        assert!(stages[2].advice.as_deref().unwrap().contains("ca_file"));

        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let stages = host(&net, "127.0.0.1", port, true).await;
        assert_eq!(names(&stages), [("dns", true), ("tcp", false)]);

        let stages = host(&net, "no such host", 443, true).await;
        assert_eq!(names(&stages), [("dns", false)]);

        let net = Net::open(&NetOptions {
            proxy: Some(format!("connect://u:geheim@127.0.0.1:{port}")),
            ca_file: None,
        });
        let stages = host(&net.unwrap(), "graph.example", 443, true).await;
        assert_eq!(names(&stages), [("dns", true), ("proxy", false)]);
        assert!(!format!("{stages:?}").contains("geheim"));
    }

    #[tokio::test]
    async fn a_token_that_does_not_come_has_advice() {
        let server = server().await;
        let cloud = Cloud::new(Arc::new(MemoryVault::default()));
        let source = cloud.tokens(&server.app(secret("s")), "scope").unwrap();
        let (stage, outcome) = token(&source).await;
        assert!(!stage.passed && outcome.is_err());
        assert!(stage.advice.unwrap().contains("expired"));
    }

    #[test]
    fn roles_are_read_where_they_stand() {
        let jwt = |claims: serde_json::Value| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
        assert_eq!(
            roles(&jwt(json!({"roles": ["Mail.Read"]}))).unwrap(),
            ["Mail.Read"]
        );
        assert!(roles(&jwt(json!({"aud": "x"}))).unwrap().is_empty());
        for token in ["opaque", "a.!.b", "a.e30x", ""] {
            assert!(roles(token).is_none(), "{token}");
        }
    }

    #[test]
    fn clocks() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (now, off) in [
            (then, 0),
            (then + Duration::from_secs(9), 9),
            (then - Duration::from_secs(7), 7),
        ] {
            assert_eq!(skew(date, now), Some(Duration::from_secs(off)));
        }
        assert_eq!(skew("today", then), None);
    }
}

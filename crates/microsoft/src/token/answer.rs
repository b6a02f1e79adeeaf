//! The token endpoint's answers, read. Source: RFC 6749 sections 5.1 and 5.2; Microsoft, "Handling errors".

use std::time::Duration;

use portreeve_model::Secret;
use serde::Deserialize;

use super::{SupportIds, TokenError, TokenFault, hints};

/// Longest text of the endpoint that is repeated.
const MOST_TEXT: usize = 400;
/// A token that says it lives longer than this is asked for anew nonetheless: 28 h is Microsoft's longest.
const MOST_LIFE: u64 = 28 * 3600;

/// A token as the endpoint gave it.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) token: Secret,
    pub(super) lives: Duration,
    pub(super) refresh: Option<Secret>,
}

#[derive(Deserialize)]
struct Body {
    access_token: Option<String>,
    refresh_token: Option<String>,
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Seconds,
}

/// Seconds, as a number or, as older endpoints write them, as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Deserialize, Default)]
struct Fault {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    error_codes: Vec<u32>,
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    correlation_id: String,
}

/// Reads what came with a status that means success.
pub(super) fn granted(body: &[u8]) -> Result<Given, TokenError> {
    let broken =
        |why: &str| TokenError::here(TokenFault::Broken, format!("the token endpoint's answer {why}"));
    // serde's own words may quote what it read, and that is a token.
    let body: Body = serde_json::from_slice(body).map_err(|_| broken("is not JSON of a token"))?;
    let token = body
        .access_token
        .filter(|token| !token.is_empty())
        .map(Secret::new);
    let refresh = body
        .refresh_token
        .filter(|token| !token.is_empty())
        .map(Secret::new);
    let token = token.ok_or_else(|| broken("holds no token"))?;
    if !body.token_type.unwrap_or_default().eq_ignore_ascii_case("bearer") {
        return Err(broken("holds a token that is not a bearer's"));
    }
    let lives = match body.expires_in {
        Seconds::Number(seconds) => seconds,
        Seconds::Text(text) => text.trim().parse().unwrap_or(0),
    };
    if lives == 0 {
        return Err(broken("holds a token that has no life"));
    }
    Ok(Given {
        token,
        lives: Duration::from_secs(lives.min(MOST_LIFE)),
        refresh,
    })
}

/// Reads what came with any other status.
pub(super) fn refused(status: u16, body: &[u8], retry: Option<Duration>) -> TokenError {
    let fault: Fault = serde_json::from_slice(body).unwrap_or_default();
    let numbers = if fault.error_codes.is_empty() {
        numbers_of(&fault.error_description)
    } else {
        fault.error_codes.iter().take(8).copied().collect()
    };
    let passes = status == 429
        || status == 408
        || status >= 500
        || fault.error == "temporarily_unavailable"
        || hints::transient(&numbers);
    let kind = if passes {
        TokenFault::Transient
    } else if matches!(
        fault.error.as_str(),
        "invalid_grant" | "interaction_required" | "login_required" | "consent_required"
    ) {
        TokenFault::SignIn
    } else if fault.error.is_empty() {
        TokenFault::Broken
    } else {
        TokenFault::Refused
    };
    // Ids and times follow, on lines of their own or on the same one; they are kept apart.
    let text = fault
        .error_description
        .split(['\r', '\n'])
        .next()
        .and_then(|line| line.split(" Trace ID:").next())
        .unwrap_or_default();
    let description = if text.is_empty() {
        format!("the token endpoint answered {status}")
    } else {
        cut(text)
    };
    TokenError {
        kind,
        error: cut(&fault.error),
        description,
        hint: hints::hint(&numbers),
        numbers,
        support: (!fault.trace_id.is_empty() || !fault.correlation_id.is_empty()).then(|| {
            Box::new(SupportIds {
                trace: cut(&fault.trace_id),
                correlation: cut(&fault.correlation_id),
            })
        }),
        retry,
    }
}

/// Text of the wire for a log: short, and without control characters.
pub(crate) fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST_TEXT)
        .collect()
}

/// The number in `AADSTS7000215: …`.
fn numbers_of(text: &str) -> Vec<u32> {
    text.split("AADSTS")
        .skip(1)
        .take(4)
        .filter_map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).take(9).collect();
            digits.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants() {
        let given = granted(br#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#).unwrap();
        assert_eq!(given.token.expose(), "t");
        assert_eq!(given.lives.as_secs(), 3599);
        assert!(given.refresh.is_none());
        let text =
            granted(br#"{"token_type":"bearer","expires_in":"60","access_token":"t","refresh_token":"r"}"#);
        let text = text.unwrap();
        assert_eq!((text.lives.as_secs(), text.refresh.unwrap().expose()), (60, "r"));
    }

    #[test]
    fn what_is_no_grant() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"token_type":"Bearer","expires_in":10,"access_token":""}"#,
            r#"{"token_type":"mac","expires_in":10,"access_token":"geheim"}"#,
            r#"{"token_type":"Bearer","access_token":"geheim"}"#,
            r#"{"token_type":"Bearer","access_token":"geheim","expires_in":-1}"#,
        ] {
            let error = granted(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind, TokenFault::Broken, "{body}");
            assert!(!format!("{error} {error:?}").contains("geheim"), "{body}");
        }
    }

    #[test]
    fn refusals_have_numbers_and_hints() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: x\r\nTimestamp: y","error_codes":[7000215],"trace_id":"t-1","correlation_id":"c-1"}"#;
        let error = refused(401, body.as_bytes(), None);
        assert_eq!(error.kind, TokenFault::Refused);
        assert_eq!(error.numbers, [7_000_215]);
        assert_eq!(
            error.description,
            "AADSTS7000215: Invalid client secret provided."
        );
        let told = error.to_string();
        assert!(
            told.contains("Value") && told.contains("t-1") && told.contains("c-1"),
            "{told}"
        );
    }

    #[test]
    fn kinds() {
        for (status, body, kind) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS700082: x"}"#,
                TokenFault::SignIn,
            ),
            (400, r#"{"error":"invalid_scope"}"#, TokenFault::Refused),
            (
                400,
                r#"{"error":"temporarily_unavailable"}"#,
                TokenFault::Transient,
            ),
            (
                400,
                r#"{"error":"invalid_request","error_codes":[90033]}"#,
                TokenFault::Transient,
            ),
            (503, "<html>busy</html>", TokenFault::Transient),
            (429, "", TokenFault::Transient),
            (404, "<html>", TokenFault::Broken),
            (302, "", TokenFault::Broken),
        ] {
            assert_eq!(
                refused(status, body.as_bytes(), None).kind,
                kind,
                "{status} {body}"
            );
        }
        let error = refused(
            400,
            br#"{"error":"invalid_grant","error_description":"AADSTS700082: x"}"#,
            None,
        );
        assert_eq!(error.numbers, [700_082]);
        assert!(error.hint.unwrap().contains("sign in again"));
    }
}

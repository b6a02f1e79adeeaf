//! What Graph refuses, and what that means. Source: Microsoft, "Microsoft Graph error responses and resource types", and
//! codes of Exchange from practice.

use std::{fmt, time::Duration};

use serde::Deserialize;

use crate::token::{TokenError, cut};

/// What kind of refusal.
#[derive(Debug, Clone)]
pub enum GraphFault {
    /// There is no such thing: an item, a folder, or the mailbox.
    NotFound,
    /// The app may not.
    Denied,
    /// The token is not accepted, a new one neither.
    Unauthorized,
    /// There is one already.
    Exists,
    /// Too much was asked; [`GraphError::retry_after`] says when to come back.
    Throttled,
    /// A delta link does not hold any more: begin anew.
    Gone,
    /// The content is larger than the service takes.
    TooLarge,
    /// The mailbox is full.
    Quota,
    /// This cannot be done with this thing.
    Unsupported,
    /// The request is wrong.
    Invalid,
    /// The service is unwell.
    Unavailable,
    /// The answer is not one that is understood, or broke off.
    Broken,
    /// The service cannot be reached.
    Network,
    /// There is no token.
    Token(Box<TokenError>),
}

/// A refusal of Graph. `Display` is for the log; [`GraphError::told`] for people.
#[derive(Debug, Clone)]
pub struct GraphError {
    /// What kind of refusal.
    pub kind: GraphFault,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// Graph's code, e.g. `ErrorItemNotFound`; empty where there was none.
    pub code: String,
    /// What Graph said, cut short, or our own words.
    pub message: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Graph's id of the request, which Microsoft's support asks for.
    pub request_id: Option<String>,
    /// The request may have been carried out though it failed here.
    pub uncertain: bool,
    /// Nothing was sent: it certainly was not carried out.
    pub(crate) unsent: bool,
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "innerError", alias = "innererror")]
    inner: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "request-id")]
    request_id: Option<String>,
}

impl GraphError {
    /// A refusal on our side of the wire.
    #[must_use]
    pub fn here(kind: GraphFault, message: String) -> Self {
        Self {
            kind,
            status: None,
            code: String::new(),
            message,
            retry_after: None,
            request_id: None,
            uncertain: false,
            unsent: false,
        }
    }

    pub(crate) fn token(error: TokenError) -> Self {
        let mut told = Self::here(GraphFault::Token(Box::new(error)), String::new());
        told.unsent = true;
        told
    }

    /// Reads an answer whose status is no success.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let (code, message, request_id) = match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error }) => (
                error.code.as_deref().map(cut).unwrap_or_default(),
                error.message.as_deref().map(cut).unwrap_or_default(),
                error.inner.and_then(|inner| inner.request_id).as_deref().map(cut),
            ),
            Err(_) => Default::default(),
        };
        Self {
            kind: classify(status, &code, &message),
            status: Some(status),
            code,
            message,
            request_id,
            ..Self::here(GraphFault::Invalid, String::new())
        }
    }

    /// The error within an answer whose status is a success: it happens.
    pub(crate) fn embedded(body: &[u8]) -> Option<Self> {
        let Envelope { error } = serde_json::from_slice(body).ok()?;
        let code = error.code.as_deref().map(cut).unwrap_or_default();
        Some(Self {
            message: format!(
                "an answer of 200 held an error: {}",
                error.message.as_deref().map(cut).unwrap_or_default()
            ),
            code,
            status: Some(200),
            ..Self::here(GraphFault::Broken, String::new())
        })
    }

    /// Whether the mailbox itself said nothing: there is no answer, or one of a service that is unwell.
    pub(super) fn is_away(&self) -> bool {
        matches!(
            self.kind,
            GraphFault::Unavailable | GraphFault::Broken | GraphFault::Network
        )
    }

    /// Whether Graph itself says with 503 that it did not take the request: by a code, or by when to come back.
    pub(super) fn says_unavailable(&self) -> bool {
        self.status == Some(503) && (!self.code.is_empty() || self.retry_after.is_some())
    }

    /// Whether it is the mailbox itself that is not there: unknown, without a licence, or not in the cloud.
    #[must_use]
    pub fn mailbox_unknown(&self) -> bool {
        matches!(self.kind, GraphFault::NotFound)
            && matches!(
                self.code.as_str(),
                "ErrorInvalidUser"
                    | "MailboxNotEnabledForRESTAPI"
                    | "ResourceNotFound"
                    | "Request_ResourceNotFound"
            )
    }

    /// What a person at a client may be told: no ids, no names, no secrets.
    #[must_use]
    pub fn told(&self) -> String {
        if self.uncertain {
            return "the mail service did not answer; whether it was done is not known".to_owned();
        }
        let text = match &self.kind {
            GraphFault::NotFound if self.mailbox_unknown() => "the mail service does not know this mailbox",
            GraphFault::NotFound => "it is not there any more",
            GraphFault::Denied => "the mail service does not let this server into the mailbox",
            GraphFault::Unauthorized => {
                "the mail service does not accept this server's credentials; tell the administrator"
            }
            GraphFault::Exists => "there is one of this name already",
            GraphFault::Throttled => {
                let wait = self.retry_after.map_or(60, |wait| wait.as_secs().max(1));
                return format!("the mail service wants less to be asked of it; try again in {wait} s");
            }
            GraphFault::Gone => "the mail service wants to be read anew; try again",
            GraphFault::TooLarge => "the mail service does not take anything this large",
            GraphFault::Quota => "the mailbox is full",
            GraphFault::Unsupported => "the mail service cannot do this with this item",
            GraphFault::Invalid => "the mail service does not understand the request; tell the administrator",
            GraphFault::Unavailable | GraphFault::Broken => "the mail service is unwell; try again later",
            GraphFault::Network => "the mail service is out of reach; try again later",
            GraphFault::Token(error) => error.told(),
        };
        text.to_owned()
    }

    /// What an administrator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        if self.mailbox_unknown() {
            return Some(
                "check the mailbox's address, that it has a licence, and that it is not on premises",
            );
        }
        match &self.kind {
            GraphFault::Denied => Some(
                "grant the app Mail.ReadWrite with RBAC for Applications, or in Entra with consent; changes may take \
                 two hours",
            ),
            GraphFault::Unauthorized => Some("check cloud: a token of one cloud means nothing in another"),
            GraphFault::Token(error) => error.hint,
            _ => None,
        }
    }
}

fn classify(status: u16, code: &str, message: &str) -> GraphFault {
    match code {
        "ErrorInvalidIdMalformed" | "ErrorItemNotFound" | "ErrorFolderNotFound" | "ErrorInvalidUser" => {
            return GraphFault::NotFound;
        }
        "ErrorFolderExists" | "nameAlreadyExists" => return GraphFault::Exists,
        "resyncRequired" | "syncStateNotFound" | "syncStateInvalid" | "SyncStateNotFound" => {
            return GraphFault::Gone;
        }
        "ErrorQuotaExceeded" | "quotaLimitReached" => return GraphFault::Quota,
        "ErrorMessageSizeExceeded" => return GraphFault::TooLarge,
        "ApplicationThrottled" | "activityLimitReached" | "TooManyRequests" => return GraphFault::Throttled,
        // Somebody else changed the item at the same time, or the mailbox is just being moved.
        "ErrorIrresolvableConflict" | "ErrorMailboxStoreUnavailable" | "ErrorServerBusy" => {
            return GraphFault::Unavailable;
        }
        "ErrorAccessDenied" | "Authorization_RequestDenied" => return GraphFault::Denied,
        _ => {}
    }
    match status {
        400 if message.contains("Maximum request length exceeded") => GraphFault::TooLarge,
        401 => GraphFault::Unauthorized,
        403 => GraphFault::Denied,
        404 => GraphFault::NotFound,
        405 | 415 | 501 => GraphFault::Unsupported,
        408 => GraphFault::Unavailable,
        410 => GraphFault::Gone,
        413 => GraphFault::TooLarge,
        429 | 509 => GraphFault::Throttled,
        507 => GraphFault::Quota,
        500..=599 => GraphFault::Unavailable,
        400..=499 => GraphFault::Invalid,
        _ => GraphFault::Broken,
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let GraphFault::Token(error) = &self.kind {
            return write!(f, "{error}");
        }
        write!(f, "Graph: {:?}", self.kind)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        if !self.code.is_empty() {
            write!(f, ", {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if self.uncertain {
            f.write_str("; whether it was done is not known")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, " ({hint})")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for GraphError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        for (status, code, kind) in [
            (400, "ErrorInvalidIdMalformed", "NotFound"),
            (400, "InefficientFilter", "Invalid"),
            (401, "InvalidAuthenticationToken", "Unauthorized"),
            (403, "ErrorAccessDenied", "Denied"),
            (404, "ErrorItemNotFound", "NotFound"),
            (404, "MailboxNotEnabledForRESTAPI", "NotFound"),
            (405, "", "Unsupported"),
            (409, "ErrorFolderExists", "Exists"),
            (409, "ErrorIrresolvableConflict", "Unavailable"),
            (410, "resyncRequired", "Gone"),
            (400, "syncStateNotFound", "Gone"),
            (413, "", "TooLarge"),
            (400, "ErrorMessageSizeExceeded", "TooLarge"),
            (429, "ApplicationThrottled", "Throttled"),
            (503, "ErrorServerBusy", "Unavailable"),
            (507, "ErrorQuotaExceeded", "Quota"),
            (302, "", "Broken"),
        ] {
            let body = format!(
                r#"{{"error":{{"code":"{code}","message":"m","innerError":{{"request-id":"r-1"}}}}}}"#
            );
            let error = GraphError::read(status, body.as_bytes());
            assert_eq!(format!("{:?}", error.kind), kind, "{status} {code}");
            assert_eq!(error.request_id.as_deref(), Some("r-1"));
            assert!(!error.told().contains("r-1") && !error.told().is_empty());
        }
    }

    #[test]
    fn bodies_that_are_no_errors() {
        for body in ["", "<html>gateway</html>", "{}", "[]", r#"{"error":"text"}"#] {
            let error = GraphError::read(504, body.as_bytes());
            assert!(matches!(error.kind, GraphFault::Unavailable), "{body}");
        }
        assert!(GraphError::embedded(br#"{"value":[]}"#).is_none());
        let found = GraphError::embedded(br#"{"error":{"code":"UnknownError"}}"#).unwrap();
        assert!(matches!(found.kind, GraphFault::Broken));
    }

    #[test]
    fn an_unknown_mailbox_is_told_from_an_unknown_item() {
        let of = |code: &str| {
            GraphError::read(
                404,
                format!(r#"{{"error":{{"code":"{code}","message":""}}}}"#).as_bytes(),
            )
        };
        assert!(of("ErrorInvalidUser").mailbox_unknown());
        assert!(!of("ErrorItemNotFound").mailbox_unknown());
        assert!(of("ErrorInvalidUser").to_string().contains("licence"));
    }

    #[test]
    fn a_503_that_says_nothing_may_be_a_gateway_s() {
        let bare = GraphError::read(503, b"upstream connect error");
        assert!(!bare.says_unavailable());
        let told = GraphError::read(503, br#"{"error":{"code":"serviceNotAvailable","message":"x"}}"#);
        assert!(told.says_unavailable());
        let later = GraphError {
            retry_after: Some(Duration::from_secs(1)),
            ..bare
        };
        assert!(later.says_unavailable());
    }
}

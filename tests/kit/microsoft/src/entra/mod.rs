//! Entra: discovery, keys and the token endpoint.
//! Invariant: an error has the form and the number that Entra gives it; a token is good only where it is looked up.

pub(crate) mod assertion;
pub(crate) mod credentials;
pub(crate) mod keys;
pub(crate) mod tokens;

use serde_json::json;

use crate::{
    faults::Settings,
    graph::time,
    wire::{Answer, Asked},
    world::{DOMAIN, TENANT, World},
};

/// An error as Entra words it.
pub(crate) fn refusal(status: u16, error: &str, number: u32, text: &str) -> Answer {
    let now = time(jiff::Timestamp::now()).replace('T', " ");
    let (trace, correlation) = (crate::mailbox::guid(3), crate::mailbox::guid(4));
    Answer::json(
        status,
        json!({
            "error": error,
            "error_description": format!("AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"),
            "error_codes": [number],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        }),
    )
}

/// Whether this is the tenant.
fn known(tenant: &str) -> bool {
    tenant.eq_ignore_ascii_case(TENANT) || tenant.eq_ignore_ascii_case(DOMAIN)
}

fn unknown(tenant: &str) -> Answer {
    refusal(
        400,
        "invalid_request",
        90002,
        &format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
        ),
    )
}

/// Whether a path belongs to Entra.
pub(crate) fn owns(parts: &[String]) -> bool {
    matches!(parts.get(1).map(String::as_str), Some("oauth2" | "discovery"))
        || parts.iter().any(|p| p == ".well-known")
}

pub(crate) fn answer(world: &mut World, settings: &Settings, asked: &Asked) -> Answer {
    let parts = asked.parts();
    let rest: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (tenant, origin) = (rest.first().copied().unwrap_or_default(), &asked.origin);
    match (asked.method.as_str(), rest.get(1..).unwrap_or_default()) {
        ("GET", ["v2.0", ".well-known", "openid-configuration"]) if known(tenant) => Answer::json(
            200,
            json!({
                "issuer": format!("{origin}/{TENANT}/v2.0"),
                "authorization_endpoint": format!("{origin}/{tenant}/oauth2/v2.0/authorize"),
                "token_endpoint": format!("{origin}/{tenant}/oauth2/v2.0/token"),
                "device_authorization_endpoint": format!("{origin}/{tenant}/oauth2/v2.0/devicecode"),
                "jwks_uri": format!("{origin}/{tenant}/discovery/v2.0/keys"),
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
                "msgraph_host": origin.trim_start_matches("https://"),
            }),
        ),
        ("GET", ["discovery", "v2.0", "keys"]) if known(tenant) => Answer::json(200, keys::signing().jwks()),
        ("POST", ["oauth2", "v2.0", "token"]) => {
            if let Some((status, error, number, text)) = &settings.token_error {
                return refusal(*status, error, *number, text);
            }
            if !known(tenant) {
                return unknown(tenant);
            }
            tokens::answer(world, settings, asked).unwrap_or_else(|refused| refused)
        }
        (_, ["oauth2", "v2.0", "token"]) => refusal(
            400,
            "invalid_request",
            900_561,
            "The endpoint only accepts POST requests. Received a GET request.",
        ),
        (_, _) if !known(tenant) => unknown(tenant),
        _ => Answer::empty(404),
    }
}

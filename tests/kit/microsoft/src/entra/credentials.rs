//! Which application asks for a token, and whether it is the one it says.
//! Invariant: a secret, a registered key or a trusted issuer must speak for it; only a public client may do without.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{assertion, refusal};
use crate::{
    wire::{Answer, Asked, decode},
    world::{TENANT, World},
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(crate) fn missing(name: &str) -> Answer {
    refusal(
        400,
        "invalid_request",
        900_144,
        &format!("The request body must contain the following parameter: '{name}'."),
    )
}

/// Id and secret of a Basic header; both were escaped as in a form.
fn basic(asked: &Asked) -> Option<(String, String)> {
    let given = asked.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decode(id, true), decode(secret, true)))
}

/// The id of the application that has shown that it is the one.
pub(crate) fn client(
    world: &mut World,
    asked: &Asked,
    form: &BTreeMap<String, String>,
) -> Result<String, Answer> {
    let header = basic(asked);
    let id = header
        .as_ref()
        .map(|(id, _)| id.clone())
        .or_else(|| form.get("client_id").cloned());
    let Some(id) = id.filter(|i| !i.is_empty()) else {
        return Err(missing("client_id"));
    };
    let Some(app) = world.app(&id).cloned() else {
        return Err(refusal(
            400,
            "unauthorized_client",
            700_016,
            &format!(
                "Application with identifier '{id}' was not found in the directory '{TENANT}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
            ),
        ));
    };
    if let Some(text) = form.get("client_assertion") {
        if form.get("client_assertion_type").map(String::as_str) != Some(JWT_BEARER) {
            return Err(missing("client_assertion_type"));
        }
        assertion::check(world, &app.id, &asked.origin, text)?;
        return Ok(app.id);
    }
    let secret = header
        .map(|(_, secret)| secret)
        .or_else(|| form.get("client_secret").cloned());
    let Some(secret) = secret else {
        if app.public {
            return Ok(app.id);
        }
        return Err(refusal(
            401,
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    };
    if app.public {
        return Err(refusal(
            401,
            "invalid_client",
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        ));
    }
    match app.secrets.iter().find(|s| s.value == secret) {
        Some(found) if found.expired => Err(refusal(
            401,
            "invalid_client",
            7_000_222,
            &format!(
                "The provided client secret keys for app '{id}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
            ),
        )),
        Some(_) => Ok(app.id),
        None => Err(refusal(
            401,
            "invalid_client",
            7_000_215,
            &format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{id}'."
            ),
        )),
    }
}

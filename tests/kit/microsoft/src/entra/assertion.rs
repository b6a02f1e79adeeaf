//! Client assertions: a JWT instead of a secret, signed by a registered certificate or by a trusted identity provider.
//! Invariants: signature, thumbprint, audience, times and subject must all fit; an assertion is good once.

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{keys, refusal};
use crate::{
    wire::Answer,
    world::{TENANT, World},
};

/// The issuer that federated assertions come from.
pub(crate) const ISSUER: &str = "https://issuer.standin.test";
/// Whom they must be for.
pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";

fn refused(number: u32, text: &str) -> Answer {
    refusal(401, "invalid_client", number, text)
}

/// Judges an assertion for an application.
pub(crate) fn check(world: &mut World, app: &str, origin: &str, text: &str) -> Result<(), Answer> {
    let malformed = || {
        refusal(
            400,
            "invalid_request",
            50027,
            "JWT token is invalid or malformed.",
        )
    };
    let header = decode_header(text).map_err(|_| malformed())?;
    let claims = peek(text).ok_or_else(malformed)?;
    world.assertion = Some(json!({"header": header_of(text), "claims": claims}));
    if claims["iss"].as_str() != Some(app) {
        return federated(world, app, text, &claims);
    }
    let head = header_of(text).unwrap_or_default();
    let thumbprint = head["x5t#S256"]
        .as_str()
        .or_else(|| head["x5t"].as_str())
        .unwrap_or_default()
        .to_owned();
    let registered = world
        .app(app)
        .is_some_and(|a| a.thumbprints.contains(&thumbprint));
    if !registered {
        return Err(refused(
            700_027,
            &format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}'. Please visit the Azure Portal to manage the keys.]"
            ),
        ));
    }
    let good = [Algorithm::PS256, Algorithm::RS256].contains(&header.alg);
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    if !good || decode::<Value>(text, &keys::client().verifies(), &validation).is_err() {
        return Err(refused(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was found, but use of the key to verify the signature failed.]",
        ));
    }
    if claims["sub"].as_str() != Some(app) {
        return Err(refused(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        ));
    }
    let audience = claims["aud"].as_str().unwrap_or_default();
    let fits = [TENANT, crate::world::DOMAIN]
        .iter()
        .any(|t| audience == format!("{origin}/{t}/oauth2/v2.0/token"));
    if !fits {
        return Err(refused(
            700_023,
            &format!("Client assertion audience claim does not match Realm issuer. '{audience}'"),
        ));
    }
    in_time(&claims)?;
    let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
    if jti.is_empty() || !world.assertions_seen.insert(jti) {
        return Err(refused(
            50013,
            "Assertion failed validation: it has no 'jti' or was used before.",
        ));
    }
    Ok(())
}

fn in_time(claims: &Value) -> Result<(), Answer> {
    let now = jiff::Timestamp::now().as_second();
    let (from, to) = (
        claims["nbf"].as_i64().unwrap_or(now),
        claims["exp"].as_i64().unwrap_or(0),
    );
    if to <= now || from > now + 300 || to - from > 3600 {
        return Err(refused(
            700_024,
            "Client assertion is not within its valid time range.",
        ));
    }
    Ok(())
}

fn federated(world: &mut World, app: &str, text: &str, claims: &Value) -> Result<(), Answer> {
    let subject = claims["sub"].as_str().unwrap_or_default();
    let trusted = claims["iss"] == ISSUER
        && world
            .app(app)
            .is_some_and(|a| a.federated.iter().any(|s| s == subject));
    if !trusted {
        return Err(refused(
            70021,
            &format!(
                "No matching federated identity record found for presented assertion. Assertion Issuer: '{}'. Assertion Subject: '{subject}'.",
                claims["iss"]
            ),
        ));
    }
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    if let Err(error) = decode::<Value>(text, &keys::foreign().verifies(), &validation) {
        let expired = matches!(error.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature);
        let number = if expired { 700_024 } else { 700_211 };
        return Err(refused(
            number,
            "The federated assertion is not valid: its signature, audience or time is wrong.",
        ));
    }
    Ok(())
}

fn part(text: &str, number: usize) -> Option<Value> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let bytes = URL_SAFE_NO_PAD.decode(text.split('.').nth(number)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn header_of(text: &str) -> Option<Value> {
    part(text, 0)
}

/// The claims, unjudged.
fn peek(text: &str) -> Option<Value> {
    part(text, 1)
}

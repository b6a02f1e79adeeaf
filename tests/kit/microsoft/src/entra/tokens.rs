//! The token endpoint: client credentials, and refresh tokens that change with every use.
//! Invariant: an application's own token has no refresh token and is given though no permission was granted.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header, encode};
use serde_json::{Value, json};

use super::{credentials, credentials::missing, keys, refusal};
use crate::{
    faults::Settings,
    wire::{Answer, Asked, pairs},
    world::{Refresh, TENANT, Token, Who, World},
};

/// Services that tokens can be had for, besides the address of the stand-in itself.
const RESOURCES: &[&str] = &[
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
    "https://outlook.office365.com",
    "https://outlook.office.com",
    "https://partner.outlook.cn",
    "https://outlook.office365.us",
];

/// The service that a scope names.
fn resource(scope: &str, origin: &str) -> Option<String> {
    let known = RESOURCES.iter().copied().chain([origin]);
    known
        .into_iter()
        .find(|r| scope.strip_prefix(r).is_some_and(|rest| rest.starts_with('/')))
        .map(str::to_owned)
}

pub(crate) fn answer(world: &mut World, settings: &Settings, asked: &Asked) -> Result<Answer, Answer> {
    let kind = asked.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(refusal(
            400,
            "invalid_request",
            900_144,
            "The request body must contain the following parameter: 'grant_type'.",
        ));
    }
    let form = pairs(&String::from_utf8_lossy(&asked.body));
    let grant = form
        .get("grant_type")
        .ok_or_else(|| missing("grant_type"))?
        .clone();
    if asked.header("origin").is_some() {
        return Err(refusal(
            400,
            "invalid_request",
            9_002_326,
            "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.",
        ));
    }
    let app = credentials::client(world, asked, &form)?;
    match grant.as_str() {
        "client_credentials" => {
            let scope = form.get("scope").ok_or_else(|| missing("scope"))?;
            let invalid = || {
                refusal(
                    400,
                    "invalid_scope",
                    1_002_012,
                    &format!(
                        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
                    ),
                )
            };
            if scope.contains(' ') || !scope.ends_with("/.default") {
                return Err(invalid());
            }
            let Some(audience) = resource(scope, &asked.origin) else {
                return Err(no_resource(scope));
            };
            let all = world.app(&app).map(|a| a.roles.clone()).unwrap_or_default();
            let mail = !audience.contains("outlook");
            let roles: Vec<String> = all
                .into_iter()
                .filter(|r| r.starts_with("IMAP.") != mail)
                .collect();
            let token = issue(world, settings, asked, &app, Who::App, &audience, roles);
            Ok(Answer::json(
                200,
                json!({"token_type": "Bearer", "expires_in": settings.expires_in, "ext_expires_in": settings.expires_in, "access_token": token}),
            ))
        }
        "refresh_token" => refresh(world, settings, asked, &app, &form),
        _ => Err(refusal(
            400,
            "unsupported_grant_type",
            70003,
            "The app requested an unsupported grant type.",
        )),
    }
}

fn no_resource(scope: &str) -> Answer {
    refusal(
        400,
        "invalid_resource",
        500_011,
        &format!(
            "The resource principal named {scope} was not found in the tenant named standin. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."
        ),
    )
}

fn refresh(
    world: &mut World,
    settings: &Settings,
    asked: &Asked,
    app: &str,
    form: &std::collections::BTreeMap<String, String>,
) -> Result<Answer, Answer> {
    let given = form
        .get("refresh_token")
        .ok_or_else(|| missing("refresh_token"))?;
    let found = world
        .refresh
        .get(given)
        .filter(|r| r.app.eq_ignore_ascii_case(app))
        .cloned();
    let Some(found) = found else {
        return Err(refusal(
            400,
            "invalid_grant",
            9_002_313,
            "Invalid request. Request is malformed or invalid.",
        ));
    };
    if found.revoked {
        return Err(refusal(
            400,
            "invalid_grant",
            70043,
            "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.",
        ));
    }
    let scope = form.get("scope").cloned().unwrap_or_else(|| {
        "https://graph.microsoft.com/Mail.ReadWrite https://graph.microsoft.com/Mail.Send".to_owned()
    });
    let wanted: Vec<&str> = scope
        .split(' ')
        .filter(|s| !["offline_access", "openid", "profile", "email", ""].contains(s))
        .collect();
    let mut audiences: Vec<String> = Vec::new();
    let mut scopes = Vec::new();
    for one in wanted {
        let audience = match resource(one, &asked.origin) {
            Some(audience) => audience,
            // A bare name is Graph's.
            None if !one.contains("://") => "https://graph.microsoft.com".to_owned(),
            None => return Err(no_resource(one)),
        };
        let name = one.rsplit('/').next().unwrap_or_default();
        if name == ".default" {
            let outlook = audience.contains("outlook");
            scopes.extend(if outlook {
                vec!["IMAP.AccessAsUser.All".to_owned()]
            } else {
                vec!["Mail.ReadWrite".to_owned(), "Mail.Send".to_owned()]
            });
        } else {
            scopes.push(name.to_owned());
        }
        if !audiences.contains(&audience) {
            audiences.push(audience);
        }
    }
    let (Some(audience), true) = (audiences.first().cloned(), audiences.len() <= 1) else {
        return Err(refusal(
            400,
            "invalid_scope",
            28000,
            "Provided value for the input parameter scope is not valid because it contains more than one resource.",
        ));
    };
    let consented = world.app(app).map(|a| a.roles.clone()).unwrap_or_default();
    if scopes
        .iter()
        .any(|s| s.starts_with("Mail.") && !consented.contains(s) && s != "Mail.Read")
    {
        return Err(refusal(
            400,
            "invalid_grant",
            65001,
            &format!(
                "The user or administrator has not consented to use the application with ID '{app}'. Send an interactive authorization request for this user and resource."
            ),
        ));
    }
    if settings.revoke_used
        && let Some(used) = world.refresh.get_mut(given)
    {
        used.revoked = true;
    }
    let fresh = format!("1.AX0A{}-{}", world.mint(), world.mint());
    world.refresh.insert(
        fresh.clone(),
        Refresh {
            app: app.to_owned(),
            user: found.user.clone(),
            revoked: false,
        },
    );
    let token = issue(
        world,
        settings,
        asked,
        app,
        Who::User(found.user),
        &audience,
        scopes,
    );
    Ok(Answer::json(
        200,
        json!({"token_type": "Bearer", "scope": scope, "expires_in": settings.expires_in, "ext_expires_in": settings.expires_in, "access_token": token, "refresh_token": fresh}),
    ))
}

/// Gives out a token: a JWT that is really signed, though for Graph nobody may look into it.
pub(crate) fn issue(
    world: &mut World,
    settings: &Settings,
    asked: &Asked,
    app: &str,
    who: Who,
    audience: &str,
    roles: Vec<String>,
) -> String {
    let now = Timestamp::now();
    let lifetime = SignedDuration::from_secs(i64::try_from(settings.expires_in).unwrap_or(3599));
    let mut claims = json!({
        "aud": audience,
        "iss": format!("{}/{TENANT}/v2.0", asked.origin),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": now.as_second() + lifetime.as_secs(),
        "tid": TENANT, "appid": app, "azp": app, "ver": "2.0", "uti": world.guid(),
    });
    match &who {
        Who::App => {
            claims["idtyp"] = json!("app");
            claims["oid"] = json!(crate::mailbox::guid(9));
            claims["sub"] = claims["oid"].clone();
            if !roles.is_empty() {
                claims["roles"] = json!(roles);
            }
        }
        Who::User(user) => {
            claims["idtyp"] = json!("user");
            claims["oid"] = json!(world.mailbox(user).map(|m| m.guid.clone()));
            claims["sub"] = claims["oid"].clone();
            for name in ["upn", "unique_name", "preferred_username", "email"] {
                claims[name] = json!(user);
            }
            claims["scp"] = json!(roles.join(" "));
        }
    }
    let text = sign(&claims, keys::signing());
    world.issued += 1;
    let token = Token {
        app: app.to_owned(),
        who,
        audience: audience.to_owned(),
        roles,
        expires: now + lifetime,
    };
    world.tokens.insert(text.clone(), token);
    text
}

/// A JWT, RS256.
pub(crate) fn sign(claims: &Value, key: &keys::ClientCertificate) -> String {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(key.kid().to_owned());
    encode(&header, claims, &key.signs()).expect("a token")
}

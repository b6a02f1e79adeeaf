//! Graph: who asks, whether they may, and which room answers.
//! Invariant: nothing is answered without a good bearer token and a right to the mailbox; what no room knows is refused.

pub(crate) mod attachments;
pub(crate) mod batch;
pub(crate) mod delta;
pub(crate) mod folders;
pub(crate) mod messages;
pub(crate) mod pages;
pub(crate) mod send;
pub(crate) mod uploads;

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    faults::Settings,
    mailbox::{Mailbox, Service},
    wire::{Answer, Asked},
    world::{Token, Who, World},
};

/// The largest body of a request.
pub(crate) const LARGEST_BODY: usize = 4 << 20;

/// What an answer is made from.
pub(crate) struct Desk<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) settings: &'a Settings,
    pub(crate) asked: &'a Asked,
    /// Where uploads go: `https://host:port`.
    pub(crate) uploads: &'a str,
    /// The application that asks.
    pub(crate) app: &'a str,
    /// The index of the mailbox that is spoken of.
    pub(crate) at: usize,
    /// Whether ids are the immutable ones.
    pub(crate) immutable: bool,
}

impl Desk<'_> {
    pub(crate) fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.world.mailboxes[self.at]
    }
}

/// A time as Graph writes it.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether an id has the form of one.
pub(crate) fn well_formed(id: &str) -> bool {
    id.len() >= 40
        && ["AAMk", "AAkA", "AQMk"].iter().any(|start| id.starts_with(start))
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b))
}

pub(crate) fn malformed() -> Answer {
    Answer::error(400, "ErrorInvalidIdMalformed", "Id is malformed.")
}

pub(crate) fn not_found() -> Answer {
    Answer::error(
        404,
        "ErrorItemNotFound",
        "The specified object was not found in the store.",
    )
}

pub(crate) fn denied() -> Answer {
    Answer::error(
        403,
        "ErrorAccessDenied",
        "Access is denied. Check credentials and try again.",
    )
}

/// The bearer's token, if it is good for Graph.
pub(crate) fn bearer(world: &World, asked: &Asked) -> Result<Token, Answer> {
    let refused = |why: &str| {
        let challenge = format!(
            "Bearer realm=\"\", authorization_uri=\"https://{}/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"",
            asked.origin
        );
        Answer::error(401, "InvalidAuthenticationToken", why).with("www-authenticate", &challenge)
    };
    let Some(given) = asked
        .header("authorization")
        .and_then(|a| a.strip_prefix("Bearer "))
    else {
        return Err(refused("Access token is empty."));
    };
    let Some(token) = world.tokens.get(given) else {
        return Err(refused(
            "IDX14100: JWT is not well formed, there are no dots (.).",
        ));
    };
    if token.audience.contains("outlook") {
        return Err(refused("Access token validation failure. Invalid audience."));
    }
    if token.expires <= Timestamp::now() {
        return Err(refused("Lifetime validation failed, the token is expired."));
    }
    Ok(token.clone())
}

/// The mailbox that a path speaks of: its address as it stands there.
pub(crate) fn user_of(parts: &[String], token: &Token) -> Option<String> {
    match (parts.get(1).map(String::as_str), &token.who) {
        (Some("me"), Who::User(user)) => Some(user.clone()),
        (Some("users"), _) => parts.get(2).cloned(),
        _ => None,
    }
}

/// Answers a request whose bearer is known.
pub(crate) fn answer(
    world: &mut World,
    settings: &Settings,
    asked: &Asked,
    uploads: &str,
    token: &Token,
) -> Answer {
    if asked.body.len() > LARGEST_BODY {
        return Answer::error(413, "RequestEntityTooLarge", "The request entity is too large.");
    }
    let parts = asked.parts();
    let Some("v1.0") = parts.first().map(String::as_str) else {
        return Answer::error(404, "ResourceNotFound", "Invalid version.");
    };
    let Some(user) = user_of(&parts, token) else {
        if parts.get(1).is_some_and(|p| p == "me") {
            return Answer::error(
                400,
                "BadRequest",
                "/me request is only valid with delegated authentication flow.",
            );
        }
        return no_route(parts.get(1).map_or("", String::as_str));
    };
    let rest = parts
        .get(if parts[1] == "me" { 2 } else { 3 }..)
        .unwrap_or_default();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let Some(at) = world
        .mailboxes
        .iter()
        .position(|m| m.address.eq_ignore_ascii_case(&user) || m.guid.eq_ignore_ascii_case(&user))
    else {
        return Answer::error(
            404,
            "ErrorInvalidUser",
            &format!("The requested user '{user}' is invalid."),
        );
    };
    if rest.is_empty() {
        let own = matches!(token.who, Who::User(_)) && parts[1] == "me";
        if !own && !token.roles.iter().any(|r| r.starts_with("User.Read")) {
            return Answer::error(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.",
            );
        }
        let mailbox = &world.mailboxes[at];
        return Answer::json(
            200,
            json!({"id": mailbox.guid, "displayName": mailbox.address, "mail": mailbox.address, "userPrincipalName": mailbox.address}),
        );
    }
    if let Err(answer) = may(world, at, &asked.method, &rest, token) {
        return answer;
    }
    if world.mailboxes[at].service == Service::Disabled {
        return Answer::error(
            404,
            "MailboxNotEnabledForRESTAPI",
            "REST API is not yet supported for this mailbox.",
        );
    }
    let mut desk = Desk {
        world,
        settings,
        asked,
        uploads,
        app: &token.app,
        at,
        immutable: asked.immutable(),
    };
    let mut answer = route(&mut desk, &rest).unwrap_or_else(|refused| refused);
    if desk.immutable {
        answer
            .headers
            .push(("preference-applied", "IdType=\"ImmutableId\"".to_owned()));
    }
    answer
}

/// Whether the bearer may do this to this mailbox.
fn may(world: &mut World, at: usize, method: &Method, rest: &[&str], token: &Token) -> Result<(), Answer> {
    let address = world.mailboxes[at].address.to_lowercase();
    if world.mailboxes[at].forbidden {
        return Err(denied());
    }
    let sends = matches!(rest.last(), Some(&"send" | &"sendMail"));
    let needed: &[&str] = if sends {
        &["Mail.Send"]
    } else if *method == Method::GET {
        &["Mail.ReadWrite", "Mail.Read"]
    } else {
        &["Mail.ReadWrite"]
    };
    if let Who::User(user) = &token.who {
        let own = user.eq_ignore_ascii_case(&address);
        return if own && token.roles.iter().any(|r| needed.contains(&r.as_str())) {
            Ok(())
        } else {
            Err(denied())
        };
    }
    let Some(app) = world.app(&token.app) else {
        return Err(denied());
    };
    if needed
        .iter()
        .any(|role| app.rbac.contains(&(address.clone(), (*role).to_owned())))
    {
        return Ok(());
    }
    if !token.roles.iter().any(|r| needed.contains(&r.as_str())) {
        return Err(denied());
    }
    if app
        .policy
        .as_ref()
        .is_some_and(|policy| !policy.contains(&address))
    {
        return Err(Answer::error(
            403,
            "ErrorAccessDenied",
            "Access to OData is disabled.",
        ));
    }
    Ok(())
}

pub(crate) fn no_route(segment: &str) -> Answer {
    Answer::error(
        400,
        "BadRequest",
        &format!("Resource not found for the segment '{segment}'."),
    )
}

fn route(desk: &mut Desk<'_>, rest: &[&str]) -> Result<Answer, Answer> {
    if let Some(token) = desk.asked.query().get("$skiptoken").cloned() {
        return pages::go_on(desk, &token, rest);
    }
    routed(desk, rest, 0)
}

/// Answers, from the item numbered `skip` on where it is a list.
pub(crate) fn routed(desk: &mut Desk<'_>, rest: &[&str], skip: usize) -> Result<Answer, Answer> {
    match *rest {
        ["mailFolders", "delta"] => delta::folders(desk),
        ["mailFolders", _, "childFolders", ref more @ ..] if !more.is_empty() => {
            let mut whole = vec!["mailFolders"];
            whole.extend_from_slice(more);
            routed(desk, &whole, skip)
        }
        ["mailFolders", folder, "messages", "delta"] => delta::messages(desk, folder),
        ["mailFolders", folder, "messages"] => messages::collection(desk, Some(folder), skip),
        ["mailFolders", folder, "messages", "$count"] => messages::count(desk, folder),
        ["mailFolders", folder, "messages", message, ref more @ ..] => {
            let folder = folders::find(desk, folder)?.key;
            let found = messages::find(desk, message)?;
            if found.folder != folder {
                return Err(not_found());
            }
            messages::one(desk, message, more, skip)
        }
        ["mailFolders", ref more @ ..] => folders::answer(desk, more, skip),
        ["messages"] => messages::collection(desk, None, skip),
        ["messages", message, ref more @ ..] => messages::one(desk, message, more, skip),
        ["sendMail"] => send::send_mail(desk),
        [first, ..] => Err(no_route(first)),
        [] => Err(no_route("")),
    }
}

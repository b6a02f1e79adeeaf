//! `explain login` and `explain access`: what the chain and the plan would say, without a secret.
//!
//! Invariant: nothing here makes a proof of anybody; it reads what the world would decide.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use portreeve_auth::{Audience, Candidate, CredentialKind, Explained, Inquiry, StepKind};
use portreeve_model::{Door, GroupName, Origin, UserName, VPath, Verb};
use portreeve_session::{Plan, World};
use serde_json::{Value as Json, json};

/// What a try to sign in would come to: step by step, and in the end.
pub(super) async fn login(
    world: &World,
    door: Door,
    listener: &str,
    user: &str,
    from: IpAddr,
    credential: &str,
) -> Result<Json, String> {
    let user = name(user)?;
    let origin = origin(door, listener, from);
    let chain = world.chain(listener);
    let kind = KINDS
        .into_iter()
        .find(|kind| kind.name() == credential)
        .ok_or_else(|| format!("'{credential}' is no credential: there are password and public-key"))?;
    let explained = chain.explain(&inquiry(&user, &origin, kind)).await;
    let steps: Vec<Json> = chain
        .steps()
        .iter()
        .map(|step| {
            let said = explained.trail.iter().find(|said| said.step == *step.name);
            let takes = match &step.kind {
                StepKind::Gate(_) => Json::Null,
                StepKind::Method { method, .. } => json!(method.takes().contains(&kind)),
            };
            json!({
                "step": &*step.name,
                "kind": if matches!(step.kind, StepKind::Gate(_)) { "gate" } else { "method" },
                "takes_credential": takes,
                "verdict": said.map_or("not asked", |said| said.verdict),
                "why": said.map(|said| said.why.as_str()).unwrap_or_default(),
            })
        })
        .collect();
    let mut answer = json!({
        "user": user.as_str(), "from": from.to_string(), "listener": listener, "credential": credential,
        "steps": steps, "gates": if explained.denied.is_some() { "refuse" } else { "admit" },
        "method": null, "groups": [], "mounts": [],
    });
    let fate = fate(&explained, kind);
    // Of somebody who is barred it is worth knowing who it would be.
    let Some(who) = explained.open().or_else(|| explained.candidates.first()) else {
        set(
            &mut answer,
            "result",
            json!(fate.unwrap_or_else(|refused| refused)),
        );
        return Ok(answer);
    };
    set(&mut answer, "method", json!(&*who.step));
    let seen = seen(world, who, &mut answer);
    let result = fate.and_then(|let_in| seen.map(|()| let_in));
    set(
        &mut answer,
        "result",
        json!(result.unwrap_or_else(|refused| refused)),
    );
    Ok(answer)
}

/// What the chain makes of a try; `Err` where no credential of the kind would help.
fn fate(explained: &Explained, kind: CredentialKind) -> Result<String, String> {
    if let Some(why) = &explained.denied {
        return Err(format!("a gate refuses: {why}"));
    }
    let silent = explained.trail.iter().filter(|said| said.verdict == "silent");
    let silent: String = silent
        .map(|said| {
            format!(
                "; '{}' comes before and may decide: it says nothing without a credential",
                said.step
            )
        })
        .collect();
    let mut open = explained
        .candidates
        .iter()
        .filter(|candidate| candidate.barred.is_none());
    if let Some(first) = open.next() {
        let others: String = open
            .map(|other| {
                format!(
                    "; one that is wrong for '{}' may be right for '{}'",
                    first.step, other.step
                )
            })
            .collect();
        return Ok(format!("let in, if the credential is right{others}{silent}"));
    }
    if let Some((step, why)) = &explained.ended {
        return Err(format!("refused by '{step}': {}{silent}", why.0));
    }
    let barred = explained.candidates.iter().filter_map(|candidate| {
        let why = candidate.barred.as_ref()?;
        Some(format!("refused by '{}': {}", candidate.step, why.0))
    });
    match barred.collect::<Vec<_>>() {
        none if none.is_empty() => Err(format!(
            "no step that takes a {} knows this name{silent}",
            kind.name()
        )),
        all => Err(format!("{}{silent}", all.join("; "))),
    }
}

/// Adds the groups and mounts of a candidate; `Err` where it would have none, and hence not be let in.
fn seen(world: &World, who: &Candidate, answer: &mut Json) -> Result<(), String> {
    let parts = world
        .resolver()
        .resolve_parts(&who.step, &who.identity, Audience::Transfer)
        .map_err(|denial| format!("refused: {}", denial.why))?;
    set(
        answer,
        "groups",
        parts.groups.iter().map(|group| json!(group.as_str())).collect(),
    );
    let plan = world
        .plan(&parts.user, &parts.groups, &who.identity.claims)
        .map_err(|error| format!("refused: {error}"))?;
    set(answer, "mounts", mounts(&plan));
    Ok(())
}

/// What somebody may do with a path, and what decides. With a listener, as its part of the chain knows
/// them; without one, as the whole chain does.
pub(super) async fn access(
    world: &World,
    at: Option<(Door, &str)>,
    user: &str,
    path: &str,
    verb: Option<&str>,
) -> Result<Json, String> {
    let user = name(user)?;
    let path = VPath::parse(path).map_err(|error| format!("{path:?}: {error}"))?;
    if let Some(word) = verb
        && !Verb::ALL.iter().any(|verb| verb.name() == word)
    {
        let all: Vec<&str> = Verb::ALL.iter().map(|verb| verb.name()).collect();
        return Err(format!("'{word}' is no verb; there are {}", all.join(", ")));
    }
    let (door, listener) = at.unwrap_or((Door::Sftp, ""));
    let chain = world.chain(listener);
    let shown = match at {
        Some((_, listener)) => format!("of the listener '{listener}'"),
        None => {
            "the whole chain: a listener with steps of its own may know somebody else (--protocol)".to_owned()
        }
    };
    // Gates may judge the address: access is asked as if from this machine.
    let origin = origin(door, listener, IpAddr::from([127, 0, 0, 1]));
    let (mut found, mut credentials) = (None::<(Candidate, Result<String, String>)>, Vec::new());
    for kind in chain.takes() {
        let mut explained = chain.explain(&inquiry(&user, &origin, kind)).await;
        let fate = fate(&explained, kind);
        let open = explained
            .candidates
            .iter()
            .position(|candidate| candidate.barred.is_none());
        if explained.candidates.is_empty() {
            continue;
        }
        let who = explained.candidates.swap_remove(open.unwrap_or(0));
        let told = match &fate {
            Ok(_) => format!("{}: by '{}'", kind.name(), who.step),
            Err(refused) => format!("{}: {refused}", kind.name()),
        };
        credentials.push(told);
        // Of several persons of one name the first who can come in is told about.
        if found
            .as_ref()
            .is_none_or(|(_, before)| before.is_err() && fate.is_ok())
        {
            found = Some((who, fate));
        }
    }
    let (who, _) = found.ok_or_else(|| format!("no step of the chain knows '{user}' ({shown})"))?;
    let parts = world
        .resolver()
        .resolve_parts(&who.step, &who.identity, Audience::Transfer)
        .map_err(|denial| denial.why)?;
    let plan = world
        .plan(&parts.user, &parts.groups, &who.identity.claims)
        .map_err(|error| error.to_string())?;
    let found = plan.explain(&path);
    let first = found.first();
    let verbs: Vec<Json> = found
        .iter()
        .filter(|explained| verb.is_none_or(|word| explained.verb.name() == word))
        .map(|explained| {
            json!({ "verb": explained.verb.name(), "allowed": explained.allowed, "because": explained.because })
        })
        .collect();
    Ok(json!({
        "user": parts.user.as_str(), "method": &*who.step, "chain": shown, "sign_in": credentials,
        "groups": parts.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
        "path": path.to_string(),
        "mount": first.and_then(|e| e.mount.as_ref()).map(ToString::to_string),
        "storage": first.and_then(|e| e.storage.clone()),
        "group": first.and_then(|e| e.group.clone()),
        "verbs": verbs,
    }))
}

const KINDS: [CredentialKind; 4] = [
    CredentialKind::Password,
    CredentialKind::PublicKey,
    CredentialKind::Reply,
    CredentialKind::Nothing,
];

fn inquiry<'a>(user: &'a UserName, origin: &'a Origin, credential: CredentialKind) -> Inquiry<'a> {
    Inquiry {
        user,
        audience: Audience::Transfer,
        credential,
        origin,
        at: SystemTime::now(),
    }
}

fn mounts(plan: &Plan) -> Json {
    let mounts = plan.grants().iter().map(|grant| {
        json!({
            "path": grant.mount().to_string(), "storage": grant.storage(), "subpath": grant.within().to_string(),
            "group": grant.group().as_str(),
            "verbs": grant.verbs().iter().map(Verb::name).collect::<Vec<_>>(),
        })
    });
    mounts.collect()
}

fn name(user: &str) -> Result<UserName, String> {
    UserName::new(user).map_err(|error| format!("{user:?}: {error}"))
}

fn origin(door: Door, listener: &str, from: IpAddr) -> Origin {
    let here = SocketAddr::new(
        if from.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0u16; 8].into()
        },
        0,
    );
    Origin::new(door, listener.into(), SocketAddr::new(from, 0), here)
}

fn set(answer: &mut Json, key: &str, value: Json) {
    if let Some(object) = answer.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;

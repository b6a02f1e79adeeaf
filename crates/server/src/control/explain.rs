//! `explain login` and `explain access`: what the chain and the plan would say, without a secret.
//!
//! Invariant: nothing here makes a proof of anybody; it reads what the world would decide.

use std::net::{IpAddr, SocketAddr};

use portreeve_auth::{Audience, StepKind};
use portreeve_model::{Door, GroupName, Origin, UserName, VPath, Verb};
use portreeve_session::{Plan, World};
use serde_json::{Value as Json, json};

/// What each step of the chain would say about a name from an address.
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
    let kinds = ["password", "public-key", "reply", "none"];
    if !kinds.contains(&credential) {
        return Err(format!(
            "'{credential}' is no credential: there are password and public-key"
        ));
    }
    let explained = chain.explain(&origin, &user, Audience::Transfer).await;
    let steps: Vec<Json> = chain
        .steps()
        .iter()
        .map(|step| {
            let said = explained.trail.iter().find(|said| said.step == *step.name);
            let takes = match &step.kind {
                StepKind::Gate(_) => Json::Null,
                StepKind::Method { method, .. } => {
                    json!(method.takes().iter().any(|kind| kind.name() == credential))
                }
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
    let denied = explained.trail.iter().any(|said| said.verdict == "deny");
    let mut answer = json!({
        "user": user.as_str(), "from": from.to_string(), "listener": listener, "credential": credential,
        "steps": steps, "gates": if denied { "refuse" } else { "admit" },
        "method": null, "groups": [], "mounts": [],
    });
    let Some((step, identity)) = explained.identity else {
        set(&mut answer, "result", json!("no step knows this name"));
        return Ok(answer);
    };
    set(&mut answer, "method", json!(&*step));
    let parts = match world
        .resolver()
        .resolve_parts(&step, &identity, Audience::Transfer)
    {
        Ok(parts) => parts,
        Err(denial) => {
            set(&mut answer, "result", json!(denial.why));
            return Ok(answer);
        }
    };
    set(
        &mut answer,
        "groups",
        parts.groups.iter().map(|group| json!(group.as_str())).collect(),
    );
    match world.plan(&parts.user, &parts.groups, &identity.claims) {
        Ok(plan) => {
            set(&mut answer, "mounts", mounts(&plan));
            let result = if denied {
                "a gate refuses"
            } else {
                "let in, if the credential is right"
            };
            set(&mut answer, "result", json!(result));
        }
        Err(error) => set(&mut answer, "result", json!(error.to_string())),
    }
    Ok(answer)
}

/// What somebody may do with a path, and what decides.
pub(super) async fn access(
    world: &World,
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
    // Gates may judge the address: access is asked as if from this machine.
    let origin = origin(Door::Sftp, "", IpAddr::from([127, 0, 0, 1]));
    let explained = world.chain("").explain(&origin, &user, Audience::Transfer).await;
    let (step, identity) = explained
        .identity
        .ok_or_else(|| format!("no step of the chain knows '{user}'"))?;
    let parts = world
        .resolver()
        .resolve_parts(&step, &identity, Audience::Transfer)
        .map_err(|denial| denial.why)?;
    let plan = world
        .plan(&parts.user, &parts.groups, &identity.claims)
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
        "user": parts.user.as_str(), "method": &*step,
        "groups": parts.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
        "path": path.to_string(),
        "mount": first.and_then(|e| e.mount.as_ref()).map(ToString::to_string),
        "storage": first.and_then(|e| e.storage.clone()),
        "group": first.and_then(|e| e.group.clone()),
        "verbs": verbs,
    }))
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

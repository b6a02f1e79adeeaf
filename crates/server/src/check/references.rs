//! What refers to what: names that must be unique, names that must exist, and settings that contradict
//! each other.

use std::{collections::HashMap, sync::Arc};

use portreeve_auth::{Anonymous, BanList, DenyUsername, FileProblems, IpTimeBan, local_file_accounts};
use portreeve_model::{GroupName, UserName};
use portreeve_session::MountPlan;
use portreeve_vfs::Memory;

use super::{
    problem::{Problem, did_you_mean},
    read::Partial,
    tree::{Node, Span},
    twins::{self, any_private},
};
use crate::options::{Protocol, StepKind};

/// Adds every problem.
pub(super) fn check(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    listeners(tree, config, problems);
    steps(tree, config, problems);
    mounts(tree, config, problems);
    built(tree, config, problems);
    doors(tree, config, problems);
    store(tree, config, problems);
    limits(tree, config, problems);
}

/// The names under a table of tables, whether or not their content is right.
fn names<'a>(tree: &'a Node, section: &str) -> Vec<&'a str> {
    tree.get(section)
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|entry| entry.key.as_str())
        .collect()
}

fn unknown(span: Span, what: &str, name: &str, known: &[&str]) -> Problem {
    let problem = Problem::new(span, format!("there is no {what} '{name}'"));
    let hint = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known {
        [] => format!("no {what} is configured"),
        known => format!("there are {}", known.join(", ")),
    });
    problem.hint(hint)
}

fn listeners(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let steps: Vec<&str> = config.steps.iter().map(|(_, step)| &*step.name).collect();
    for (index, (at, listener)) in config.listeners.iter().enumerate() {
        let earlier = config.listeners.get(..index).unwrap_or_default();
        if earlier.iter().any(|(_, other)| other.name == listener.name) {
            let problem = Problem::new(
                tree.place(&format!("listener.{at}.name")),
                format!("two listeners are called '{}'", listener.name),
            );
            problems.push(problem.hint("give each a name of its own: name = \"…\""));
        }
        if let Some((_, other)) = earlier
            .iter()
            .find(|(_, other)| other.address == listener.address && listener.address.port() != 0)
        {
            problems.push(Problem::new(
                tree.place(&format!("listener.{at}.address")),
                format!(
                    "the address {} is taken by the listener '{}'",
                    listener.address, other.name
                ),
            ));
        }
        let Some(named) = &listener.auth else {
            continue;
        };
        for (position, name) in named.iter().enumerate() {
            if !steps.contains(&name.as_str()) {
                let span = tree.place(&format!("listener.{at}.auth.{position}"));
                problems.push(unknown(span, "[[auth]] step", name, &steps));
            }
        }
        let counts = |name: &str| {
            config
                .steps
                .iter()
                .any(|(_, step)| *step.name == *name && step.enabled && step.kind.method().is_some())
        };
        let all_known = named.iter().all(|name| steps.contains(&name.as_str()));
        if all_known && !named.iter().any(|name| counts(name)) {
            let span = tree.place(&format!("listener.{at}.auth"));
            let message = format!(
                "no method among these steps: nobody could sign in at '{}'",
                listener.name
            );
            problems.push(Problem::new(span, message).hint("gates refuse; add a method that accepts"));
        }
    }
}

fn steps(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let (groups, roles) = (names(tree, "groups"), names(tree, "roles"));
    for (index, (at, step)) in config.steps.iter().enumerate() {
        let earlier = config.steps.get(..index).unwrap_or_default();
        if earlier.iter().any(|(_, other)| other.name == step.name) {
            let span = tree.place(&format!("auth.{at}.name"));
            let problem = Problem::new(span, format!("two [[auth]] steps are called '{}'", step.name));
            problems.push(problem.hint("give each a name of its own: name = \"…\""));
        }
        if let Some(method) = step.kind.method() {
            let none = Vec::new();
            let own = match &step.kind {
                StepKind::Anonymous(_, options) => &options.groups,
                _ => &none,
            };
            for (key, given, known, what) in [
                ("base_groups", &method.base_groups, &groups, "group"),
                ("base_roles", &method.base_roles, &roles, "role"),
                ("groups", own, &groups, "group"),
            ] {
                for (position, name) in given
                    .iter()
                    .enumerate()
                    .filter(|(_, name)| !known.contains(&name.as_str()))
                {
                    let span = tree.place(&format!("auth.{at}.{key}.{position}"));
                    problems.push(unknown(span, what, name, known));
                }
            }
        }
    }
    let mut bans = config
        .steps
        .iter()
        .filter(|(_, step)| matches!(step.kind, StepKind::IpTimeBan(..)));
    if let (Some((_, first)), Some((at, _))) = (bans.next(), bans.next()) {
        let span = tree.place(&format!("auth.{at}.type"));
        let problem = Problem::new(
            span,
            format!(
                "'{}' is an ip-time-ban already: two would count twice",
                first.name
            ),
        );
        problems.push(problem.hint("keep one; all listeners share its bans"));
    }
    let whole = tree.get("auth").map(Node::items).unwrap_or_default().len() == config.steps.len();
    let accepts = config
        .steps
        .iter()
        .any(|(_, step)| step.enabled && step.kind.method().is_some());
    if whole && !config.steps.is_empty() && !accepts {
        let problem = Problem::new(
            tree.place("auth.0"),
            "no method is enabled: nobody could sign in".to_owned(),
        );
        problems.push(problem.hint("gates refuse; add a step of type \"application\" or \"local-file\""));
    }
}

fn mounts(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let storages = names(tree, "storage");
    for group in config.groups() {
        let mut taken: HashMap<&str, usize> = HashMap::new();
        for (at, mount) in group.options.mounts.iter().enumerate() {
            let place = |key: &str| tree.place(&format!("groups.{}.mounts.{at}.{key}", group.name));
            if !storages.contains(&mount.storage.as_str()) {
                problems.push(unknown(place("storage"), "[storage]", &mount.storage, &storages));
            }
            let plain = mount.path.trim_end_matches('/');
            if taken.insert(plain, at).is_some() {
                let message = format!("'{}' is mounted twice in this group", mount.path);
                problems.push(Problem::new(place("path"), message));
            }
            // The rules of a mount are judged where they are compiled; the storage does not matter.
            if let Err(found) = MountPlan::new(mount, Arc::new(Memory::new())) {
                problems.extend(found.into_iter().map(|message| {
                    let key = message.split(':').next().unwrap_or_default().to_owned();
                    Problem::new(place(&key), message)
                }));
            }
        }
    }
}

/// The options of steps, by building them; and the accounts of local files, by reading them.
fn built(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let groups: Vec<GroupName> = names(tree, "groups")
        .into_iter()
        .filter_map(|name| GroupName::new(name).ok())
        .collect();
    let private = any_private(config.groups());
    let mut known = Vec::new();
    for (index, (at, step)) in config.steps.iter().enumerate() {
        let mut knows = |accounts| {
            known.push(twins::Known {
                step: index,
                accounts,
            });
        };
        let wrong = match &step.kind {
            StepKind::IpTimeBan(_, options) => IpTimeBan::new(options, Arc::new(BanList::new(None)))
                .map(|_| ())
                .err(),
            StepKind::DenyUsername(_, options) => DenyUsername::new(options, &[]).map(|_| ()).err(),
            StepKind::Anonymous(_, options) => {
                let own = options.groups.iter().filter_map(|name| GroupName::new(name).ok());
                let own: Vec<GroupName> = own.collect();
                let names = options
                    .usernames
                    .iter()
                    .filter_map(|name| UserName::new(name).ok());
                knows(names.map(|name| (name, own.clone())).collect());
                Anonymous::new(options).map(|_| ()).err()
            }
            StepKind::Application(..) => None,
            StepKind::LocalFile(shared, options) => {
                let span = tree.place(&format!("auth.{at}.path"));
                let private = private.then_some(shared.remove_username_suffix.as_slice());
                match local_file_accounts(options, Some(&groups), private) {
                    Ok(accounts) => knows(accounts),
                    Err(FileProblems(found)) => problems.extend(found.into_iter().map(|found| {
                        // Line 0 is the file as a whole, which the message names.
                        let place = match found.line {
                            0 => String::new(),
                            line => format!("{}:{line}:{}: ", options.path.display(), found.column),
                        };
                        let problem = Problem::new(span.clone(), format!("{place}{}", found.message));
                        Problem {
                            hint: found.hint,
                            ..problem
                        }
                    })),
                }
                None
            }
        };
        if let Some(error) = wrong {
            let span = tree.place(&format!("auth.{at}.{}", error.option));
            problems.push(Problem::new(span, format!("'{}' {}", error.option, error.why)));
        }
    }
    twins::check(tree, config, &known, problems);
}

/// The options of doors, by building what needs nothing from outside.
fn doors(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    for (at, listener) in &config.listeners {
        let wrong = match &listener.protocol {
            Protocol::Https(options) => options.check().map(drop).map_err(|error| vec![error.to_string()]),
            Protocol::Ftps(options) => options.check(),
            Protocol::Sftp(options) => options.check(),
        };
        for message in wrong.err().into_iter().flatten() {
            let key = message.split([':', ' ']).next().unwrap_or_default().to_owned();
            problems.push(Problem::new(tree.place(&format!("listener.{at}.{key}")), message));
        }
    }
}

fn store(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let url = &config.sections().store.url;
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let message = "store 'postgres' is not built yet in this version".to_owned();
        problems.push(Problem::new(tree.place("store.url"), message).hint("write \"sqlite:portreeve.db\""));
    } else if !url.starts_with("sqlite:") {
        let problem = Problem::new(tree.place("store.url"), format!("'{url}' is no store"));
        problems.push(problem.hint("write \"sqlite:portreeve.db\""));
    }
}

/// Limits of nothing: nobody could do anything.
fn limits(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    let limits = &config.sections().limits;
    for (name, is_zero) in [
        ("connections", limits.connections == 0),
        ("connections_per_ip", limits.connections_per_ip == 0),
        ("sessions_per_user", limits.sessions_per_user == 0),
        ("auth_attempts", limits.auth_attempts == 0),
        ("login_grace", limits.login_grace.0.is_zero()),
        ("idle", limits.idle.0.is_zero()),
    ] {
        if is_zero {
            let message = format!("'{name}' must be more than 0");
            problems.push(Problem::new(tree.place(&format!("limits.{name}")), message));
        }
    }
}

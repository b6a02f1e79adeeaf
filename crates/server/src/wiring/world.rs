//! A world from a configuration: chain, resolver, plans and limits.

use std::{collections::BTreeMap, sync::Arc};

use portreeve_auth::{GroupRule, Resolver, RoleRule, StepRules};
use portreeve_model::{GroupName, RoleName};
use portreeve_session::{GroupPlan, MountPlan, World};

use super::{Backends, Lasting, Methods};
use crate::{check::any_private, options::Config};

/// Builds the world. Blocks on the file system.
///
/// # Errors
/// Everything that cannot be built, each a sentence.
pub(crate) fn build(
    config: &Config,
    lasting: &Lasting,
    backends: &Backends,
    methods: &Methods,
) -> Result<(World, Backends, Methods), Vec<String>> {
    let mut problems = Vec::new();
    let backends = backends.open(&config.storages, lasting).unwrap_or_else(|found| {
        problems.extend(found);
        Backends::default()
    });
    let names: Vec<GroupName> = config.groups.iter().map(|group| group.name.clone()).collect();
    let built = methods.build(&config.steps, &names, any_private(&config.groups), lasting);
    let (chain, methods) = built.unwrap_or_else(|found| {
        problems.extend(found);
        Default::default()
    });
    let groups = plans(config, &backends, &mut problems);
    let mut parts = Vec::new();
    for listener in &config.listeners {
        if let Some(names) = &listener.auth {
            match chain.subset(names) {
                Ok(part) => parts.push((Arc::clone(&listener.name), part)),
                Err(unknown) => {
                    problems.push(format!(
                        "listener '{}': there is no step '{unknown}'",
                        listener.name
                    ));
                }
            }
        }
    }
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    let changes = chain.clone();
    let mut world = World::new(chain, resolver(config), groups, config.limits.clone())
        .with_changes(Arc::new(move || changes.generation()))
        .with_listeners(config.listeners.iter().map(|listener| Arc::clone(&listener.name)));
    for (name, part) in parts {
        world = world.with_listener(name, part);
    }
    Ok((world, backends, methods))
}

fn plans(config: &Config, backends: &Backends, problems: &mut Vec<String>) -> BTreeMap<GroupName, GroupPlan> {
    let mut groups = BTreeMap::new();
    for group in &config.groups {
        let mut plan = GroupPlan::default();
        for mount in &group.options.mounts {
            // A storage that could not be opened has been told already.
            let Some(backend) = backends.of(&mount.storage) else {
                continue;
            };
            match MountPlan::new(mount, backend) {
                Ok(mount) => plan.mounts.push(mount),
                Err(found) => {
                    problems.extend(
                        found
                            .into_iter()
                            .map(|why| format!("[groups.{}]: {why}", group.name)),
                    );
                }
            }
        }
        groups.insert(group.name.clone(), plan);
    }
    groups
}

fn resolver(config: &Config) -> Resolver {
    let groups = config.groups.iter().map(|group| GroupRule {
        group: group.name.clone(),
        external: group.options.external.clone(),
    });
    let roles = config.roles.iter().map(|role| RoleRule {
        role: role.name.clone(),
        external: role.options.external.clone(),
    });
    let mut resolver = Resolver::new(groups.collect(), roles.collect());
    for step in &config.steps {
        if let Some(method) = step.kind.method() {
            // Their names were checked against the sections of the configuration.
            let rules = StepRules {
                base_groups: method
                    .base_groups
                    .iter()
                    .filter_map(|name| GroupName::new(name).ok())
                    .collect(),
                base_roles: method
                    .base_roles
                    .iter()
                    .filter_map(|name| RoleName::new(name).ok())
                    .collect(),
                remove_username_suffix: method.remove_username_suffix.clone(),
            };
            resolver = resolver.with_step(Arc::clone(&step.name), rules);
        }
    }
    resolver
}

//! Answers requests: in the running server, or in the command line where no server runs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use portreeve_auth::{Accounts, BanList};
use portreeve_model::{Act, Door, Event, Outcome, SessionId};
use portreeve_session::{Gatekeeper, SessionInfo, World, audit::Audit};
use serde_json::{Value as Json, json};

use super::{AccountRequest, Realm, Request, SecretDesk, accounts, accounts::rfc3339, explain, secrets};
use crate::options::Config;

/// Behind which counter one sits.
pub enum Seat {
    /// In the running server.
    Running(Gatekeeper),
    /// Where none runs.
    Alone {
        /// What the configuration says; none where the request does not need it.
        world: Option<Arc<World>>,
        /// Where changes are recorded.
        audit: Audit,
    },
}

/// What requests are answered from.
pub struct Desk {
    /// Where one sits.
    pub seat: Seat,
    /// The accounts.
    pub accounts: Arc<dyn Accounts>,
    /// The sealed secrets.
    pub secrets: Arc<dyn SecretDesk>,
    /// The bans.
    pub bans: Arc<BanList>,
    /// Names and doors of the listeners.
    pub listeners: Vec<(Arc<str>, Door)>,
    /// Names of the groups and of the roles that the configuration has.
    pub sections: (Vec<String>, Vec<String>),
    /// What the steps of the configuration cut off names.
    pub suffixes: Vec<String>,
}

impl Desk {
    /// Answers one request. `who` is recorded with a change.
    ///
    /// # Errors
    /// A sentence: what is wrong and what to do.
    pub async fn answer(&self, request: Request, who: &str) -> Result<Json, String> {
        let began = std::time::Instant::now();
        let change = request.change();
        let answer = self.act(request).await;
        if let Some(change) = change {
            let outcome = match &answer {
                Ok(_) => Outcome::Ok,
                Err(why) => Outcome::Failed(why.clone()),
            };
            let event = Event {
                at: SystemTime::now(),
                connection: None,
                session: None,
                origin: None,
                user: Some(who.to_owned()),
                act: Act::Admin { change },
                item: None,
                outcome,
                took: began.elapsed(),
            };
            if let Err(fault) = self.record(&event) {
                return Err(format!("it was done, but could not be recorded: {fault}"));
            }
        }
        answer
    }

    /// What the steps of a configuration cut off names.
    #[must_use]
    pub fn suffixes_of(config: &Config) -> Vec<String> {
        let methods = config.steps.iter().filter_map(|step| step.kind.method());
        methods
            .flat_map(|method| method.remove_username_suffix.iter().cloned())
            .collect()
    }

    /// What a desk has to know of a configuration's groups and roles.
    #[must_use]
    pub fn sections_of(config: &Config) -> (Vec<String>, Vec<String>) {
        let groups = config.groups.iter().map(|group| group.name.to_string());
        let roles = config.roles.iter().map(|role| role.name.to_string());
        (groups.collect(), roles.collect())
    }

    fn record(&self, event: &Event) -> Result<(), String> {
        let recorded = match &self.seat {
            Seat::Running(gate) => gate.record(event),
            Seat::Alone { audit, .. } => audit.record(event),
        };
        recorded.map_err(|fault| fault.to_string())
    }

    async fn act(&self, request: Request) -> Result<Json, String> {
        match request {
            Request::Status | Request::Reload => Err(NO_SERVER.to_owned()),
            Request::SessionList => {
                let gate = self.gate()?;
                Ok(gate.sessions().iter().map(session).collect())
            }
            Request::SessionKill { session } => {
                let gate = self.gate()?;
                let id =
                    SessionId::parse(&session).ok_or_else(|| format!("'{session}' is no session's id"))?;
                if gate.kill(id) {
                    Ok(json!({ "killed": session }))
                } else {
                    Err(format!("there is no session {session}"))
                }
            }
            Request::BanList => {
                let bans = self.bans.list();
                let shown = bans.iter().map(|ban| {
                    json!({
                        "address": ban.source.to_string(), "since": rfc3339(ban.since),
                        "remaining_s": ban.remaining.as_secs(), "reason": ban.reason,
                    })
                });
                Ok(shown.collect())
            }
            Request::BanAdd {
                address,
                length,
                reason,
            } => {
                if length.0 < Duration::from_secs(1) {
                    return Err("a ban lasts a second or more".to_owned());
                }
                let ban = self.bans.ban(address, length.0, &reason);
                self.bans.flush().await.map_err(|error| error.to_string())?;
                Ok(json!({ "address": ban.source.to_string(), "remaining_s": ban.remaining.as_secs() }))
            }
            Request::BanRemove { address } => {
                let lifted = self.bans.lift(address);
                self.bans.flush().await.map_err(|error| error.to_string())?;
                if lifted {
                    Ok(json!({ "lifted": address.to_string() }))
                } else {
                    Err(format!("{address} is not banned"))
                }
            }
            Request::Account { realm, what } => {
                self.known_sections(realm, &what)?;
                accounts::run(&*self.accounts, &self.suffixes, realm, what).await
            }
            Request::Secret { what } => secrets::run(&*self.secrets, what).await,
            Request::ExplainLogin {
                user,
                from,
                listener,
                credential,
            } => {
                let (door, name) = self.listener(&listener)?;
                explain::login(&*self.world()?, door, name, &user, from, &credential).await
            }
            Request::ExplainAccess {
                user,
                path,
                verb,
                listener,
            } => {
                let at = listener.as_deref().map(|word| self.listener(word)).transpose()?;
                explain::access(&*self.world()?, at, &user, &path, verb.as_deref()).await
            }
        }
    }

    /// A listener by its name or its protocol.
    fn listener(&self, word: &str) -> Result<(Door, &str), String> {
        let found = self.listeners.iter().find(|(name, _)| **name == *word);
        let found = found.or_else(|| self.listeners.iter().find(|(_, door)| door.name() == word));
        let (name, door) = found.ok_or_else(|| {
            let names: Vec<&str> = self.listeners.iter().map(|(name, _)| &**name).collect();
            format!("there is no listener '{word}'; there are {}", names.join(", "))
        })?;
        Ok((*door, name))
    }

    /// A group that nothing describes lets nobody in: more likely it was mistyped than meant.
    fn known_sections(&self, realm: Realm, what: &AccountRequest) -> Result<(), String> {
        let (AccountRequest::Add { member_of, .. } | AccountRequest::MemberOf { member_of, .. }) = what
        else {
            return Ok(());
        };
        let (word, section, known) = match realm {
            Realm::Transfer => ("group", "groups", &self.sections.0),
            Realm::Admin => ("role", "roles", &self.sections.1),
        };
        let Some(unknown) = member_of.iter().find(|name| !known.contains(name)) else {
            return Ok(());
        };
        let there = match known.as_slice() {
            [] => "it has none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        Err(format!(
            "the configuration has no {word} '{unknown}' ({there}): take one of these, or describe it in [{section}.{unknown}] first"
        ))
    }

    fn gate(&self) -> Result<&Gatekeeper, String> {
        match &self.seat {
            Seat::Running(gate) => Ok(gate),
            Seat::Alone { .. } => Err(NO_SERVER.to_owned()),
        }
    }

    fn world(&self) -> Result<Arc<World>, String> {
        match &self.seat {
            Seat::Running(gate) => Ok(gate.world()),
            Seat::Alone { world, .. } => world
                .clone()
                .ok_or_else(|| "there is no configuration".to_owned()),
        }
    }
}

const NO_SERVER: &str = "no server is running with this data_dir";

fn session(info: &SessionInfo) -> Json {
    json!({
        "id": info.id.to_string(), "user": info.user, "method": info.method,
        "door": info.origin.door.name(), "listener": &*info.origin.listener, "peer": info.origin.peer.to_string(),
        "since": rfc3339(info.since), "idle_s": info.idle.as_secs(),
        "bytes_read": info.bytes_read, "bytes_written": info.bytes_written, "transfers": info.transfers,
    })
}

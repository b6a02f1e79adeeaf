//! The tree, section by section, as options: first against the schema, then through serde.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use portreeve_model::{GroupName, RoleName, options::SecretText};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{
    problem::{Problem, did_you_mean},
    tree::{Entry, Node, Value},
    validate::validate,
};
use crate::options::{
    AUTH, Config, Family, Group, LISTENER, Listener, ListenerOptions, MetricsOptions, Protocol, Role,
    STORAGE, Step, StepKind, Storage, StorageKind, schema,
};

/// What could be read: elements keep their position in the file, so that problems found later have a
/// place.
pub(super) struct Partial {
    config: Config,
    /// Listeners with their position under `listener`.
    pub(super) listeners: Vec<(usize, Listener)>,
    /// Steps with their position under `auth`.
    pub(super) steps: Vec<(usize, Step)>,
}

impl Partial {
    /// The configuration, once nobody found a problem.
    pub(super) fn whole(self) -> Config {
        Config {
            listeners: self.listeners.into_iter().map(|(_, listener)| listener).collect(),
            steps: self.steps.into_iter().map(|(_, step)| step).collect(),
            ..self.config
        }
    }

    /// Groups, in the order of the file.
    pub(super) fn groups(&self) -> &[Group] {
        &self.config.groups
    }

    /// `[tls]`, `[server]` and the other single sections.
    pub(super) const fn sections(&self) -> &Config {
        &self.config
    }
}

/// Reads one tree.
pub(super) struct Reader<'a> {
    tree: &'a Node,
    schema: Json,
    file: PathBuf,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// `file` is absolute: relative paths of the configuration start in its directory.
    pub(super) fn new(tree: &'a Node, file: &Path) -> Self {
        Self {
            tree,
            schema: schema(),
            file: file.to_owned(),
            problems: Vec::new(),
        }
    }

    /// What was found.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Reads everything that can be read.
    pub(super) fn read(&mut self) -> Partial {
        self.top();
        let mut server: crate::options::ServerOptions = self.section("server");
        server.data_dir = self.absolute(&server.data_dir);
        let metrics: MetricsOptions = self.section("metrics");
        let mut audit: portreeve_session::AuditOptions = self.section("audit");
        for sink in &mut audit.sinks {
            if let portreeve_session::SinkOptions::File { path, .. } = sink {
                *path = server.data_dir.join(&path);
            }
        }
        let storages = self.storages();
        let config = Config {
            file: self.file.clone(),
            store: self.store(),
            spool: self.spool(&server.data_dir),
            tls: self.optional::<crate::options::TlsOptions>("tls").map(|mut tls| {
                tls.certificate = self.absolute(&tls.certificate);
                tls.key = self.absolute(&tls.key);
                tls
            }),
            limits: self.section("limits"),
            metrics: metrics
                .address
                .and_then(|text| self.address(&text, "metrics.address")),
            log: self.section("log"),
            listeners: Vec::new(),
            steps: Vec::new(),
            groups: within_templates(self.groups(), &storages),
            roles: self.roles(),
            storages,
            server,
            audit,
        };
        Partial {
            config,
            listeners: self.listeners(),
            steps: self.steps(),
        }
    }

    fn store(&mut self) -> crate::options::StoreOptions {
        let mut store: crate::options::StoreOptions = self.section("store");
        store.key = store.key.map(|key| self.placed(key));
        store
    }

    fn spool(&mut self, data_dir: &Path) -> crate::options::SpoolOptions {
        let mut spool: crate::options::SpoolOptions = self.section("spool");
        let directory = match spool.directory {
            Some(directory) => self.absolute(&directory),
            None => data_dir.join("spool"),
        };
        spool.directory = Some(directory);
        spool
    }

    /// A secret whose file, where it is kept in one, has its full path.
    fn placed(&self, secret: SecretText) -> SecretText {
        match secret {
            SecretText::File(path) => SecretText::File(self.absolute(&path)),
            other => other,
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("/")).join(path)
    }

    fn schema_at(&self, pointer: &str) -> Json {
        self.schema.pointer(pointer).cloned().unwrap_or(Json::Bool(true))
    }

    /// Unknown and missing sections.
    fn top(&mut self) {
        let properties = self.schema_at("/properties");
        let known: Vec<&str> = properties
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        for entry in self
            .tree
            .entries()
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let problem = Problem::new(entry.key_span.clone(), format!("unknown section '{}'", entry.key));
            let hint = did_you_mean(&entry.key, known.iter().copied())
                .unwrap_or_else(|| format!("the sections are {}", known.join(", ")));
            self.problems.push(problem.hint(hint));
        }
        let missing = |key: &str| self.tree.get(key).is_none();
        if missing("listener") {
            let problem = Problem::new(0..0, "there is no [[listener]]: nobody could connect".to_owned());
            self.problems
                .push(problem.hint("add [[listener]] with protocol = \"sftp\" and an address"));
        }
        if missing("auth") {
            let problem = Problem::new(0..0, "there is no [[auth]]: nobody could sign in".to_owned());
            self.problems
                .push(problem.hint("add [[auth]] with type = \"application\" or \"local-file\""));
        }
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let node = self.tree.get(name)?;
        let schema = self.schema_at(&format!("/properties/{name}"));
        self.one(&schema, node, &format!("[{name}]"))
    }

    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.optional(name).unwrap_or_default()
    }

    /// One element: through the schema, then through serde.
    fn one<T: DeserializeOwned>(&mut self, schema: &Json, node: &Node, what: &str) -> Option<T> {
        self.fits(schema, node, what)
            .then(|| self.options(node.json(), node, what))
            .flatten()
    }

    fn fits(&mut self, schema: &Json, node: &Node, what: &str) -> bool {
        let before = self.problems.len();
        validate(schema, node, what, &mut self.problems);
        self.problems.len() == before
    }

    fn options<T: DeserializeOwned>(&mut self, json: Json, node: &Node, what: &str) -> Option<T> {
        match serde_json::from_value(json) {
            Ok(options) => Some(options),
            Err(error) => {
                let message = error.to_string();
                let span = culprit(node, &message).unwrap_or(node).span.clone();
                self.problems
                    .push(Problem::new(span, format!("{what}: {message}")));
                None
            }
        }
    }

    /// An element of a family as the options that all its kin share and its own.
    fn two<Shared: DeserializeOwned, Own: DeserializeOwned>(
        &mut self,
        family: &Family,
        node: &Node,
        what: &str,
    ) -> Option<(Shared, Own)> {
        let kind = family.kind(node.text(family.tag)?)?;
        let (shared_schema, _) = (kind.schemas?)();
        let is_shared = |key: &str| shared_schema.pointer(&format!("/properties/{key}")).is_some();
        let part = |keep: &dyn Fn(&str) -> bool| {
            let entries = node
                .entries()
                .iter()
                .filter(|entry| entry.key != family.tag && keep(&entry.key));
            Json::Object(
                entries
                    .map(|entry| (entry.key.clone(), entry.node.json()))
                    .collect::<Map<_, _>>(),
            )
        };
        let shared = self.options(part(&is_shared), node, what);
        let own = self.options(part(&|key| !is_shared(key)), node, what);
        Some((shared?, own?))
    }

    /// The elements of `[[name]]` that fit the schema, with their positions.
    fn list(&mut self, name: &str) -> Vec<(usize, &'a Node)> {
        let Some(entry) = self.tree.entry(name) else {
            return Vec::new();
        };
        if !matches!(entry.node.value, Value::List(_)) {
            let message = format!("'{name}' must be a list, not {}", entry.node.kind());
            let problem = Problem::new(entry.key_span.clone(), message);
            self.problems
                .push(problem.hint(format!("write [[{name}]], with two brackets")));
            return Vec::new();
        }
        let schema = self.schema_at(&format!("/properties/{name}/items"));
        let items = entry.node.items().iter().enumerate();
        items
            .filter(|(_, node)| self.fits(&schema, node, &format!("[[{name}]]")))
            .collect()
    }

    /// The entries of `[name.*]` that fit the schema.
    fn tables(&mut self, name: &str) -> Vec<&'a Entry> {
        let Some(node) = self.tree.get(name) else {
            return Vec::new();
        };
        if !matches!(node.value, Value::Table(_)) {
            let problem = Problem::new(
                node.span.clone(),
                format!("'{name}' must be tables, [{name}.NAME]"),
            );
            self.problems.push(problem);
            return Vec::new();
        }
        let schema = self.schema_at(&format!("/properties/{name}/additionalProperties"));
        let entries = node.entries().iter();
        entries
            .filter(|entry| self.fits(&schema, &entry.node, &format!("[{name}.{}]", entry.key)))
            .collect()
    }

    fn listeners(&mut self) -> Vec<(usize, Listener)> {
        let mut listeners = Vec::new();
        for (at, node) in self.list("listener") {
            let Some(word) = node.text(LISTENER.tag) else {
                continue;
            };
            let what = "[[listener]]";
            let read = match word {
                "sftp" => self
                    .two(&LISTENER, node, what)
                    .map(|(shared, own)| (shared, Protocol::Sftp(own))),
                "ftps" => {
                    let read = self.two::<_, portreeve_ftp::FtpOptions>(&LISTENER, node, what);
                    read.map(|(shared, mut own)| {
                        own.client_ca = own.client_ca.map(|path| self.absolute(&path));
                        (shared, Protocol::Ftps(Box::new(own)))
                    })
                }
                "https" => self
                    .two(&LISTENER, node, what)
                    .map(|(shared, own)| (shared, Protocol::Https(own))),
                _ => None,
            };
            let Some((shared, protocol)): Option<(ListenerOptions, Protocol)> = read else {
                continue;
            };
            let trusted = self.networks(&shared.proxy_protocol, &format!("listener.{at}.proxy_protocol"));
            let Some(address) = self.address(&shared.address, &format!("listener.{at}.address")) else {
                continue;
            };
            let name: Arc<str> = shared.name.as_deref().unwrap_or(word).into();
            listeners.push((
                at,
                Listener {
                    name,
                    address,
                    trusted,
                    auth: shared.auth,
                    protocol,
                },
            ));
        }
        listeners
    }

    fn steps(&mut self) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        for (at, node) in self.list("auth") {
            let Some(word) = node.text(AUTH.tag) else {
                continue;
            };
            let what = "[[auth]]";
            let kind = match word {
                "ip-time-ban" => self
                    .two(&AUTH, node, what)
                    .map(|(s, own)| StepKind::IpTimeBan(s, own)),
                "deny-username" => self
                    .two(&AUTH, node, what)
                    .map(|(s, own)| StepKind::DenyUsername(s, own)),
                "local-file" => {
                    let read = self.two::<_, portreeve_auth::LocalFileOptions>(&AUTH, node, what);
                    read.map(|(shared, mut own)| {
                        own.path = self.absolute(&own.path);
                        StepKind::LocalFile(shared, own)
                    })
                }
                "application" => self
                    .two(&AUTH, node, what)
                    .map(|(s, own)| StepKind::Application(s, own)),
                "anonymous" => self
                    .two(&AUTH, node, what)
                    .map(|(s, own)| StepKind::Anonymous(s, own)),
                _ => None,
            };
            let Some(kind) = kind else {
                continue;
            };
            let (name, enabled) = match &kind {
                StepKind::IpTimeBan(shared, _) | StepKind::DenyUsername(shared, _) => {
                    (&shared.name, shared.enabled)
                }
                StepKind::LocalFile(shared, _)
                | StepKind::Application(shared, _)
                | StepKind::Anonymous(shared, _) => (&shared.name, shared.enabled),
            };
            let name: Arc<str> = name.as_deref().unwrap_or(word).into();
            steps.push((at, Step { name, enabled, kind }));
        }
        steps
    }

    fn groups(&mut self) -> Vec<Group> {
        let mut groups = Vec::new();
        for entry in self.tables("groups") {
            let what = format!("[groups.{}]", entry.key);
            let name = self.name(GroupName::new(&entry.key), entry, "group");
            if let (Some(name), Some(options)) = (name, self.options(entry.node.json(), &entry.node, &what)) {
                groups.push(Group { name, options });
            }
        }
        groups
    }

    fn roles(&mut self) -> Vec<Role> {
        let mut roles = Vec::new();
        for entry in self.tables("roles") {
            let what = format!("[roles.{}]", entry.key);
            let name = self.name(RoleName::new(&entry.key), entry, "role");
            if let (Some(name), Some(options)) = (name, self.options(entry.node.json(), &entry.node, &what)) {
                roles.push(Role { name, options });
            }
        }
        roles
    }

    fn storages(&mut self) -> Vec<Storage> {
        let mut storages = Vec::new();
        for entry in self.tables("storage") {
            let what = format!("[storage.{}]", entry.key);
            let node = &entry.node;
            let kind = match node.text(STORAGE.tag) {
                Some("disk") => {
                    let read =
                        self.two::<crate::options::Nothing, portreeve_disk::Options>(&STORAGE, node, &what);
                    read.map(|(_, mut own)| {
                        own.root = self.absolute(&own.root);
                        StorageKind::Disk(own)
                    })
                }
                Some("maildir") => {
                    type Own = portreeve_mailbox::MaildirOptions;
                    let read = self.two::<portreeve_mailbox::MailOptions, Own>(&STORAGE, node, &what);
                    read.map(|(mail, mut own)| {
                        own.mail = mail;
                        own.root = self.absolute(&own.root);
                        StorageKind::Maildir(Box::new(own))
                    })
                }
                Some("exchange") => {
                    type Own = portreeve_mailbox::ExchangeOptions;
                    let read = self.two::<portreeve_mailbox::MailOptions, Own>(&STORAGE, node, &what);
                    read.map(|(mail, mut own)| {
                        own.mail = mail;
                        for secret in [&mut own.password, &mut own.key, &mut own.refresh_token] {
                            *secret = secret.take().map(|secret| self.placed(secret));
                        }
                        for path in [
                            &mut own.certificate,
                            &mut own.federated_token_file,
                            &mut own.ca_file,
                        ] {
                            *path = path.take().map(|path| self.absolute(&path));
                        }
                        StorageKind::Exchange(Box::new(own))
                    })
                }
                Some("imap") => {
                    type Own = portreeve_mailbox::ImapOptions;
                    let read = self.two::<portreeve_mailbox::MailOptions, Own>(&STORAGE, node, &what);
                    read.map(|(mail, mut own)| {
                        own.mail = mail;
                        for secret in [&mut own.password, &mut own.refresh_token] {
                            *secret = secret.take().map(|secret| self.placed(secret));
                        }
                        own.ca_file = own.ca_file.take().map(|path| self.absolute(&path));
                        StorageKind::Imap(Box::new(own))
                    })
                }
                _ => None,
            };
            if let Some(kind) = kind {
                storages.push(Storage {
                    name: entry.key.clone(),
                    kind,
                });
            }
        }
        storages
    }

    fn name<T>(
        &mut self,
        name: Result<T, portreeve_model::NameError>,
        entry: &Entry,
        what: &str,
    ) -> Option<T> {
        name.map_err(|error| {
            self.problems.push(Problem::new(
                entry.key_span.clone(),
                format!("the name of this {what}: {error}"),
            ));
        })
        .ok()
    }

    fn address(&mut self, text: &str, path: &str) -> Option<SocketAddr> {
        let Ok(address) = text.parse() else {
            let message = format!("'{text}' is no address with a port");
            let hint = match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
                Ok(port) => format!("write \"0.0.0.0:{port}\" for all of IPv4, \"[::]:{port}\" for both"),
                Err(_) if text.parse::<IpAddr>().is_ok() => {
                    "a port is missing, like \"127.0.0.1:2222\"".to_owned()
                }
                Err(_) => {
                    "write an IP address and a port, like \"127.0.0.1:2222\" or \"[::]:2222\"".to_owned()
                }
            };
            self.problems
                .push(Problem::new(self.tree.place(path), message).hint(hint));
            return None;
        };
        Some(address)
    }

    fn networks(&mut self, texts: &[String], path: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let alone = text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or(alone) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let span = self.tree.place(&format!("{path}.{at}"));
                    let problem = Problem::new(span, format!("'{text}' is no network"));
                    self.problems
                        .push(problem.hint("write an address or a network, like \"10.0.0.0/8\""));
                }
            }
        }
        networks
    }
}

/// Lets the mounts of a storage with a template begin within the mailbox that it gives for each person: a
/// subpath is filled in from who signs in, one component for one placeholder, or the plan is refused.
fn within_templates(mut groups: Vec<Group>, storages: &[Storage]) -> Vec<Group> {
    for mount in groups.iter_mut().flat_map(|group| &mut group.options.mounts) {
        let storage = storages.iter().find(|storage| storage.name == mount.storage);
        if let Some(template) = storage.and_then(|storage| storage.kind.template()) {
            let below = mount.subpath.as_deref().unwrap_or_default();
            mount.subpath = Some(format!("/{template}/{}", below.trim_matches('/')));
        }
    }
    groups
}

/// The text that serde complains about: the deepest one that its message quotes.
fn culprit<'a>(node: &'a Node, message: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => {
            (message.contains(&format!("{text:?}")) || message.contains(&format!("`{text}`"))).then_some(node)
        }
        Value::List(items) => items.iter().find_map(|item| culprit(item, message)),
        Value::Table(entries) => entries.iter().find_map(|entry| culprit(&entry.node, message)),
        _ => None,
    }
}

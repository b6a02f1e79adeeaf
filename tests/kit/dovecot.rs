//! A real Dovecot for one test: its own directory, port, certificate and mailboxes; signs in by password, by a JWT
//! that it checks itself, or by asking an introspection endpoint (RFC 7662).
//!
//! It runs as nobody where the tests run as root: it refuses to serve mail as root.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    ports,
    process::{Running, run, until},
    skip::{self, skip},
};

/// The password of every user.
pub const PASSWORD: &str = "hunter2 \"quoted\\";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// How tokens are checked.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// By the signature: the public key in PEM, and its id.
    Signed {
        /// SubjectPublicKeyInfo.
        pem: String,
        /// `kid` of the tokens' header.
        kid: String,
        /// The app that they are for (`azp`).
        client: String,
    },
    /// By asking the endpoint that [`Dovecot::grant`] fills.
    Introspected,
}

/// A running Dovecot; killed when dropped.
#[derive(Debug)]
pub struct Dovecot {
    dir: tempfile::TempDir,
    port: u16,
    grants: Arc<Mutex<HashMap<String, String>>>,
    running: Option<Running>,
}

impl Dovecot {
    /// Whether it is installed; notes a skip where it is not.
    #[must_use]
    pub fn installed() -> bool {
        let there =
            skip::have("dovecot") && skip::have("openssl") && (!skip::root() || skip::have("setpriv"));
        if !there {
            skip("Dovecot is not installed (package dovecot-imapd)");
        }
        there
    }

    /// Starts one that knows `alice`, `bob` and `user0` to `user199` by their password.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(tokens: &Tokens) -> Self {
        Self::start_with(tokens, "")
    }

    /// The same with lines at the end of its configuration.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(tokens: &Tokens, more: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dovecot")
            .tempdir()
            .expect("a directory");
        let grants = Arc::new(Mutex::new(HashMap::new()));
        let mut new = Self {
            port: ports::free(),
            dir,
            grants,
            running: None,
        };
        new.write(tokens, more);
        new.run();
        new
    }

    fn write(&self, tokens: &Tokens, more: &str) {
        let root = self.dir.path();
        for sub in ["run", "state", "mail", "home", "keys"] {
            fs::create_dir(root.join(sub)).expect("a directory");
        }
        certificate(root);
        let numbered = (0..200).map(|n| format!("user{n}"));
        let users: String = ["alice".to_owned(), "bob".to_owned()]
            .into_iter()
            .chain(numbered)
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
            .collect();
        fs::write(root.join("users"), users).expect("written");
        let oauth2 = match tokens {
            Tokens::Signed { pem, kid, client } => {
                let dir = root.join("keys").join(client).join("RS256");
                fs::create_dir_all(&dir).expect("a directory");
                fs::write(dir.join(kid), pem).expect("written");
                format!(
                    "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/keys/\n",
                    root.display()
                )
            }
            Tokens::Introspected => {
                let port = introspection(Arc::clone(&self.grants));
                format!(
                    "introspection_mode = post\nintrospection_url = http://dovecot:secret@127.0.0.1:{port}/introspect\n\
                     active_attribute = active\nactive_value = true\n"
                )
            }
        };
        let oauth2 = format!("{oauth2}username_attribute = email\ntimeout_msecs = 5000\n");
        fs::write(root.join("oauth2.conf"), oauth2).expect("written");
        fs::write(root.join("dovecot.conf"), self.configuration() + more).expect("written");
        if skip::root() {
            run(
                Command::new("chown").arg("-R").arg("nobody:nogroup").arg(root),
                b"",
                PATIENCE,
            )
            .ok();
        }
    }

    fn configuration(&self) -> String {
        let (root, port) = (self.dir.path().display(), self.port);
        let (user, group) = if skip::root() {
            ("nobody".to_owned(), "nogroup".to_owned())
        } else {
            let id = |flag: &str| {
                run(Command::new("id").arg(flag), b"", PATIENCE)
                    .ok()
                    .text()
                    .trim()
                    .to_owned()
            };
            (id("-un"), id("-gn"))
        };
        let number = |name: &str, flag: &str| {
            run(Command::new("id").args([flag, name]), b"", PATIENCE)
                .ok()
                .text()
        };
        let (uid, gid) = (number(&user, "-u"), number(&user, "-g"));
        let (uid, gid) = (uid.trim(), gid.trim());
        format!(
            "base_dir = {root}/run\nstate_dir = {root}/state\nlog_path = {root}/log\nprotocols = imap\nlisten = 127.0.0.1\n\
             ssl = required\nssl_cert = <{root}/cert.pem\nssl_key = <{root}/key.pem\n\
             default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n\
             first_valid_uid = 1\nmail_location = sdbox:{root}/mail/%u\nmail_fsync = never\n\
             auth_mechanisms = plain login xoauth2 oauthbearer\nauth_failure_delay = 0\nauth_verbose = yes\n\
             mail_max_userip_connections = 200\nmail_plugins =\n\
             passdb {{\n driver = passwd-file\n args = scheme=PLAIN {root}/users\n mechanisms = plain login\n}}\n\
             passdb {{\n driver = oauth2\n args = {root}/oauth2.conf\n mechanisms = xoauth2 oauthbearer\n}}\n\
             userdb {{\n driver = static\n args = uid={uid} gid={gid} home={root}/home/%u allow_all_users=yes\n}}\n\
             service anvil {{\n chroot =\n unix_listener anvil-auth-penalty {{\n mode = 0\n }}\n}}\n\
             service stats {{\n chroot =\n}}\n\
             service imap-login {{\n chroot =\n service_count = 0\n process_min_avail = 1\n \
             inet_listener imap {{\n port = 0\n }}\n inet_listener imaps {{\n port = {port}\n ssl = yes\n }}\n}}\n\
             service imap {{\n process_limit = 200\n}}\n\
             namespace inbox {{\n inbox = yes\n separator = /\n \
             mailbox Drafts {{\n special_use = \\Drafts\n auto = create\n }}\n \
             mailbox Trash {{\n special_use = \\Trash\n auto = create\n }}\n}}\n"
        )
    }

    fn run(&mut self) {
        let conf = self.dir.path().join("dovecot.conf");
        let mut command = if skip::root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "dovecot"]);
            command
        } else {
            Command::new("dovecot")
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .arg("-F")
            .arg("-c")
            .arg(conf);
        self.running = Some(Running::start(&mut command, b""));
        let port = self.port;
        let log = self.dir.path().join("log");
        until(
            &format!("dovecot listens: {}", fs::read_to_string(log).unwrap_or_default()),
            PATIENCE,
            || TcpStream::connect(("127.0.0.1", port)).is_ok(),
        );
    }

    /// Its port for IMAP over TLS on 127.0.0.1 and localhost.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority of its certificate, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The introspection endpoint says from now on that this token is good for this mailbox; none: that it is not.
    pub fn grant(&self, token: &str, mailbox: Option<&str>) {
        let mut grants = self.grants.lock().expect("not poisoned");
        match mailbox {
            Some(mailbox) => grants.insert(token.to_owned(), mailbox.to_owned()),
            None => grants.remove(token),
        };
    }

    /// The introspection endpoint says from now on that every token is good for this mailbox.
    pub fn grant_all(&self, mailbox: &str) {
        self.grant("*", Some(mailbox));
    }

    /// An administrator's hand at a mailbox.
    ///
    /// # Panics
    /// If it cannot be done.
    pub fn doveadm(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.admin(arguments);
        run(&mut command, input, PATIENCE * 3).ok().text()
    }

    fn admin(&self, arguments: &[&str]) -> Command {
        let mut command = if skip::root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "doveadm"]);
            command
        } else {
            Command::new("doveadm")
        };
        command
            .arg("-c")
            .arg(self.dir.path().join("dovecot.conf"))
            .args(arguments);
        command
    }

    /// Delivers a message into a folder, which must be there.
    ///
    /// # Panics
    /// If it cannot be done.
    pub fn deliver(&self, user: &str, folder: &str, message: &[u8]) {
        self.doveadm(&["save", "-u", user, "-m", folder], message);
    }

    /// A session of another mail client, by its own connection.
    ///
    /// # Panics
    /// If it cannot sign in.
    #[must_use]
    pub fn client(&self, user: &str) -> Client {
        Client::open(self, user)
    }

    /// Ends all connections that stand, as a restart of the server does; answers whether there were any.
    #[must_use]
    pub fn kick(&self) -> bool {
        let mut command = self.admin(&["kick", "*"]);
        run(&mut command, b"", PATIENCE).status.success()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- Dovecot's log\n{}", self.log());
        }
        if let Some(running) = self.running.take() {
            running.signal(Signal::TERM);
            let mut running = running;
            for _ in 0..200 {
                if !running.alive() {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
            running.kill();
        }
    }
}

/// Another mail client: `openssl s_client` with commands typed into it.
#[derive(Debug)]
pub struct Client {
    script: Vec<String>,
    port: u16,
    ca: PathBuf,
    user: String,
}

impl Client {
    fn open(server: &Dovecot, user: &str) -> Self {
        Self {
            script: Vec::new(),
            port: server.port,
            ca: server.ca_file(),
            user: user.to_owned(),
        }
    }

    /// Adds a command.
    #[must_use]
    pub fn say(mut self, command: &str) -> Self {
        self.script.push(command.to_owned());
        self
    }

    /// Signs in, says all commands one after the other, signs out, and gives what the server said.
    ///
    /// # Panics
    /// If a command fails.
    pub fn run(self) -> String {
        let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
        let mut input = format!("a LOGIN {} \"{password}\"\r\n", self.user);
        for (index, command) in self.script.iter().enumerate() {
            input.push_str(&format!("c{index} {command}\r\n"));
        }
        input.push_str("z LOGOUT\r\n");
        let mut command = Command::new("openssl");
        command
            .args([
                "s_client",
                "-quiet",
                "-ign_eof",
                "-verify_return_error",
                "-CAfile",
            ])
            .arg(&self.ca)
            .arg("-connect")
            .arg(format!("localhost:{}", self.port));
        let said = run(&mut command, input.as_bytes(), PATIENCE).text();
        for index in 0..self.script.len() {
            assert!(
                said.contains(&format!("c{index} OK")),
                "{:?}\n{said}",
                self.script
            );
        }
        said
    }
}

/// A throw-away authority and a certificate of it for localhost.
fn certificate(root: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(root).args(arguments.split(' '));
        run(&mut command, b"", PATIENCE).ok();
    };
    fs::write(root.join("san"), "subjectAltName = DNS:localhost, IP:127.0.0.1\n").expect("written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=throw-away"
    ));
    openssl(&format!(
        "req {key} -keyout key.pem -out cert.csr -subj /CN=localhost"
    ));
    openssl(
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem",
    );
}

/// An introspection endpoint (RFC 7662) on a port of its own.
fn introspection(grants: Arc<Mutex<HashMap<String, String>>>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let grants = Arc::clone(&grants);
            thread::spawn(move || while introspect(&stream, &grants).is_some() {});
        }
    });
    port
}

/// Answers one request; none at the end of the connection.
fn introspect(mut stream: &TcpStream, grants: &Mutex<HashMap<String, String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0_usize);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let token = body.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let grants = grants.lock().ok()?;
    let answer = match grants.get(token).or_else(|| grants.get("*")) {
        Some(mailbox) => format!("{{\"active\":true,\"email\":\"{mailbox}\"}}"),
        None => "{\"active\":false}".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(format!("{head}{answer}").as_bytes()).ok()
}

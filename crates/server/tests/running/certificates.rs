//! Certificate files that change under a running server: the loop that looks at them, seen by handshakes.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use portreeve_server::tls;

use super::{server::Server, web::Web};

const CONFIG: &str = r#"
[server]
data_dir = "data"
[metrics]
address = "127.0.0.1:0"
[tls]
certificate = "tls.crt"
key = "tls.key"
[[listener]]
name = "web"
protocol = "https"
address = "127.0.0.1:0"
[[auth]]
type = "application"
[groups.staff]
mounts = [{ path = "/", storage = "files", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

/// A pair: certificate and key.
fn pair() -> [Vec<u8>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = tls::self_signed(dir.path(), "files.example.com").unwrap();
    [fs::read(certificate).unwrap(), fs::read(key).unwrap()]
}

/// As people and their tools do it: beside, for the server alone to read, then renamed.
fn place(dir: &Path, name: &str, content: &[u8]) {
    let staged = dir.join("staged");
    fs::write(&staged, content).unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&staged, dir.join(name)).unwrap();
}

#[test]
fn a_new_pair_is_shown_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    fs::write(home.join("portreeve.toml"), CONFIG).unwrap();
    let [certificate, key] = pair();
    place(&home, "tls.crt", &certificate);
    place(&home, "tls.key", &key);
    let mut server = Server::start(dir, &[]);
    let line = server.line(&["probes and metrics"]);
    let probes: SocketAddr = line.rsplit_once("address=").unwrap().1.parse().unwrap();
    let [web] = server.addresses(["web"]);
    let early = Web::connect(web);
    let first = early.leaf();

    // Half of a pair: as long as the other half is missing, the old one goes on, and the log says so.
    let [certificate, key] = pair();
    place(&home, "tls.crt", &certificate);
    let told = server.line(&["ERROR", "the old certificate goes on"]);
    assert!(
        told.contains("do not belong together") && told.contains("tls.key"),
        "{told}"
    );
    assert_eq!(Web::connect(web).leaf(), first);

    // The other half: nobody reloads, the loop sees it.
    place(&home, "tls.key", &key);
    server.line(&["INFO", "a new certificate is served", "tls.crt"]);
    let second = Web::connect(web).leaf();
    assert_ne!(second, first);

    for (name, content) in [("tls.key", &b"no key"[..]), ("tls.crt", b"")] {
        place(&home, name, content);
        let told = server.line(&["ERROR", "the old certificate goes on"]);
        assert!(told.contains(name), "the file is named: {told}");
        assert_eq!(Web::connect(web).leaf(), second);
    }
    // The connection of the first certificate has gone on through all of this.
    assert_eq!(early.get("/api/v1/me", None).0, 401);

    let mut stream = TcpStream::connect(probes).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut numbers = String::new();
    stream.read_to_string(&mut numbers).unwrap();
    for line in [
        "portreeve_tls_exchanges_total{outcome=\"ok\"} 1\n",
        "portreeve_tls_exchanges_total{outcome=\"kept\"} 3\n",
    ] {
        assert!(numbers.contains(line), "{line}{numbers}");
    }
}

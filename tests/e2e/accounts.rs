//! Methods × doors: application accounts and anonymous visitors, let in and refused, each way at SFTP and HTTPS with
//! one event.

use std::fs;

use portreeve_tests::{Curl, Portreeve, Sftp, config::PASSWORD, sftp::Proof};

/// Runs a command on the server's store.
fn order(server: &Portreeve, words: &[&str], input: &str) {
    let config = server.config.file();
    let all = [words, &["--config", config.to_str().unwrap()]].concat();
    server.command(&all, input.as_bytes()).ok();
}

#[test]
fn application_accounts_at_both_doors() {
    let server = Portreeve::start();
    let key = fs::read_to_string(server.config.key().with_extension("pub")).unwrap();
    let key = key.trim();
    let (old, elsewhere) = (
        format!("expiry-time=\"20200101\" {key}"),
        format!("from=\"192.0.2.0/24\" {key}"),
    );
    for (name, more) in [
        ("gina", &["--ssh-key", key][..]),
        ("hugo", &["--ssh-key", key]),
        ("ivan", &["--ssh-key", key, "--expires", "2020-01-01"]),
        ("jane", &["--ssh-key", old.as_str()]),
        ("kate", &["--ssh-key", elsewhere.as_str()]),
    ] {
        let add = [
            &["account", "add", name, "--group", "staff", "--password-stdin"],
            more,
        ]
        .concat();
        order(&server, &add, &format!("{PASSWORD}\n"));
    }
    order(&server, &["account", "disable", "hugo"], "");
    for (who, user, password, by_password, by_key) in [
        ("right", "gina", PASSWORD, true, true),
        ("wrong password", "gina", "wrong", false, true),
        ("disabled", "hugo", PASSWORD, false, false),
        ("expired", "ivan", PASSWORD, false, false),
        ("expired key", "jane", PASSWORD, true, false),
        ("key from elsewhere", "kate", PASSWORD, true, false),
        ("unknown", "nobody", PASSWORD, false, false),
    ] {
        let word = |ok| if ok { "ok" } else { "refused" };
        for (proof, enters) in [
            (Proof::Password(password.to_owned()), by_password),
            (Proof::Key(server.config.key()), by_key),
        ] {
            let since = server.audit().len();
            let done = Sftp::new(&server, user, proof.clone()).batch("pwd");
            assert_eq!(done.status.success(), enters, "{who} {proof:?}: {}", done.said());
            let login = format!("sftp login {}", word(enters));
            let mut expected = vec![login.as_str()];
            expected.extend(enters.then_some("sftp logout ok"));
            server.expect_story(since, &expected);
            assert_eq!(server.audit()[since].text("user"), user, "{who}");
        }
        let since = server.audit().len();
        let status = if by_password { 200 } else { 401 };
        let _ = Curl::new(&server, user, password).get("/api/v1/me").is(status);
        assert_eq!(
            server.audit()[since].story(),
            format!("https login {}", word(by_password)),
            "{who}"
        );
    }
}

#[test]
fn anonymous_visitors_look_and_change_nothing() {
    let server = Portreeve::start_with(|config| {
        config.more = "[[auth]]\ntype = \"anonymous\"\ngroups = [\"guests\"]\n\
                       [groups.guests]\nmounts = [{ path = \"/\", storage = \"shared\", verbs = \"full\",\n\
                       rules = [{ pattern = \"/private/**\", effect = \"deny\" }] }]\n"
            .to_owned();
    });
    let shared = server.dir().join("shared");
    fs::create_dir(shared.join("private")).unwrap();
    fs::write(shared.join("private/secret"), "secret").unwrap();
    fs::write(shared.join("open"), "for everybody").unwrap();
    fs::write(server.dir().join("mine"), "mine").unwrap();

    // Without any proof at all (RFC 4252 section 5.2), and by whatever password.
    let nothing = Sftp::by_key(&server, "anonymous").option("PubkeyAuthentication=no");
    nothing.batch("get open got\nls -l").ok();
    assert_eq!(fs::read(server.dir().join("got")).unwrap(), b"for everybody");
    for line in [
        "put mine",
        "rm open",
        "mkdir d",
        "rename open o",
        "get private/secret stolen",
    ] {
        let _ = nothing.batch(line).fails("");
    }
    let guest = Curl::new(&server, "Anonymous", "guest@example.com");
    assert_eq!(guest.read("/open").is(200).text(), "for everybody");
    let _ = guest.upload(&server.dir().join("mine"), "/mine").is(403);
    let _ = guest.read("/private/secret").is(404);
    assert_eq!(
        portreeve_tests::data::tree(&shared),
        ["open", "private", "private/secret"],
        "a guest changed something"
    );
    assert!(!server.dir().join("stolen").exists());
    let _ = Curl::new(&server, "nobody", "guest@example.com")
        .get("/api/v1/me")
        .is(401);
}

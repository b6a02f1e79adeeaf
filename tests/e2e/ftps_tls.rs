//! TLS at the FTPS doors: what its judges say, ALPN, and certificates of clients.

use std::{path::Path, process::Command};

use portreeve_tests::{
    Ftp, Portreeve,
    ftp::{How, Version},
    process,
    server::PATIENCE,
    skip::{self, skip},
};

/// The doors with what a judge has to be told to come in.
fn doors(server: &Portreeve, starttls: &'static [&'static str]) -> [(String, &'static [&'static str]); 3] {
    let doors = server.doors();
    [
        (doors.ftps.to_string(), starttls),
        (doors.ftps_implicit.to_string(), &[]),
        (doors.ftps_strict.to_string(), starttls),
    ]
}

/// sslyze against Mozilla's intermediate profile: everything but the trust in a self-signed chain.
#[test]
fn sslyze_finds_the_intermediate_profile() {
    let venv = std::env::var("PORTREEVE_TLS_VENV")
        .unwrap_or_else(|_| format!("{}/../target/venv-tls", env!("CARGO_MANIFEST_DIR")));
    let sslyze = format!("{venv}/bin/sslyze");
    if !skip::have(&sslyze) {
        skip("sslyze");
        return;
    }
    // It opens many connections at once and never signs in.
    let server = Portreeve::start();
    for (at, starttls) in doors(&server, &["--starttls=ftp"]).into_iter().take(2) {
        let mut command = Command::new(&sslyze);
        command
            .arg("--mozilla_config=intermediate")
            .args(starttls)
            .arg(&at);
        let said = process::run(&mut command, b"", PATIENCE * 3).said();
        let verdict = said
            .split("COMPLIANCE AGAINST TLS CONFIGURATION")
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"));
        let offences: Vec<&str> = verdict
            .lines()
            .filter(|l| l.trim_start().starts_with("* ") && !l.contains("certificate_path_validation"))
            .collect();
        assert!(offences.is_empty(), "{at}: {offences:?}\n{verdict}");
        assert!(
            verdict.contains("certificate_path_validation"),
            "{at} was not judged at all: {verdict}"
        );
    }
}

/// testssl: nothing above LOW but what a self-signed certificate is to blame for, and forward secrecy everywhere.
#[test]
fn testssl_finds_nothing_above_low() {
    let Some(program) = ["testssl", "testssl.sh"].into_iter().find(|p| skip::have(p)) else {
        skip("testssl.sh");
        return;
    };
    let server = Portreeve::start();
    // Half a minute of waiting each.
    std::thread::scope(|scope| {
        for (n, door) in doors(&server, &["-t", "ftp"]).into_iter().enumerate() {
            let report = server.dir().join(format!("testssl{n}.json"));
            scope.spawn(move || check_by_testssl(program, &report, &door.0, door.1));
        }
    });
}

fn check_by_testssl(program: &str, report: &Path, at: &str, starttls: &[&str]) {
    let mut command = Command::new(program);
    command
        .args(["--color", "0", "--warnings", "off", "--quiet", "--jsonfile"])
        .arg(report)
        // Protocols, server defaults, forward secrecy, categories of ciphers, preference, vulnerabilities.
        .args(["-p", "-S", "-f", "-s", "-P", "-U"])
        .args(starttls)
        .arg(at)
        .current_dir(report.parent().expect("in a directory"));
    let done = process::run(&mut command, b"", PATIENCE * 10);
    let text = std::fs::read_to_string(report).unwrap_or_else(|e| panic!("{e}: {}", done.said()));
    let findings: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let findings = findings.as_array().expect("a list of findings");
    let offences: Vec<String> = findings
        .iter()
        .filter(|f| !matches!(f["severity"].as_str(), Some("OK" | "INFO" | "LOW" | "DEBUG")))
        // Of a certificate that nobody signed.
        .filter(|f| f["id"] != "cert_chain_of_trust" && f["id"] != "cert_revocation")
        // Of the scanner's own OpenSSL, which lacks an engine for GOST.
        .filter(|f| f["id"] != "engine_problem")
        // It hangs up before a ticket of TLS 1.3 comes, and then has none to ask with.
        .filter(|f| f["id"] != "sessionresumption_ticket")
        .map(ToString::to_string)
        .collect();
    assert!(offences.is_empty(), "{at}: {}", offences.join("\n"));
    // It was judged, and by what counts.
    let of = |id: &str| {
        let found = findings.iter().find(|f| f["id"] == id);
        found
            .and_then(|f| f["finding"].as_str())
            .unwrap_or_else(|| panic!("{at}: no {id}\n{}", done.said()))
    };
    assert!(of("TLS1_2").contains("offered"), "{at}: {}", of("TLS1_2"));
    assert!(
        of("heartbleed").contains("not vulnerable"),
        "{at}: {}",
        of("heartbleed")
    );
    let suites = of("cipherorder_TLSv1_2");
    assert!(
        suites.contains("ECDHE-") && suites.split_whitespace().all(|suite| suite.starts_with("ECDHE-")),
        "{at}: without forward secrecy: {suites}"
    );
}

/// No suite without forward secrecy, asked one by one of OpenSSL's own list.
#[test]
fn no_cipher_without_forward_secrecy_is_spoken() {
    if !skip::have("openssl") {
        skip("openssl");
        return;
    }
    let server = Portreeve::start();
    let speaks = |at: &str, starttls: &[&str], list: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-tls1_2", "-cipher", list, "-connect", at]);
        if !starttls.is_empty() {
            command.args(["-starttls", "ftp"]);
        }
        let done = process::run(&mut command, b"QUIT\r\n", PATIENCE);
        let said = done.said();
        done.status.success() && said.contains("Cipher    :") && !said.contains("Cipher    : 0000")
    };
    for (at, starttls) in doors(&server, &["-t", "ftp"]) {
        for list in [
            "kRSA:@SECLEVEL=0",
            "kDHE:@SECLEVEL=0",
            "SHA1:SHA256:SHA384:!AESGCM:!CHACHA20:@SECLEVEL=0",
            "3DES:@SECLEVEL=0",
        ] {
            assert!(!speaks(&at, starttls, list), "{at} speaks {list}");
        }
        assert!(
            speaks(&at, starttls, "ECDHE+AESGCM"),
            "{at} speaks nothing at all"
        );
    }
}

/// Whom ALPN names somebody else is no client of ours.
#[test]
fn alpn_is_ftp_or_nothing() {
    let server = Portreeve::start();
    let try_with = |protocol: Option<&str>| -> std::io::Result<Ftp> {
        let mut how = How::implicit(Version::Any);
        if let Some(protocol) = protocol {
            how.tls = how.tls.alpn(protocol);
        }
        Ftp::dial(server.doors().ftps_implicit, how)
    };
    for protocol in ["h2", "http/1.1", "smtp", "imap"] {
        assert!(try_with(Some(protocol)).is_err(), "{protocol} was taken");
    }
    // The second is FileZilla's.
    for protocol in ["ftp", "x-filezilla-ftp"] {
        assert_eq!(try_with(Some(protocol)).unwrap().greeting.code, 220, "{protocol}");
    }
    assert_eq!(try_with(None).unwrap().greeting.code, 220);
}

/// `client_certificates = "required"`.
#[test]
fn without_a_certificate_nobody_comes_in_where_one_is_required() {
    if !skip::have("openssl") {
        skip("openssl");
        return;
    }
    let server = Portreeve::start_with(|c| {
        for ca in ["ours", "foreign"] {
            certificates(&c.dir, ca);
        }
        c.ftp_listener = "client_certificates = \"required\"\nclient_ca = \"ours-ca.pem\"";
    });
    let anybody = portreeve_tests::Ftps::new(&server, "alice");
    for way in [anybody.clone(), anybody.implicit()] {
        let list = |args: &[&str]| way.curl(args, "/");
        list(&["--cert", "ours.pem", "--key", "ours.key"]).ok();
        list(&[]).fails("");
        list(&["--cert", "foreign.pem", "--key", "foreign.key"]).fails("");
        // It is no password.
        list(&["--cert", "ours.pem", "--key", "ours.key", "-u", "alice:wrong"]).fails("67");
    }
}

/// A certification authority and somebody's certificate by it.
fn certificates(dir: &Path, name: &str) {
    std::fs::create_dir_all(dir).unwrap();
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}-ca.key -out {name}-ca.pem \
           -subj /CN={name} -days 2\n\
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN=alice\n\
         printf 'basicConstraints=CA:FALSE\\nextendedKeyUsage=clientAuth\\n' > {name}.ext\n\
         openssl x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -out {name}.pem -days 2 \
           -extfile {name}.ext\n"
    );
    let mut sh = Command::new("sh");
    sh.args(["-e", "-c", &script]).current_dir(dir);
    process::run(&mut sh, b"", PATIENCE).ok();
}

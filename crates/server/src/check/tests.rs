use std::path::{Path, PathBuf};

use super::*;
use crate::options::{Protocol, StorageKind};

/// The least that is right, to add mistakes to.
const HEAD: &str = r#"
[[listener]]
protocol = "sftp"
address = "127.0.0.1:2222"
[[auth]]
type = "application"
[groups.staff]
mounts = [{ path = "/", storage = "files", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

fn render(text: &str) -> String {
    match check_text(text, Path::new("p.toml"), Path::new("/etc/portreeve/p.toml")) {
        Ok(_) => "fine".to_owned(),
        Err(report) => report.render(),
    }
}

/// `text` behind [`HEAD`] has exactly these problems: `line:column: message` and `  hint: …`, lines
/// counted from the end of the head.
#[track_caller]
fn check(text: &str, want: &[&str]) {
    let head_lines = HEAD.matches('\n').count();
    let whole = format!("{HEAD}{text}");
    let got: Vec<String> = match check_text(&whole, Path::new("p.toml"), Path::new("/etc/portreeve/p.toml")) {
        Ok(_) => Vec::new(),
        Err(report) => report
            .problems()
            .iter()
            .flat_map(|problem| {
                let (line, column) = report.position(problem);
                let place = format!(
                    "{}:{column}: {}",
                    line.saturating_sub(head_lines),
                    problem.message
                );
                std::iter::once(place).chain(problem.hint.as_ref().map(|hint| format!("  hint: {hint}")))
            })
            .collect(),
    };
    assert_eq!(got, want, "{text}");
}

#[test]
fn the_head_is_fine() {
    assert_eq!(render(HEAD), "fine");
}

#[test]
fn a_problem_is_shown_with_its_line() {
    let text = format!("{HEAD}[server]\nnaem = \"x\"\n");
    assert_eq!(
        render(&text),
        "p.toml:13:1: unknown key 'naem' in [server]\n  13 | naem = \"x\"\n     | ^^^^\n  hint: did you mean \
         'name'?\n1 problem in p.toml\n"
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    check(
        "[server]\ndatadir = \"/x\"\ngrace_period = 30\n[limits]\nidle = \"10 minutes\"\nauth_attempts = \"6\"\n[log]\nlevel = \"dbug\"\n[srever]\n",
        &[
            "2:1: unknown key 'datadir' in [server]",
            "  hint: did you mean 'data_dir'?",
            "3:16: 'grace_period' must be text, not a whole number",
            "  hint: write \"30s\"",
            "5:8: 'idle': \"10 minutes\" is not a duration; write a number and ms, s, m, h or d, like \"30s\" or \"1h 30m\"",
            "6:17: 'auth_attempts' must be a whole number, not text",
            "  hint: write 6, without quotes",
            "8:9: 'level' is 'dbug'; it must be one of error, warn, info, debug, trace",
            "  hint: did you mean 'debug'?",
            "9:2: unknown section 'srever'",
            "  hint: did you mean 'server'?",
        ],
    );
}

#[test]
fn tagged_elements_are_told_apart() {
    check(
        "[[listener]]\nprotocol = \"sfpt\"\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:2\"\n",
        &[
            "2:12: 'protocol' of [[listener]] is 'sfpt'; it must be one of sftp, ftps, https",
            "  hint: did you mean 'sftp'?",
            "4:1: [[listener]] needs 'protocol'",
            "  hint: protocol is one of sftp, ftps, https",
        ],
    );
    check(
        "[[listener]]\nprotocol = \"https\"\naddress = \"127.0.0.1:1\"\nciphers = []\n[storage.x]\ntype = \"disk\"\n",
        &[
            "4:1: unknown key 'ciphers' in [[listener]]",
            "  hint: the keys here are address, auth, header_timeout, hosts, minimum_rate, name, protocol, proxy_protocol, public_url, read_ahead, session_idle, session_lifetime",
            "5:1: [storage.x] needs 'root'",
            "  hint: root: The directory that clients see as `/`. Nothing outside it can be reached.",
        ],
    );
}

#[test]
fn options_of_mailboxes_are_judged_without_a_mailbox() {
    check(
        r#"[storage.mail]
type = "maildir"
root = "nowhere"
template = "{message.subjct}"
include = ["[a"]
exclude = ["{b"]
on_delete = "move"
max_entries = 0
[storage.other]
type = "maildir"
root = "nowhere"
move_to = "/Processed"
"#,
        &[
            "4:12: 'template': there is no {message.subjct}; there are from.email, from.name, sender.email, sender.name, attachment.name, attachment.size, message.subject, message.id, message.internet_id, message.parent_id, message.conversation_id, message.body_preview, message.importance, message.inference, message.categories, and now.* and sent.* with iso, date, time, year, month, day, hour, minute, second, timestamp",
            "5:11: 'include': '[a' is no pattern: unclosed character class; missing ']'",
            "6:11: 'exclude': '{b' is no pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
            "7:13: 'on_delete': \"move\" needs a folder, e.g. move_to = \"/Processed\"",
            "8:15: 'max_entries': 0 shows no message at all; the default is 100000",
            "12:11: 'move_to': it has a meaning only with on_delete = \"move\"",
        ],
    );
}

/// A mailbox in Exchange Online, `more` in its table.
fn exchange(more: &str) -> String {
    format!(
        "[storage.mail]\ntype = \"exchange\"\nmailbox = \"{{user.mail}}\"\ntenant = \"example.com\"\n\
         client_id = \"11111111-2222-3333-4444-555555555555\"\n{more}\n"
    )
}

#[test]
fn remote_mailboxes_are_judged_without_a_network() {
    check(&exchange("password = \"hunter2\""), &[]);
    check(
        &exchange("password = { file = \"nowhere\" }\nproxy = \"http://x\"\ndirectory = 1"),
        &[
            "8:1: unknown key 'directory' in [storage.mail]",
            "  hint: did you mean 'directory_id'?",
        ],
    );
    check(
        &exchange("password = { file = \"nowhere\" }\nproxy = \"http://x\""),
        &[
            "6:12: 'password': the file /etc/portreeve/nowhere: No such file or directory (os error 2)",
            "  hint: write the secret there, alone, readable to the server's user only",
            "7:9: 'proxy': it must be written connect://host:port or connect://user:password@host:port",
        ],
    );
    check(
        &exchange("password = { env = \"A\", file = \"b\" }"),
        &["6:12: 'password' takes exactly one of credential, env, file, sealed"],
    );
    check(
        &exchange("password = { evn = \"A\" }"),
        &[
            "6:14: unknown key 'evn' in 'password'",
            "  hint: did you mean 'env'?",
        ],
    );
}

#[test]
fn a_template_stands_alone() {
    let text = exchange("password = \"x\"").replace("\"{user.mail}\"", "[\"a@x.org\", \"{user.mail}\"]");
    let told = "3:11: 'mailbox': the template '{user.mail}' stands in a list; give it a storage of its own";
    check(&text, &[told]);
}

#[test]
fn only_exchange_sends() {
    let told = "'on_upload': mail can be sent from storages of type \"exchange\" alone; write \"draft\" or \"import\" here";
    check(
        "[storage.mail]\ntype = \"maildir\"\nroot = \"x\"\non_upload = \"send\"\n[storage.far]\ntype = \"imap\"\n\
         host = \"imap.example.com\"\nusername = \"a\"\nclient_secret = \"p\"\non_upload = \"send\"\n",
        &[&format!("4:13: {told}"), &format!("10:13: {told}")],
    );
    check(&exchange("password = \"x\"\non_upload = \"send\""), &[]);
}

#[test]
fn a_template_of_mailboxes_keeps_everybody_within_their_own() {
    let text = format!(
        "{HEAD}[groups.post]\nmounts = [\n{{ path = \"/mail\", storage = \"mail\", verbs = \"full\" }},\n\
         {{ path = \"/in\", storage = \"mail\", subpath = \"/Inbox/\", verbs = \"full\" }}]\n{}",
        exchange("password = \"x\"")
    );
    let config = check_text(&text, Path::new("p.toml"), Path::new("/etc/portreeve/p.toml"));
    let config = config.map_err(|report| report.render()).unwrap();
    let post = config
        .groups
        .iter()
        .find(|group| group.name.as_str() == "post")
        .unwrap();
    let within: Vec<_> = post
        .options
        .mounts
        .iter()
        .map(|mount| mount.subpath.as_deref())
        .collect();
    assert_eq!(within, [Some("/{user.mail}/"), Some("/{user.mail}/Inbox")]);
    assert_eq!(config.secrets().len(), 1);
    assert!(
        !format!("{config:?}").contains("\"x\""),
        "a secret stands in Debug"
    );
}

/// By IMAP the template may be the name that stands before the app's, too.
#[test]
fn a_template_before_an_app_keeps_everybody_within_their_own() {
    for mailbox in [
        "username = \"{user.mail}~11111111-2222-3333-4444-555555555555\"",
        "application_id = \"11111111-2222-3333-4444-555555555555\"\nmailbox = \"{user.mail}\"",
    ] {
        let text = format!(
            "{HEAD}[groups.post]\nmounts = [{{ path = \"/mail\", storage = \"mail\", verbs = \"full\" }}]\n\
             [storage.mail]\ntype = \"imap\"\nhost = \"imap.example.com\"\ndirectory_id = \"t\"\npassword = \"x\"\n{mailbox}\n"
        );
        let config = check_text(&text, Path::new("p.toml"), Path::new("/etc/portreeve/p.toml"));
        let config = config.map_err(|report| report.render()).unwrap();
        let mounts = config.groups.iter().flat_map(|group| &group.options.mounts);
        let within: Vec<_> = mounts.filter_map(|mount| mount.subpath.as_deref()).collect();
        assert_eq!(within, ["/{user.mail}/"], "{mailbox}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_a_way_out() {
    let error = check_file(Path::new("/nonexistent/p.toml")).err().unwrap();
    let text = error.to_string();
    assert!(
        text.starts_with("the configuration /nonexistent/p.toml cannot be read: "),
        "{text}"
    );
    assert!(text.contains("hint: name another with --config FILE"), "{text}");
}

#[test]
fn what_is_not_built_is_refused_as_such() {
    check(
        "[[listener]]\nprotocol = \"console\"\naddress = \"0.0.0.0:9443\"\nui = true\n[[auth]]\ntype = \"ldap\"\nurl = \"x\"\n[storage.mail]\ntype = \"gcs\"\n[store]\nurl = \"postgres://db/x\"\n",
        &[
            "2:12: protocol 'console' is not built yet in this version",
            "6:8: type 'ldap' is not built yet in this version",
            "9:8: type 'gcs' is not built yet in this version",
            "11:7: store 'postgres' is not built yet in this version",
            "  hint: write \"sqlite:portreeve.db\"",
        ],
    );
}

#[test]
fn references_lead_somewhere() {
    check(
        r#"[[listener]]
protocol = "https"
name = "sftp"
address = "127.0.0.1:2222"
auth = ["aplication"]
[[auth]]
type = "local-file"
path = "/nonexistent/accounts.toml"
base_groups = ["stuff"]
[[auth]]
type = "application"
[groups.more]
mounts = [
  { path = "/", storage = "flies", verbs = ["raed"] },
  { path = "/", storage = "files", verbs = "full", rules = [{ pattern = "x/**", effect = "deny" }] },
]
"#,
        &[
            "3:8: two listeners are called 'sftp'",
            "  hint: give each a name of its own: name = \"…\"",
            "4:11: the address 127.0.0.1:2222 is taken by the listener 'sftp'",
            "5:9: there is no [[auth]] step 'aplication'",
            "  hint: did you mean 'application'?",
            "8:8: /nonexistent/accounts.toml cannot be read: No such file or directory (os error 2)",
            "9:16: there is no group 'stuff'",
            "  hint: did you mean 'staff'?",
            "10:1: two [[auth]] steps are called 'application'",
            "  hint: give each a name of its own: name = \"…\"",
            "14:27: there is no [storage] 'flies'",
            "  hint: did you mean 'files'?",
            "14:44: verbs: 'raed' is no verb; the verbs are full, read-only, list, read, create, overwrite, append, truncate, delete, rename, make-dir, set-attrs, share",
            "15:12: '/' is mounted twice in this group",
            "15:60: rules: the pattern \"x/**\" must start with '/': it is matched with the path within the mount",
        ],
    );
}

#[test]
fn values_are_judged_by_who_uses_them() {
    check(
        "[[listener]]\nprotocol = \"https\"\naddress = \"8443\"\nproxy_protocol = [\"10.0.0.0/33\", \"10.0.0.1\"]\npublic_url = \"ftp://x\"\n[[listener]]\nname = \"web\"\nprotocol = \"https\"\naddress = \"127.0.0.1:1\"\npublic_url = \"ftp://x\"\n[[auth]]\ntype = \"ip-time-ban\"\nallow = [\"10.0.0.1/8\"]\n[limits]\nconnections = 0\n[storage.x]\ntype = \"disk\"\nroot = \"x\"\nfile_mode = \"7777\"\n",
        &[
            "3:11: '8443' is no address with a port",
            "  hint: write \"0.0.0.0:8443\" for all of IPv4, \"[::]:8443\" for both",
            "4:19: '10.0.0.0/33' is no network",
            "  hint: write an address or a network, like \"10.0.0.0/8\"",
            "10:14: public_url must be like \"https://files.example.com\", without a path: 'ftp://x' is not",
            "13:9: 'allow' '10.0.0.1/8' has bits set behind its length: did you mean 10.0.0.0/8?",
            "15:15: 'connections' must be more than 0",
            "19:13: [storage.x]: \"7777\" is not a mode; write octal bits like \"0640\"",
        ],
    );
}

#[test]
fn nobody_could_connect_or_sign_in() {
    let want = "p.toml:1:1: there is no [[auth]]: nobody could sign in\n  hint: add [[auth]] with type = \
                \"application\" or \"local-file\"\np.toml:1:1: there is no [[listener]]: nobody could connect\n  \
                hint: add [[listener]] with protocol = \"sftp\" and an address\n2 problems in p.toml\n";
    assert_eq!(render("\n"), want);
    let gates = "[[listener]]\nprotocol = \"sftp\"\naddress = \"[::]:1\"\n[[auth]]\ntype = \"ip-time-ban\"\n";
    assert!(
        render(gates).contains("5:1: no method is enabled") || render(gates).contains("no method is enabled"),
        "{}",
        render(gates)
    );
}

#[test]
fn every_syntax_error_is_told() {
    let shown = render("a = \nb = \"x\n[c\n");
    assert!(
        shown.contains("p.toml:1:") && shown.contains("p.toml:2:") && shown.contains("p.toml:3:"),
        "{shown}"
    );
}

#[test]
fn two_accounts_of_one_private_folder_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = "[accounts.alice]\ngroups = [\"staff\"]\nssh_keys = []\n[accounts.Alice]\ngroups = [\"staff\"]\n[accounts.\"bob@a.example\"]\ngroups = [\"staff\"]\n[accounts.\"bob@b.example\"]\ngroups = [\"staff\"]\n";
    std::fs::write(dir.path().join("accounts.toml"), accounts).unwrap();
    let text = |subpath: &str| {
        format!(
            "[[listener]]\nprotocol = \"sftp\"\naddress = \"127.0.0.1:1\"\n[[auth]]\ntype = \"local-file\"\npath = \
             \"accounts.toml\"\nremove_username_suffix = [\"@a.example\", \"@b.example\"]\n[groups.staff]\nmounts = \
             [{{ path = \"/\", storage = \"files\", verbs = \"full\"{subpath} }}]\n[storage.files]\ntype = \
             \"disk\"\nroot = \"f\"\n"
        )
    };
    let file = dir.path().join("p.toml");
    let report = check_text(&text(", subpath = \"/home/{user}\""), Path::new("p.toml"), &file).unwrap_err();
    let shown = dir.path().join("accounts.toml");
    let messages: Vec<&str> = report
        .problems()
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            format!(
                "{}:4:11: the accounts 'Alice' and 'alice' would share one private folder",
                shown.display()
            ),
            format!(
                "{}:8:11: the accounts 'bob@a.example' and 'bob@b.example' would share one private folder",
                shown.display()
            ),
        ]
    );
    check_text(&text(""), Path::new("p.toml"), &file).unwrap();
}

#[test]
fn one_name_in_two_steps_is_a_twin_where_both_can_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    let check = |name: &str, first: &str, second: &str, subsets: [&str; 2], groups: [&str; 2]| {
        let account = |name: &str, group: &str| format!("[accounts.\"{name}\"]\ngroups = [\"{group}\"]\n");
        std::fs::write(dir.path().join("one.toml"), account("alice", groups[0])).unwrap();
        std::fs::write(dir.path().join("two.toml"), account(name, groups[1])).unwrap();
        let step = |name: &str, more: &str| match more {
            "anonymous" => format!(
                "[[auth]]\ntype = \"anonymous\"\nname = \"{name}\"\nusernames = [\"alice\"]\ngroups = [\"staff\"]\n"
            ),
            more => format!(
                "[[auth]]\ntype = \"local-file\"\nname = \"{name}\"\npath = \"{name}.toml\"\n{more}\n"
            ),
        };
        let listener = |port: u8, more: &str| {
            format!(
                "[[listener]]\nname = \"l{port}\"\nprotocol = \"sftp\"\naddress = \"127.0.0.1:{port}\"\n{more}\n"
            )
        };
        let group = |name: &str, storage: &str, subpath: &str| {
            format!(
                "[groups.{name}]\nmounts = [{{ path = \"/\", storage = \"{storage}\", subpath = \"{subpath}\", \
                 verbs = \"full\" }}]\n"
            )
        };
        let text = [
            listener(1, subsets[0]),
            listener(2, subsets[1]),
            step("one", first),
            step("two", second),
            group("staff", "files", "home/{user}"),
            group("sales", "files", "sales/{user}"),
            group("open", "files", "all"),
            "[storage.files]\ntype = \"disk\"\nroot = \"f\"\n".to_owned(),
        ];
        match check_text(&text.concat(), Path::new("p.toml"), &file) {
            Ok(_) => None,
            Err(report) => {
                let [problem] = report.problems() else {
                    panic!("{report:?}")
                };
                Some(problem.message.clone())
            }
        }
    };
    let (one, two) = ("auth = [\"one\"]", "auth = [\"two\"]");
    let suffix = "remove_username_suffix = [\"@corp\"]";
    let next = "on_reject = \"next\"";
    let (all, same) = (["", ""], ["staff", "staff"]);
    for (name, first, second, subsets, groups, twins) in [
        // Unreachable behind a step that knows the name: no twin.
        ("alice", "", "", all, same, false),
        ("alice", next, "", all, same, true),
        ("alice", "", "", [one, two], same, true),
        ("alice", "", "", [one, ""], same, false),
        ("alice", "enabled = false", "", all, same, false),
        // Another spelling is not known to the first.
        ("Alice", "", "", all, same, true),
        ("alice@corp", "", suffix, all, same, true),
        ("alice@corp", "", "", all, same, false),
        // Other folders are no matter.
        ("Alice", "", "", all, ["staff", "sales"], false),
        ("Alice", "", "", all, ["open", "open"], false),
        (
            "Alice",
            "base_groups = [\"sales\"]",
            "",
            all,
            ["open", "sales"],
            true,
        ),
        // Whoever comes without a credential is not asked by a file.
        ("alice", "", "anonymous", all, same, true),
        ("alice", "anonymous", "", [two, ""], same, true),
        ("bob", "", "", all, same, false),
    ] {
        let told = check(name, first, second, subsets, groups);
        let shown = format!("{name} {first:?} {second:?} {subsets:?} {groups:?}: {told:?}");
        assert_eq!(told.is_some(), twins, "{shown}");
        assert!(
            told.is_none_or(|told| told.contains("of 'two' and 'alice' of 'one'")),
            "{shown}"
        );
    }
}

#[test]
fn paths_start_where_the_file_is() {
    let text =
        format!("{HEAD}[server]\ndata_dir = \"data\"\n[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\n");
    let config = check_text(&text, Path::new("p.toml"), Path::new("/etc/portreeve/p.toml")).unwrap();
    assert_eq!(config.server.data_dir, Path::new("/etc/portreeve/data"));
    let tls = config.tls.unwrap();
    assert_eq!(
        (tls.certificate, tls.key),
        ("/etc/portreeve/c.pem".into(), "/k.pem".into())
    );
    let [storage] = config.storages.as_slice() else {
        panic!("one storage")
    };
    let StorageKind::Disk(disk) = &storage.kind else {
        panic!("a disk")
    };
    assert_eq!(disk.root, Path::new("/etc/portreeve/files"));
    let [listener] = config.listeners.as_slice() else {
        panic!("one listener")
    };
    assert!(matches!(listener.protocol, Protocol::Sftp(_)));
}

#[test]
fn groups_keep_the_order_of_the_file() {
    let text = format!("{HEAD}[groups.zebra]\n[groups.ant]\n");
    let config = check_text(&text, Path::new("p.toml"), Path::new("/p.toml")).unwrap();
    let names: Vec<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["staff", "zebra", "ant"]);
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

#[test]
fn every_sample_loads() {
    for name in ["minimal.toml", "complete.toml", "mailboxes.toml"] {
        if let Err(error) = check_file(&samples().join(name)) {
            panic!("{error}");
        }
    }
}

#[test]
fn the_complete_sample_loads_with_every_option_given() {
    let path = samples().join("complete.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    let uncommented = uncommented.join("\n");
    assert!(uncommented.lines().filter(|line| line.contains(" = ")).count() > 80);
    if let Err(report) = check_text(
        &uncommented,
        Path::new("complete.toml"),
        &std::path::absolute(path).unwrap(),
    ) {
        panic!("{}", report.render());
    }
}

#[test]
fn what_is_generated_is_not_stale() {
    for (name, now, what) in [
        ("complete.toml", crate::options::complete(), "config"),
        ("schema.json", crate::cli::schema_text(), "schema"),
    ] {
        let there = std::fs::read_to_string(samples().join(name)).unwrap();
        assert!(
            there == now,
            "config/{name} is stale: portreeve reference {what} > config/{name}"
        );
    }
}

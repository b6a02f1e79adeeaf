//! What the demo writes.

/// The configuration, for loopback. Port 0 takes a free one.
pub(super) fn config([sftp, ftps, https]: [u16; 3]) -> String {
    format!(
        r#"# Written by `portreeve demo`. Change it as you like: from then on it is yours and stays as it is.

[server]
name = "localhost"
data_dir = "data"
grace_period = "5s"

[limits]
connections = 1000

[audit]
sinks = [{{ type = "file", path = "audit.jsonl" }}]

[[listener]]
protocol = "sftp"
address = "127.0.0.1:{sftp}"

[[listener]]
protocol = "ftps"
address = "127.0.0.1:{ftps}"

[[listener]]
protocol = "https"
address = "127.0.0.1:{https}"

# The chain: an address that fails too often is refused, some names never get in, then the accounts.
[[auth]]
type = "ip-time-ban"
ban_after_count = 10
ban_interval = "10m"

[[auth]]
type = "deny-username"
usernames = ["root"]

[[auth]]
type = "application"

[groups.demo]
mounts = [
  {{ path = "/", storage = "files", verbs = "full" }},
  {{ path = "/mail", storage = "mail", verbs = ["list", "read", "delete", "create", "rename", "set-attrs", "make-dir"] }},
]

[roles.administrator]
permissions = ["*"]

[storage.files]
type = "disk"
root = "files"

[storage.mail]
type = "maildir"
root = "mail"
on_upload = "draft"

[log]
level = "warn"
"#
    )
}

/// A configuration with the ports of its addresses taken out: two that differ only there are the same.
pub(super) fn without_ports(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once("\"127.0.0.1:") {
            Some((head, _)) if line.starts_with("address = ") => head.to_owned(),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Sample files and what is in them.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "README.txt",
        "Welcome to Portreeve.\n\nThis directory is served over SFTP, FTPS and HTTPS at once. Put a file here over\n\
         one of them and read it over another. /mail is a mailbox: its folders are directories, the attachments\n\
         of its messages are files.\n",
    ),
    (
        "reports/2024/quarter-1.csv",
        "month,orders,amount\n2024-01,118,20410.50\n2024-02,131,22986.00\n2024-03,140,25120.75\n",
    ),
    (
        "reports/2024/quarter-2.csv",
        "month,orders,amount\n2024-04,127,21775.25\n2024-05,149,27340.00\n2024-06,155,28011.90\n",
    ),
    (
        "reports/Übersicht für März.txt",
        "Namen mit Umlauten, Leerzeichen und \u{2603} sind nur Namen.\n",
    ),
    ("inbox/put files here.txt", "Anything may be put here.\n"),
];

//! Commands that set or tell something and touch no file.

use serde_json::json;

use super::rig::{Rig, Terms};
use crate::commands::TABLE;

async fn check(table: &[(&str, &str)]) {
    Rig::optional().alice().await.check(table).await;
}

#[tokio::test]
async fn types_modes_and_structures() {
    check(&[
        ("TYPE I", "200 image"),
        ("type i", "200 image"),
        ("TYPE L 8", "200 image"),
        ("TYPE A", "200 text"),
        ("TYPE A N", "200 text"),
        ("TYPE", "501 TYPE wants A or I"),
        ("TYPE E", "504 there are TYPE A and TYPE I"),
        ("TYPE L 36", "504 there are TYPE A and TYPE I"),
        ("TYPE A T", "504 there are TYPE A and TYPE I"),
        ("MODE S", "200 stream"),
        ("MODE s", "200 stream"),
        ("MODE", "501 MODE wants S"),
        ("MODE B", "504 there is nothing but MODE S"),
        ("MODE Z", "504 there is nothing but MODE S"),
        ("STRU F", "200 files"),
        ("STRU f", "200 files"),
        ("STRU", "501 STRU wants F"),
        ("STRU R", "504 there is nothing but STRU F"),
    ])
    .await;
}

#[tokio::test]
async fn numbers_are_digits_and_nothing_else() {
    check(&[
        ("ALLO 100", "200 the next upload is weighed by that size"),
        ("ALLO 100 R 80", "200 the next upload is weighed by that size"),
        ("ALLO", "501 ALLO wants a number of bytes"),
        ("ALLO -1", "501 ALLO wants a number of bytes"),
        ("ALLO 18446744073709551616", "501 ALLO wants a number of bytes"),
        ("REST 0", "350 the next transfer goes on at byte 0"),
        (
            "REST 18446744073709551615",
            "350 the next transfer goes on at byte 18446744073709551615",
        ),
        ("REST", "501 REST wants a number of bytes"),
        ("REST +1", "501 REST wants a number of bytes"),
        ("REST 1 ", "501 REST wants a number of bytes"),
        ("RANG 5 7", "350 from byte 5 to byte 7"),
        ("RANG 7 7", "350 from byte 7 to byte 7"),
        ("RANG 1 0", "350 the whole file"),
        ("RANG 7 5", "501 RANG wants the first and the last byte"),
        ("RANG 5", "501 RANG wants the first and the last byte"),
        ("RANG", "501 RANG wants the first and the last byte"),
        ("RANG 1 2 3", "501 RANG wants the first and the last byte"),
        ("RANG a b", "501 RANG wants the first and the last byte"),
    ])
    .await;
}

#[tokio::test]
async fn options_of_commands() {
    check(&[
        ("OPTS UTF8 ON", "200 names are UTF-8, always"),
        ("opts utf8 on", "200 names are UTF-8, always"),
        ("OPTS UTF8", "200 names are UTF-8, always"),
        ("OPTS UTF8 OFF", "504 names are UTF-8, always"),
        ("OPTS MLST type;size;bogus;", "200 MLST OPTS type;size;"),
        ("OPTS MLST", "200 MLST OPTS"),
        ("OPTS MLST UNIX.MODE;TYPE;", "200 MLST OPTS type;UNIX.mode;"),
        ("OPTS HASH", "200 SHA-256"),
        ("OPTS HASH md5", "200 MD5"),
        ("OPTS HASH", "200 MD5"),
        ("OPTS HASH SHA-1", "504 that digest is not known; FEAT lists them"),
        ("OPTS HASH", "200 MD5"),
        ("OPTS", "501 OPTS wants an option"),
        ("OPTS MODE Z", "501 there are OPTS UTF8, OPTS MLST and OPTS HASH"),
    ])
    .await;
}

#[tokio::test]
async fn feat_tells_what_is_chosen_and_nothing_that_is_not_there() {
    let mut far = Rig::optional().alice().await;
    let before = far.say("FEAT").await;
    assert!(
        before.starts_with("211-Features:\n AUTH TLS\n") && before.ends_with("\n211 End"),
        "{before}"
    );
    for line in [
        "HASH SHA-256*;SHA-512;MD5;CRC32",
        "MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;",
        "REST STREAM",
        "TVFS",
        "UTF8",
    ] {
        assert!(before.contains(&format!("\n {line}\n")), "{line}: {before}");
    }
    assert!(!before.contains("RANG"), "RETR does not heed it");
    for line in before.lines().filter(|line| line.starts_with(' ')) {
        let name = line.trim_start().split(' ').next().unwrap();
        let is_no_command = ["TVFS", "UTF8"].contains(&name);
        assert!(
            is_no_command || TABLE.iter().any(|command| command.name == name),
            "{name}"
        );
    }
    far.check(&[
        ("OPTS MLST size;", "200 MLST OPTS size;"),
        ("OPTS HASH CRC32", "200 CRC32"),
    ])
    .await;
    let after = far.say("FEAT").await;
    assert!(
        after.contains("\n MLST type;size*;modify;perm;unique;UNIX.mode;\n"),
        "{after}"
    );
    assert!(after.contains("\n HASH SHA-256;SHA-512;MD5;CRC32*\n"), "{after}");
}

#[tokio::test]
async fn help_names_every_command() {
    let mut far = Rig::optional().dial().await;
    let all = far.say("HELP").await;
    assert!(all.starts_with("214-Commands:\n") && all.ends_with("\n214 HELP COMMAND tells its arguments"));
    let named: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with(' '))
        .flat_map(str::split_whitespace)
        .collect();
    assert!(
        named.iter().eq(TABLE.iter().map(|command| &command.name)),
        "{named:?}"
    );
    far.check(&[
        ("HELP retr", "214 RETR path (needs the right to read)"),
        ("HELP PORT", "214 PORT h1,h2,h3,h4,p1,p2"),
        ("HELP MKD", "214 MKD path (needs the right to make-dir)"),
        ("HELP SITE EXEC", "504 no such command"),
        ("HELP FOO", "504 no such command"),
    ])
    .await;
}

#[tokio::test]
async fn who_and_what_is_there() {
    let rig = Rig::optional();
    let mut far = rig.dial().await;
    far.check(&[
        ("HOST ftp.example.com", "220 it is served here"),
        ("HOST [2001:db8::1]", "220 it is served here"),
        ("HOST", "501 HOST wants a host name"),
        ("HOST a b", "501 HOST wants a host name"),
        ("LANG", "200 replies are in English"),
        ("LANG EN", "200 replies are in English"),
        ("LANG en-GB", "200 replies are in English"),
        ("LANG end", "504 there is nothing but English: LANG EN"),
        ("LANG fr", "504 there is nothing but English: LANG EN"),
        ("CLNT lftp 4.9", "200 noted"),
        (
            "CSID Name=x; Version=1;",
            "200 Name=Portreeve; CaseSensitive=1; DirSep=/;",
        ),
        ("SYST", "215 UNIX Type: L8"),
        ("NOOP", "200 nothing done"),
        ("USER alice", "331 now the password, with PASS"),
        ("HOST ftp.example.com", "503 HOST comes before USER"),
        ("PASS open", "230 welcome"),
        ("HOST ftp.example.com", "503 HOST comes before USER"),
        ("SMNT /", "502 nothing can be mounted here"),
        ("ACCT", "202 no account is needed"),
        ("SITE HELP", "214-SITE commands:\n SITE CHMOD mode path\n…"),
        ("SITE", "214-SITE commands:\n…"),
        (
            "SITE EXEC ls",
            "504 there are SITE CHMOD, SITE UTIME and SITE HELP",
        ),
        ("SITE WHO", "504 there are SITE CHMOD, SITE UTIME and SITE HELP"),
        ("ABOR", "226 nothing was under way"),
        ("QUIT", "221 goodbye"),
    ])
    .await;
    far.ends().await;
}

#[tokio::test]
async fn stat_tells_how_the_connection_is() {
    let rig = Rig::tls("explicit");
    let mut far = rig.dial().await;
    let stat = far.say("STAT").await;
    assert!(
        stat.ends_with("\n not signed in\n TLS: none\n TYPE A, STRU F, MODE S, PROT C\n211 End"),
        "{stat}"
    );
    let mut far = rig.alice().await;
    far.expect("TYPE I", "200 image").await;
    let stat = far.say("STAT").await;
    assert!(
        stat.contains("\n signed in as alice\n TLS: TLSv1_3 TLS13_"),
        "{stat}"
    );
    assert!(
        stat.ends_with("\n TYPE I, STRU F, MODE S, PROT P\n211 End"),
        "{stat}"
    );
}

#[tokio::test]
async fn where_lines_are_converted_no_size_is_told_in_text() {
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional", "ascii": "convert"}),
        ..Terms::default()
    });
    rig.plant("/f", b"a\nb\n");
    let mut far = rig.alice().await;
    far.check(&[
        ("SIZE f", "550 no size is true in TYPE A; use TYPE I"),
        ("REST 2", "504 no offset is true in TYPE A; use TYPE I"),
        ("REST 0", "350 the next transfer goes on at byte 0"),
    ])
    .await;
    assert_eq!(
        far.get("RETR f").await,
        (b"a\r\nb\r\n".to_vec(), "226 6 bytes were sent".to_owned())
    );
    assert_eq!(far.put("STOR g", b"c\r\nd").await, "226 3 bytes were stored");
    far.check(&[
        ("TYPE I", "200 image"),
        ("SIZE f", "213 4"),
        ("SIZE g", "213 3"),
        ("REST 2", "350 the next transfer goes on at byte 2"),
    ])
    .await;
    assert_eq!(far.get("RETR f").await.0, b"b\n");
    // TYPE in between: the offset is that of the other type.
    far.check(&[
        ("REST 2", "350 the next transfer goes on at byte 2"),
        ("TYPE A", "200 text"),
        ("RETR f", "504 no offset is true in TYPE A; use TYPE I"),
    ])
    .await;
}

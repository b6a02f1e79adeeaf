//! Who is let in, and how connections end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod desk;

use std::sync::Arc;

use desk::{CREAT, Sftp, TRUNC, WRITE, desk, desk_over, string};
use portreeve_sftp::SftpOptions;
use portreeve_vfs::Memory;
use russh::{
    client::{AuthResult, KeyboardInteractiveAuthResponse},
    keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, key::safe_rng},
};

fn ed25519() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap())
}

fn rsa(bits: usize) -> Arc<PrivateKey> {
    Arc::new(PrivateKey::from(
        ssh_key::private::RsaKeypair::random(&mut safe_rng(), bits).unwrap(),
    ))
}

fn key_desk(key: &PrivateKey) -> desk::Desk {
    let memory = Arc::new(Memory::new());
    desk_over(
        Arc::clone(&memory) as _,
        memory,
        Some(key.public_key().clone()),
        &SftpOptions::default(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let desk = desk();
    for (user, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", "right"),
        ("alice\0", "right"),
        ("", "right"),
    ] {
        let mut ssh = desk.ssh().await;
        assert!(
            !ssh.authenticate_password(user, password).await.unwrap().success(),
            "{user:?}"
        );
        assert!(ssh.channel_open_session().await.is_err());
    }
    let mut ssh = desk.ssh().await;
    let AuthResult::Failure {
        remaining_methods, ..
    } = ssh.authenticate_none("alice").await.unwrap()
    else {
        panic!("let in for nothing");
    };
    assert_eq!(remaining_methods.len(), 3, "{remaining_methods:?}");
    assert!(
        ssh.authenticate_password("alice", "right")
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys() {
    let (right, wrong) = (ed25519(), ed25519());
    let desk = key_desk(&right);
    let with = |key: &Arc<PrivateKey>| PrivateKeyWithHashAlg::new(Arc::clone(key), None);
    let mut ssh = desk.ssh().await;
    assert!(
        !ssh.authenticate_publickey("alice", with(&wrong))
            .await
            .unwrap()
            .success()
    );
    assert!(
        !ssh.authenticate_publickey("nobody", with(&right))
            .await
            .unwrap()
            .success()
    );
    assert!(
        ssh.authenticate_publickey("alice", with(&right))
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_keys_are_refused_though_they_are_known() {
    let small = rsa(2048);
    let desk = key_desk(&small);
    for hash in [None, Some(HashAlg::Sha256)] {
        let mut ssh = desk.ssh().await;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&small), hash);
        assert!(!ssh.authenticate_publickey("alice", key).await.unwrap().success());
    }
    let memory = Arc::new(Memory::new());
    let options = SftpOptions {
        min_rsa_bits: 2048,
        ..SftpOptions::default()
    };
    let lax = desk_over(
        Arc::clone(&memory) as _,
        memory,
        Some(small.public_key().clone()),
        &options,
    );
    for (hash, expected) in [
        (None, false),
        (Some(HashAlg::Sha256), true),
        (Some(HashAlg::Sha512), true),
    ] {
        let mut ssh = lax.ssh().await;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&small), hash);
        assert_eq!(
            ssh.authenticate_publickey("alice", key).await.unwrap().success(),
            expected,
            "{hash:?}"
        );
    }
}

async fn answer(ssh: &mut desk::Ssh, text: &str) -> KeyboardInteractiveAuthResponse {
    ssh.authenticate_keyboard_interactive_respond(vec![text.to_owned()])
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keyboard_interactive_asks_for_password_and_code() {
    let desk = desk();
    let mut ssh = desk.ssh().await;
    ssh.authenticate_keyboard_interactive_start("carol", None)
        .await
        .unwrap();
    let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = answer(&mut ssh, "right").await else {
        panic!("no second question");
    };
    assert_eq!(prompts[0].prompt, "Code: ");
    let end = answer(&mut ssh, "42").await;
    assert!(matches!(end, KeyboardInteractiveAuthResponse::Success), "{end:?}");

    // The password by `password`, the code by keyboard-interactive.
    let mut ssh = desk.ssh().await;
    let AuthResult::Failure { partial_success, .. } =
        ssh.authenticate_password("carol", "right").await.unwrap()
    else {
        panic!("one factor was enough");
    };
    assert!(partial_success);
    let first = ssh
        .authenticate_keyboard_interactive_start("carol", None)
        .await
        .unwrap();
    assert!(
        matches!(first, KeyboardInteractiveAuthResponse::InfoRequest { .. }),
        "{first:?}"
    );
    let end = answer(&mut ssh, "42").await;
    assert!(matches!(end, KeyboardInteractiveAuthResponse::Success), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialogue_belongs_to_one_name() {
    let desk = desk();
    let mut ssh = desk.ssh().await;
    assert!(
        !ssh.authenticate_password("carol", "right")
            .await
            .unwrap()
            .success()
    );
    // Carol's first factor is no good for Alice: she starts from zero, with the password.
    let first = ssh
        .authenticate_keyboard_interactive_start("alice", None)
        .await
        .unwrap();
    let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = first else {
        panic!("{first:?}");
    };
    assert_eq!(prompts[0].prompt, "Password: ");
    let end = answer(&mut ssh, "42").await;
    assert!(
        matches!(end, KeyboardInteractiveAuthResponse::Failure { .. }),
        "{end:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_counted() {
    let desk = desk();
    let mut ssh = desk.ssh().await;
    let mut tries = 0;
    while let Ok(AuthResult::Failure { .. }) = ssh.authenticate_password("alice", "wrong").await {
        tries += 1;
        assert!(tries < 20);
    }
    // Six, and one that was under way when the connection was closed: that one is verified by nobody.
    assert!((6..=7).contains(&tries), "{tries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_open_uploads_finish_and_no_more() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    let idle = desk.alice().await;
    let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
    desk.gate.drain();
    assert!(sftp.ssh.channel_open_session().await.is_err());
    let refused = sftp.open("/g", WRITE | CREAT).await;
    assert!(refused.text().contains("shutting down"), "{}", refused.text());
    assert_eq!(
        sftp.ask(6, &Sftp::write_body(&handle, 0, b"done")).await.code(),
        0
    );
    assert_eq!(sftp.close(&handle).await.code(), 0);
    assert_eq!(sftp.try_answer().await, None, "sent away");
    closed(&idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_sent_away_with_its_partial_kept() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
    assert_eq!(
        sftp.ask(6, &Sftp::write_body(&handle, 0, b"1234")).await.code(),
        0
    );
    let id = desk.gate.sessions()[0].id;
    assert!(desk.gate.kill(id));
    assert_eq!(sftp.try_answer().await, None);
    let mut sftp = desk.sftp().await;
    while sftp.ask(17, &string(b"/f")).await.kind != 105 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sftp.stat("/f").await.size(), 4);
}

async fn closed(ssh: &desk::Ssh) {
    while !ssh.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ssh_host_ed25519_key");
    std::fs::write(
        &path,
        ed25519().to_openssh(ssh_key::LineEnding::LF).unwrap().as_bytes(),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let text = portreeve_sftp::HostKeys::load_or_create(dir.path())
        .unwrap_err()
        .to_string();
    assert!(text.contains("0640") && text.contains("chmod 600"), "{text}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "not a key").unwrap();
    let text = portreeve_sftp::HostKeys::load_or_create(dir.path())
        .unwrap_err()
        .to_string();
    assert!(text.contains("ssh_host_ed25519_key"), "{text}");
}

/// The lists of the server's KEXINIT (RFC 4253 section 7.1): key exchange, host keys, ciphers to and fro…
async fn kexinit(options: &SftpOptions) -> Vec<String> {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let memory = Arc::new(Memory::new());
    let desk = desk_over(Arc::clone(&memory) as _, memory, None, options);
    let mut stream = BufReader::new(desk.dial().await);
    stream.write_all(b"SSH-2.0-test\r\n").await.unwrap();
    stream.read_line(&mut String::new()).await.unwrap();
    let len = stream.read_u32().await.unwrap() as usize;
    let mut packet = vec![0; len];
    stream.read_exact(&mut packet).await.unwrap();
    assert_eq!(packet[1], 20, "SSH_MSG_KEXINIT");
    let mut rest = &packet[18..];
    let mut lists = Vec::new();
    for _ in 0..8 {
        let (len, tail) = rest.split_at(4);
        let (list, tail) = tail.split_at(u32::from_be_bytes(len.try_into().unwrap()) as usize);
        lists.push(String::from_utf8(list.to_vec()).unwrap());
        rest = tail;
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn only_host_keys_that_there_are_and_that_are_wanted_are_offered() {
    for (rsa_host_key, list) in [
        (true, "ssh-ed25519,rsa-sha2-512,rsa-sha2-256"),
        (false, "ssh-ed25519"),
    ] {
        let options = SftpOptions {
            rsa_host_key,
            ..SftpOptions::default()
        };
        assert_eq!(kexinit(&options).await[1], list);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_keys_are_taken_whatever_host_keys_there_are() {
    for curve in [EcdsaCurve::NistP256, EcdsaCurve::NistP384] {
        let key = Arc::new(PrivateKey::random(&mut safe_rng(), Algorithm::Ecdsa { curve }).unwrap());
        let mut ssh = key_desk(&key).ssh().await;
        let key = PrivateKeyWithHashAlg::new(key, None);
        assert!(
            ssh.authenticate_publickey("alice", key).await.unwrap().success(),
            "{curve:?}"
        );
    }
}

/// Whoever says nothing, or does not sign in, is sent away after `login_grace` (60 s).
#[tokio::test(start_paused = true)]
async fn who_does_not_sign_in_is_sent_away() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for said in [&b""[..], b"SSH-2.0-silent\r\n"] {
        let mut stream = desk().dial().await;
        let began = tokio::time::Instant::now();
        stream.write_all(said).await.unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(600), async {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
        ended.await.expect("the connection stays for ever");
        assert!(began.elapsed().as_secs() >= 59, "too soon: {:?}", began.elapsed());
    }
}

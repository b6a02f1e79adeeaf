//! One test for each bug that was found: what broke, and that it stays mended.

use portreeve_tests::{Portreeve, Sftp, clients, data, process::until, server::PATIENCE};

/// A server that stops reading the socket while a client with full windows waits for answers stands still
/// for ever: seen with 64 outstanding reads of 255 KiB in a prototype.
#[test]
fn many_outstanding_large_reads_do_not_stall() {
    let server = Portreeve::start();
    let (source, back) = (server.dir().join("source"), server.dir().join("back"));
    data::file(&source, 64 << 20, 1);
    let alice = Sftp::by_key(&server, "alice");
    alice
        .batch_with(&["-B", "261120", "-R", "64"], "put source big\nget big back")
        .ok();
    data::same(&source, &back);
    alice
        .batch_with(&["-B", "32768", "-R", "512"], "put source big2\nget big2 back")
        .ok();
    data::same(&source, &back);
}

/// A packet beyond the advertised limit ends the session, also while the client goes on sending and never
/// looks: asyncssh with blocks of 256 KiB once left both sides waiting.
#[test]
fn a_packet_beyond_the_limit_ends_the_session() {
    let server = Portreeve::start();
    let alice = Sftp::by_key(&server, "alice");
    let init = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut input = init.to_vec();
    for n in 0..120 {
        input.extend_from_slice(&(300u32 << 10).to_be_bytes());
        input.extend_from_slice(&data::bytes(300 << 10, n));
    }
    // The input stays open: only the server can end this.
    let mut held = alice.ssh_held(&["-s", &alice.at(), "sftp"], &input);
    until("the server ends it", PATIENCE, || !held.alive());
    alice.batch("pwd").ok();
}

/// The same from a client that has a file open and waits for a thousand answers.
#[test]
fn writes_beyond_the_limit_are_refused_and_do_not_hang() {
    let server = Portreeve::start();
    data::file(&server.dir().join("source"), 64 << 20, 1);
    let Some(done) = clients::python(
        &server,
        "asyncssh_client.py",
        "alice",
        &["too-large", "source", "/big"],
    ) else {
        return;
    };
    assert_eq!(done.status.code(), Some(1), "3: nobody ended it\n{}", done.said());
    Sftp::by_key(&server, "alice").batch("put source big").ok();
}

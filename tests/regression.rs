//! One test for each bug that was found: what broke, and that it stays mended.

use portreeve_tests::{Portreeve, Sftp, data};

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

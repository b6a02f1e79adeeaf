//! What the table lets through, for every command in every state.

use super::rig::{Far, Rig};
use crate::commands::TABLE;

const NO_TLS: &str = "534 TLS is needed here: send AUTH TLS first";
const NOBODY: &str = "530 sign in first, with USER and PASS";
const UNPROTECTED: &str = "521 data connections need TLS here: send PBSZ 0 and PROT P first";

/// Arguments with which a command does what it can.
fn argument(name: &str) -> &'static str {
    match name {
        "PORT" => " 127,0,0,1,200,200",
        "EPRT" => " |1|127.0.0.1|51400|",
        "PASV" | "EPSV" | "LIST" | "NLST" | "MLSD" | "STOU" | "STAT" => "",
        "USER" => " bob",
        _ => " x",
    }
}

/// Every command on a connection of its own.
async fn check(connect: impl AsyncFn() -> Far, expected: impl Fn(&crate::commands::Command) -> Option<&str>) {
    for command in TABLE {
        let mut far = connect().await;
        let came = far
            .say(&format!("{}{}", command.name, argument(command.name)))
            .await;
        match expected(command) {
            Some(refusal) => assert_eq!(came, refusal, "{}", command.name),
            None => assert!(
                ![NO_TLS, NOBODY, UNPROTECTED].contains(&came.as_str()),
                "{}: {came}",
                command.name
            ),
        }
        far.gone().await;
    }
}

#[tokio::test]
async fn without_tls_nothing_that_needs_it() {
    let rig = Rig::tls("explicit");
    check(async || rig.dial().await, |command| command.tls.then_some(NO_TLS)).await;
}

#[tokio::test]
async fn without_signing_in_nothing_of_a_persons() {
    let rig = Rig::tls("explicit");
    check(
        async || rig.secured().await,
        |command| command.signed_in.then_some(NOBODY),
    )
    .await;
    let rig = Rig::tls("implicit");
    check(
        async || rig.dial().await,
        |command| command.signed_in.then_some(NOBODY),
    )
    .await;
}

#[tokio::test]
async fn a_name_alone_opens_nothing() {
    let rig = Rig::optional();
    let named = async || {
        let mut far = rig.dial().await;
        far.expect("USER alice", "331 now the password, with PASS").await;
        far
    };
    check(named, |command| command.signed_in.then_some(NOBODY)).await;
}

#[tokio::test]
async fn where_tls_is_optional_signing_in_is_not() {
    let rig = Rig::optional();
    check(
        async || rig.dial().await,
        |command| command.signed_in.then_some(NOBODY),
    )
    .await;
    check(async || rig.alice().await, |_| None).await;
}

#[tokio::test]
async fn without_prot_p_no_data_connection_on_any_way() {
    const TRANSFERS: [&str; 11] = [
        "APPE", "EPRT", "EPSV", "LIST", "MLSD", "NLST", "PASV", "PORT", "RETR", "STOR", "STOU",
    ];
    let rig = Rig::tls("explicit");
    let alice = async || {
        let mut far = rig.secured().await;
        far.sign_in("alice").await;
        far
    };
    check(alice, |command| {
        TRANSFERS.contains(&command.name).then_some(UNPROTECTED)
    })
    .await;
    let knocks = rig.knocks();
    let asked = "a data connection without TLS was asked for";
    assert_eq!(
        knocks.iter().filter(|why| *why == asked).count(),
        TRANSFERS.len(),
        "{knocks:?}"
    );
}

#[tokio::test]
async fn whoever_is_signed_in_over_tls_passes_every_gate() {
    for tls in ["explicit", "implicit"] {
        let rig = Rig::tls(tls);
        check(async || rig.alice().await, |_| None).await;
    }
}

#[tokio::test]
async fn a_transfer_needs_a_data_connection() {
    let rig = Rig::tls("implicit");
    rig.plant("/x", b"");
    check(
        async || rig.alice().await,
        |command| {
            matches!(
                command.name,
                "APPE" | "LIST" | "MLSD" | "NLST" | "RETR" | "STOR" | "STOU"
            )
            .then_some("425 no data connection was prepared: send EPSV or PASV first")
        },
    )
    .await;
}

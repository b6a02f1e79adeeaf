//! PASV, EPSV, PORT and EPRT: what is told, and where no data connection goes.

use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::rig::{Far, Rig, Terms};

fn active() -> Rig {
    Rig::new(Terms {
        options: json!({"tls": "optional", "active": true}),
        ..Terms::default()
    })
}

/// The port that PASV tells.
async fn pasv(far: &mut Far) -> u16 {
    let came = far.say("PASV").await;
    let numbers = came.strip_prefix("227 Entering Passive Mode (").unwrap();
    let numbers: Vec<u16> = numbers
        .strip_suffix(")")
        .unwrap()
        .split(',')
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(numbers[..4], [127, 0, 0, 1]);
    numbers[4] * 256 + numbers[5]
}

#[tokio::test]
async fn epsv_and_its_arguments() {
    let mut far = Rig::optional().alice().await;
    far.check(&[
        ("EPSV", "229 Entering Extended Passive Mode (|||2…"),
        ("EPSV 1", "229 Entering Extended Passive Mode (|||2…"),
        ("EPSV 2", "522 network protocol not supported, use (1)"),
        ("EPSV 3", "522 network protocol not supported, use (1,2)"),
        ("EPSV x", "501 EPSV takes 1, 2, ALL or nothing"),
        ("EPSV ALL", "200 nothing but EPSV from now on"),
        ("PASV", "503 EPSV ALL was sent: only EPSV is taken"),
        (
            "PORT 127,0,0,1,200,200",
            "503 EPSV ALL was sent: only EPSV is taken",
        ),
        (
            "EPRT |1|127.0.0.1|51400|",
            "503 EPSV ALL was sent: only EPSV is taken",
        ),
        ("EPSV", "229 Entering Extended Passive Mode (|||2…"),
        ("REIN", "220 ready for another user"),
    ])
    .await;
    far.sign_in("alice").await;
    pasv(&mut far).await;
}

#[tokio::test]
async fn a_session_holds_one_port_at_most() {
    let mut far = Rig::optional().alice().await;
    let first = pasv(&mut far).await;
    let second = pasv(&mut far).await;
    assert_ne!(first, second);
    assert!(TcpStream::connect(("127.0.0.1", first)).await.is_err());
    TcpStream::connect(("127.0.0.1", second)).await.unwrap();
    far.expect("ABOR", "226 nothing was under way").await;
    assert!(
        TcpStream::connect(("127.0.0.1", second)).await.is_err(),
        "ABOR closes it"
    );
    let third = pasv(&mut far).await;
    far.gone().await;
    assert!(
        TcpStream::connect(("127.0.0.1", third)).await.is_err(),
        "the end closes it"
    );
}

#[tokio::test]
async fn a_port_is_good_for_one_transfer() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.alice().await;
    assert_eq!(far.get("RETR f").await.0, b"content");
    far.expect(
        "RETR f",
        "425 no data connection was prepared: send EPSV or PASV first",
    )
    .await;
}

#[tokio::test]
async fn where_every_port_is_taken_that_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional", "passive_ports": format!("{port}-{port}")}),
        ..Terms::default()
    });
    let mut far = rig.alice().await;
    let full = "425 no port for a data connection can be had now; try again";
    far.check(&[("PASV", full), ("EPSV", full)]).await;
    drop(taken);
    assert_eq!(pasv(&mut far).await, port);
}

#[tokio::test]
async fn pasv_tells_the_public_address() {
    for (address, expected) in [
        (json!("203.0.113.7"), "227 Entering Passive Mode (203,0,113,7,…"),
        (
            json!([{"networks": ["127.0.0.0/8"], "address": "10.0.0.5"}, {"address": "203.0.113.7"}]),
            "227 Entering Passive Mode (10,0,0,5,…",
        ),
        (
            json!([{"networks": ["10.0.0.0/8"], "address": "10.0.0.5"}]),
            "227 Entering Passive Mode (127,0,0,1,…",
        ),
        (json!("localhost"), "227 Entering Passive Mode (127,0,0,1,…"),
        (
            json!("name.invalid"),
            "425 the server's public address cannot be looked up now; use EPSV",
        ),
    ] {
        let rig = Rig::new(Terms {
            options: json!({"tls": "optional", "public_address": address}),
            ..Terms::default()
        });
        rig.alice().await.expect("PASV", expected).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_connect_says_so() {
    let rig = Rig::optional();
    let mut far = rig.alice().await;
    let refused = "502 the server does not connect to clients; use EPSV or PASV";
    far.check(&[
        ("PORT 127,0,0,1,200,200", refused),
        ("EPRT |1|127.0.0.1|51400|", refused),
        ("PORT 127,0,0,1,200", "501 PORT wants h1,h2,h3,h4,p1,p2"),
        (
            "LIST",
            "425 no data connection was prepared: send EPSV or PASV first",
        ),
    ])
    .await;
    let why = "an active data connection was asked for, which the listener does not allow";
    assert_eq!(rig.knocks(), [why, why]);
}

#[tokio::test]
async fn no_bounce() {
    let rig = active();
    let mut far = rig.alice().await;
    let refused = "504 a data connection goes to your own address and a port from 1024 on";
    far.check(&[
        ("PORT 127,0,0,2,200,200", refused),
        ("PORT 127,0,0,1,3,255", refused),
        ("PORT 192,0,2,1,200,200", refused),
        ("EPRT |1|127.0.0.2|51400|", refused),
        ("EPRT |1|127.0.0.1|25|", refused),
        ("EPRT |2|::1|51400|", refused),
        (
            "EPRT |3|x|51400|",
            "522 network protocol not supported, use (1,2)",
        ),
        ("EPRT x", "501 EPRT wants |1|address|port| or |2|address|port|"),
        ("PORT 127,0,0,1,0,0", "501 PORT wants h1,h2,h3,h4,p1,p2"),
        (
            "LIST",
            "425 no data connection was prepared: send EPSV or PASV first",
        ),
    ])
    .await;
    assert_eq!(rig.knocks().len(), 6);
    assert_eq!(
        rig.knocks()[0],
        "a data connection to 127.0.0.2:51400 was asked for, which is not the client"
    );
}

#[tokio::test]
async fn to_the_client_itself_the_server_connects() {
    let rig = active();
    rig.plant("/f", b"content");
    let mut far = rig.alice().await;
    let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listening.local_addr().unwrap().port();
    for way in [
        format!("PORT 127,0,0,1,{},{}", port / 256, port % 256),
        format!("EPRT |1|127.0.0.1|{port}|"),
        format!("EPRT |2|::ffff:127.0.0.1|{port}|"),
    ] {
        far.expect(&way, "200 the next data connection goes there").await;
        far.expect("RETR f", "150 here come 7 bytes").await;
        let (mut data, _) = listening.accept().await.unwrap();
        let mut content = Vec::new();
        data.read_to_end(&mut content).await.unwrap();
        assert_eq!(content, b"content", "{way}");
        far.hears("226 7 bytes were sent").await;
    }
    drop(listening);
    far.expect(
        &format!("EPRT |1|127.0.0.1|{port}|"),
        "200 the next data connection goes there",
    )
    .await;
    far.expect("RETR f", "425 no data connection came about: …").await;
}

#[tokio::test]
async fn a_stranger_on_the_port_is_closed_and_recorded_and_the_wait_goes_on() {
    let rig = Rig::optional();
    rig.plant("/f", b"content");
    let mut far = rig.alice().await;
    let port = pasv(&mut far).await;
    let stranger = tokio::net::TcpSocket::new_v4().unwrap();
    stranger.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stranger = stranger.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    far.send(b"RETR f\r\n").await;
    let mut came = Vec::new();
    let _ = stranger.read_to_end(&mut came).await;
    assert!(came.is_empty());
    let mut data = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    far.hears("150 here come 7 bytes").await;
    data.read_to_end(&mut came).await.unwrap();
    assert_eq!(came, b"content");
    far.hears("226 7 bytes were sent").await;
    assert_eq!(
        rig.knocks(),
        ["a data connection came from 127.0.0.9, which is not the client"]
    );
}

pub(crate) mod rig;

use std::sync::Arc;

use rustls::{
    ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
    server::{ProducesTickets, StoresServerSessions},
};

use self::rig::{Keeping, TLS12, TLS13, Versions, client, listener};
use super::{
    Binding,
    sessions::Sessions,
    views::{ControlView, DataView},
};
use crate::SessionReuse::{self, Off, Prefer, Require};

const BOTH: [Versions; 2] = [TLS12, TLS13];

/// One handshake, in memory; a word each way, so that tickets arrive.
fn shake(
    client: &Arc<rustls::ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<HandshakeKind, rustls::Error> {
    let name = "localhost".try_into().unwrap();
    let mut near = ServerConnection::new(server).unwrap();
    let mut far = ClientConnection::new(Arc::clone(client), name).unwrap();
    let (mut bytes, mut quiet) = (Vec::new(), 0);
    while quiet < 2 {
        bytes.clear();
        far.write_tls(&mut bytes).unwrap();
        let came = bytes.len();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            near.read_tls(&mut rest).unwrap();
            near.process_new_packets()?;
        }
        bytes.clear();
        near.write_tls(&mut bytes).unwrap();
        let went = bytes.len();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            far.read_tls(&mut rest).unwrap();
            far.process_new_packets()?;
        }
        quiet = if came + went == 0 { quiet + 1 } else { 0 };
    }
    assert!(!near.is_handshaking() && !far.is_handshaking());
    assert_eq!(near.handshake_kind(), far.handshake_kind());
    Ok(near.handshake_kind().unwrap())
}

struct Pair {
    binding: Binding,
    client: Arc<rustls::ClientConfig>,
    store: Arc<Keeping>,
}

/// A control connection that is up, and its client.
fn pair(versions: Versions, reuse: SessionReuse) -> Pair {
    pair_of(&Arc::new(listener(versions)), versions, reuse)
}

fn pair_of(base: &Arc<ServerConfig>, versions: Versions, reuse: SessionReuse) -> Pair {
    let binding = Binding::new(base, reuse);
    let store = Keeping::new();
    let client = Arc::new(client(versions, Arc::<Keeping>::clone(&store)));
    assert_eq!(shake(&client, binding.control()).unwrap(), HandshakeKind::Full);
    Pair {
        binding,
        client,
        store,
    }
}

#[test]
fn data_connections_resume_the_control_session_again_and_again() {
    for versions in BOTH {
        for reuse in [Prefer, Require] {
            let Pair {
                binding,
                client,
                store,
            } = pair(versions, reuse);
            let tickets = store.tickets();
            for _ in 0..8 {
                assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Resumed);
            }
            assert_eq!(
                store.tickets(),
                tickets,
                "a data connection sends no TLS 1.3 ticket"
            );
        }
    }
}

#[test]
fn a_tls_1_2_client_without_tickets_resumes_by_session_id() {
    let base = Arc::new(listener(TLS12));
    let binding = Binding::new(&base, Prefer);
    let mut client = client(TLS12, Keeping::new());
    client.resumption = client
        .resumption
        .tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
    let client = Arc::new(client);
    assert_eq!(shake(&client, binding.control()).unwrap(), HandshakeKind::Full);
    for _ in 0..3 {
        assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Resumed);
    }
}

#[test]
fn the_session_of_another_control_connection_is_not_resumed() {
    for versions in BOTH {
        let base = Arc::new(listener(versions));
        let (one, other) = (pair_of(&base, versions, Prefer), pair_of(&base, versions, Prefer));
        assert_eq!(
            shake(&one.client, other.binding.data()).unwrap(),
            HandshakeKind::Full
        );
        assert_eq!(
            shake(&one.client, other.binding.control()).unwrap(),
            HandshakeKind::Full
        );
    }
}

#[test]
fn a_data_connection_makes_no_session() {
    for versions in BOTH {
        let base = Arc::new(listener(versions));
        let binding = Binding::new(&base, Prefer);
        let client = Arc::new(client(versions, Keeping::new()));
        for _ in 0..3 {
            assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Full);
        }
        assert_eq!(binding.sessions.len(), 0);
    }
}

#[test]
fn a_full_handshake_of_a_data_connection_does_not_harm_the_control_session() {
    for versions in BOTH {
        let Pair { binding, client, .. } = pair(versions, Prefer);
        let stranger = Arc::new(rig::client(versions, Keeping::new()));
        assert_eq!(shake(&stranger, binding.data()).unwrap(), HandshakeKind::Full);
        assert_eq!(shake(&stranger, binding.data()).unwrap(), HandshakeKind::Full);
        assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Resumed);
    }
}

#[test]
fn after_the_control_connection_nothing_is_resumed() {
    for versions in BOTH {
        let Pair { binding, client, .. } = pair(versions, Prefer);
        let (data, control) = (binding.data(), binding.control());
        drop(binding);
        assert_eq!(shake(&client, data).unwrap(), HandshakeKind::Full);
        assert_eq!(shake(&client, control).unwrap(), HandshakeKind::Full);
    }
}

#[test]
fn off_means_that_nothing_is_resumed() {
    for versions in BOTH {
        let Pair {
            binding,
            client,
            store,
        } = pair(versions, Off);
        assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Full);
        assert_eq!(shake(&client, binding.control()).unwrap(), HandshakeKind::Full);
        assert_eq!(store.tickets(), 0);
    }
}

#[test]
fn another_server_name_is_a_full_handshake_and_leaves_the_old_ticket_good() {
    // rustls keeps sessions by name; a store that forgets the name shows the ticket under another one.
    let Pair { binding, client, .. } = pair(TLS13, Prefer);
    let mut nameless = rustls::ClientConfig::clone(&client);
    nameless.enable_sni = false;
    let nameless = Arc::new(nameless);
    assert_eq!(shake(&nameless, binding.data()).unwrap(), HandshakeKind::Full);
    assert_eq!(shake(&client, binding.data()).unwrap(), HandshakeKind::Resumed);

    let Pair { binding, client, .. } = pair(TLS12, Prefer);
    let mut nameless = rustls::ClientConfig::clone(&client);
    nameless.enable_sni = false;
    let nameless = Arc::new(nameless);
    assert_eq!(shake(&nameless, binding.data()).unwrap(), HandshakeKind::Full);
    assert_eq!(
        shake(&nameless, binding.data()).unwrap(),
        HandshakeKind::Full,
        "the session of a data connection got no ticket"
    );
}

#[test]
fn data_connections_know_alpn_only_where_the_listener_does() {
    let offering = |alpn: &str| {
        let mut config = client(TLS13, Keeping::new());
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Arc::new(config)
    };
    let silent = Binding::new(&Arc::new(listener(TLS13)), Prefer);
    assert!(shake(&offering("h2"), silent.data()).is_ok());
    let mut base = listener(TLS13);
    base.alpn_protocols = vec![b"ftp".to_vec()];
    let strict = Binding::new(&Arc::new(base), Prefer);
    for (alpn, good) in [
        ("ftp", true),
        ("ftp-data", true),
        ("h2", false),
        ("http/1.1", false),
    ] {
        assert_eq!(shake(&offering(alpn), strict.data()).is_ok(), good, "{alpn}");
    }
    assert!(shake(&offering("ftp-data"), strict.control()).is_err());
}

#[test]
fn a_bounded_number_of_sessions_is_held_and_none_is_shown() {
    let sessions = Sessions::default();
    let first = sessions.name(b"the first secret").unwrap();
    assert_eq!(first.len(), 32);
    for n in 0..40u8 {
        assert!(sessions.put(vec![n; 32], vec![n; 64]));
    }
    assert_eq!((sessions.len(), sessions.find(&first)), (16, None));
    assert_eq!(sessions.find(&[39; 32]), Some(vec![39; 64]));
    assert!(sessions.put(vec![39; 32], b"newer".to_vec()));
    assert_eq!(
        (sessions.len(), sessions.find(&[39; 32]).unwrap()),
        (16, b"newer".to_vec())
    );
    assert!(!sessions.put(vec![7; 32], vec![0; 1 << 20]));
    assert_eq!(format!("{sessions:?}"), "Sessions(16)");
}

#[test]
fn a_ticket_is_good_for_every_data_connection() {
    let sessions = Arc::new(Sessions::default());
    let ticket = ControlView::new(&sessions).encrypt(b"a session").unwrap();
    for _ in 0..3 {
        let view = DataView::new(&sessions);
        assert!(!view.enabled() && !view.can_cache() && !view.put(vec![1; 32], vec![2; 64]));
        for _ in 0..3 {
            for found in [view.take(&ticket), view.get(&ticket), view.decrypt(&ticket)] {
                assert_eq!(found.unwrap(), b"a session");
            }
        }
        assert!(view.enabled());
        assert_eq!(
            (view.take(b"a guess"), view.encrypt(b"another session")),
            (None, None)
        );
    }
    assert_eq!(sessions.len(), 1);
}

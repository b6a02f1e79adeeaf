//! The codec against itself, against lies, and against whatever proptest thinks of.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text].concat()
}

fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = ((5 + body.len()) as u32).to_be_bytes().to_vec();
    packet.push(kind);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

fn write_packet(id: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    packet(
        6,
        id,
        &[
            &string(&7_u64.to_be_bytes())[..],
            &offset.to_be_bytes(),
            &string(data),
        ]
        .concat(),
    )
}

fn parse(bytes: &[u8], cut: usize) -> Vec<Incoming> {
    let mut inbox = Inbox::default();
    let mut all = Vec::new();
    for chunk in bytes.chunks(cut) {
        inbox.push(Bytes::copy_from_slice(chunk));
        while let Some(incoming) = inbox.next_request().unwrap() {
            all.push(incoming);
        }
    }
    assert!(inbox.is_empty());
    all
}

#[expect(clippy::needless_pass_by_value, reason = "the cases read better so")]
fn check(packet: &[u8], expected: Option<Request>) {
    for cut in [1, 3, 7, packet.len()] {
        let parsed = parse(&[packet, &packet_init()].concat(), cut);
        assert_eq!(
            parsed.first().map(|p| p.request.clone()),
            Some(expected.clone()),
            "cut {cut}"
        );
        assert_eq!(
            parsed.get(1).map(|p| p.request.clone()),
            Some(Some(Request::Init)),
            "in step, cut {cut}"
        );
    }
}

fn packet_init() -> Vec<u8> {
    packet(1, 3, b"")
}

#[test]
fn requests() {
    let handle = Handle(Some(7));
    let h = string(&7_u64.to_be_bytes());
    check(&packet(4, 9, &h), Some(Request::Close { handle }));
    check(
        &packet(4, 9, &string(b"short")),
        Some(Request::Close { handle: Handle(None) }),
    );
    check(
        &packet(
            5,
            9,
            &[&h[..], &5_u64.to_be_bytes(), &6_u32.to_be_bytes()].concat(),
        ),
        Some(Request::Read {
            handle,
            offset: 5,
            len: 6,
        }),
    );
    check(
        &packet(18, 9, &[string(b"a\xff"), string(b"/b")].concat()),
        Some(Request::Rename {
            from: Bytes::from_static(b"a\xff"),
            to: Bytes::from_static(b"/b"),
        }),
    );
    let attrs = WireAttrs {
        size: Some(1),
        owner: Some((2, 3)),
        permissions: Some(0o644),
        times: Some((4, 5)),
    };
    let mut body = string(b"f");
    attrs.encode(&mut body);
    check(
        &packet(9, 9, &body),
        Some(Request::SetStat {
            path: Bytes::from_static(b"f"),
            attrs,
        }),
    );
    check(
        &packet(200, 9, &string(b"nobody@example.com")),
        Some(Request::Extended(Extension::Unknown(Bytes::from_static(
            b"nobody@example.com",
        )))),
    );
    check(&packet(99, 9, b"whatever"), Some(Request::Unknown(99)));
}

#[test]
fn lies_cost_their_packet_only() {
    let h = string(&7_u64.to_be_bytes());
    check(&packet(4, 9, &[0, 0]), None);
    check(&packet(4, 9, &u32::MAX.to_be_bytes()), None);
    check(
        &packet(6, 9, &[&h[..], &[0; 8], &u32::MAX.to_be_bytes(), b"x"].concat()),
        None,
    );
    check(
        &packet(9, 9, &[&string(b"f")[..], &u32::MAX.to_be_bytes()].concat()),
        None,
    );
    let extended = [
        &string(b"f")[..],
        &0x8000_0000_u32.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
    ]
    .concat();
    check(&packet(9, 9, &extended), None);
    let one = [&1_u32.to_be_bytes()[..], &[5]].concat();
    check(&one, None);
}

#[test]
fn impossible_frames_are_told_apart_from_short_ones() {
    for length in [0, MAX_PACKET + 1, u32::MAX] {
        let mut inbox = Inbox::default();
        inbox.push(Bytes::copy_from_slice(&length.to_be_bytes()));
        assert_eq!(inbox.next_request(), Err(BrokenFrame(length)));
    }
    let mut inbox = Inbox::default();
    inbox.push(Bytes::copy_from_slice(&MAX_PACKET.to_be_bytes()));
    assert_eq!(inbox.next_request(), Ok(None));
}

#[test]
fn data_of_a_write_is_not_copied() {
    let data: Vec<u8> = (0..110_000_u32).map(|n| n as u8).collect();
    let whole = Bytes::from(write_packet(1, 0, &data));
    let range = whole.as_ptr() as usize..whole.as_ptr() as usize + whole.len();
    let mut inbox = Inbox::default();
    for start in (0..whole.len()).step_by(32_768) {
        inbox.push(whole.slice(start..(start + 32_768).min(whole.len())));
    }
    let Some(Request::Write { data: pieces, .. }) = inbox.next_request().unwrap().unwrap().request else {
        panic!("not a write");
    };
    assert_eq!(pieces.len(), 4);
    assert!(
        pieces
            .iter()
            .all(|piece| range.contains(&(piece.as_ptr() as usize)))
    );
    assert_eq!(pieces.concat(), data);
}

#[test]
fn a_long_queue_of_small_packets_is_gathered() {
    let mut inbox = Inbox::default();
    let count = 100_000_u32;
    for id in 0..count {
        inbox.push(packet(4, id, &string(&7_u64.to_be_bytes())).into());
    }
    for id in 0..count {
        assert_eq!(inbox.next_request().unwrap().map(|p| p.id), Some(id));
    }
    assert!(inbox.is_empty());
}

#[test]
fn data_replies_are_patched_in_place() {
    let mut out = b"before".to_vec();
    let start = begin_data(&mut out, 77);
    out.extend_from_slice(b"hello");
    assert_eq!(end_data(&mut out, start), 5);
    assert_eq!(out, b"before\0\0\0\x0e\x67\0\0\0\x4d\0\0\0\x05hello");
}

#[test]
fn names_are_counted() {
    let mut out = Vec::new();
    let mut names = Names::begin(&mut out, 5);
    names.add(&mut out, b"a", &WireAttrs::default(), 1, 0);
    names.add_bare(&mut out, b"b");
    names.end(&mut out);
    assert_eq!(out[..4], (out.len() as u32 - 4).to_be_bytes());
    assert_eq!(out[9..13], [0, 0, 0, 2]);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..4096), cut in 1_usize..512) {
        let _ = parse_everything(&bytes, cut);
    }

    #[test]
    fn framed_garbage_keeps_step(
        bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        cut in 1_usize..700,
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|(kind, body)| packet(*kind, 42, body)).collect();
        let parsed = parse(&stream, cut);
        prop_assert_eq!(parsed.len(), bodies.len());
        prop_assert!(parsed.iter().all(|p| p.id == 42));
    }

    #[test]
    fn writes_survive_any_cut(
        data in prop::collection::vec(any::<u8>(), 0..5000),
        offset in any::<u64>(),
        cut in 1_usize..6000,
    ) {
        let parsed = parse(&write_packet(3, offset, &data), cut);
        let Some(Request::Write { offset: at, data: pieces, .. }) = &parsed[0].request else {
            return Err(TestCaseError::fail("not a write"));
        };
        prop_assert_eq!(*at, offset);
        prop_assert_eq!(pieces.concat(), data);
    }
}

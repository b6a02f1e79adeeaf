//! What an FTP client sends, in pieces: whatever the cut, the same lines come out, and no reply that
//! quotes one is more than a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_ftp::wire::{Line, Lines, MAX_LINE, Reply, is_http, parse};

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = read(bytes, 4096);
    assert_eq!(
        read(bytes, usize::from(cut % 4096)),
        whole,
        "the cut changed what was understood"
    );
    let (lines, discarded) = whole;
    assert!(discarded <= bytes.len() as u64);
    for line in lines {
        let Line::Whole(line) = line else { continue };
        assert!(line.len() < MAX_LINE && !line.contains(&b'\n'));
        one_line(&line);
        let Ok(request) = parse(line.clone()) else {
            continue;
        };
        let verb = request.verb.as_str();
        assert!(!verb.is_empty() && !verb.bytes().any(|byte| byte.is_ascii_lowercase()));
        assert!(line.ends_with(&request.argument));
        let _ = is_http(verb);
    }
});

fn read(bytes: &[u8], cut: usize) -> (Vec<Line>, u64) {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for piece in bytes.chunks(cut.max(1)) {
        lines.feed(piece);
        all.extend(&mut lines);
    }
    (all, lines.discarded())
}

fn one_line(text: &[u8]) {
    let mut out = Vec::new();
    Reply::bytes(550, text.to_vec()).append_to(&mut out);
    let inside = out
        .strip_suffix(b"\r\n")
        .and_then(|rest| rest.strip_prefix(b"550 "));
    assert!(inside.is_some_and(|text| !text.iter().any(u8::is_ascii_control)));
}

//! Arguments of FTP commands: what is understood is what would be written, and paths, patterns and
//! listings hold to one line.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use portreeve_ftp::wire::{
    Facts, append_quoted, append_shown, append_time, eprt, epsv, number, pasv_text, path, port, split, time,
    without_options,
};
use portreeve_model::VPath;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (argument, other) = input;
    addresses(argument);
    times(argument);
    let facts = Facts::choose(argument);
    let chosen = facts.chosen();
    assert_eq!(Facts::choose(&chosen.as_bytes()["MLST OPTS".len()..]), facts);
    paths(other, argument);
    patterns(argument, other);
});

fn addresses(argument: &[u8]) {
    if let Some(at) = port(argument) {
        assert!(at.port() != 0);
        let text = pasv_text(at);
        let inside = text.split(['(', ')']).nth(1).unwrap_or_default();
        assert_eq!(port(inside.as_bytes()), Some(at));
    }
    if let Ok(at) = eprt(argument) {
        assert!(at.port() != 0 && at.ip() == at.ip().to_canonical());
        let kind = if matches!(at, SocketAddr::V4(_)) { 1 } else { 2 };
        let text = format!("|{kind}|{}|{}|", at.ip(), at.port());
        assert_eq!(eprt(text.as_bytes()), Ok(at));
    }
    let _ = epsv(argument);
    if let Some(value) = number(argument) {
        assert_eq!(number(value.to_string().as_bytes()), Some(value));
    }
}

fn times(argument: &[u8]) {
    let Some(at) = time(argument) else { return };
    let mut out = Vec::new();
    append_time(&mut out, at);
    let leap_second = argument.get(12..14) == Some(b"60");
    assert!(leap_second || argument.starts_with(&out));
}

fn paths(cwd: &[u8], argument: &[u8]) {
    let Ok(cwd) = VPath::parse(cwd) else { return };
    let Ok(path) = path(&cwd, argument) else { return };
    let mut out = Vec::new();
    append_quoted(&mut out, &path);
    append_shown(&mut out, argument);
    assert!(!out.iter().any(u8::is_ascii_control));
}

fn patterns(argument: &[u8], name: &[u8]) {
    let rest = without_options(argument);
    assert!(argument.ends_with(rest));
    let (directory, pattern) = split(rest);
    assert!(rest.starts_with(directory));
    let Some(pattern) = pattern else { return };
    assert!(directory.is_empty() || directory.ends_with(b"/"));
    let _ = pattern.matches(name);
    let stars = split(b"*").1.is_some_and(|all| all.matches(name));
    assert!(stars, "a star did not take a name");
}

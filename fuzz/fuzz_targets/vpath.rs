//! Paths and names from a wire: a path never holds what it must not, and means the same when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portreeve_model::{UserName, VPath};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (base, raw) = input;
    if let Ok(user) = UserName::from_wire(raw) {
        assert!(!user.as_str().chars().any(char::is_control));
        let _ = user.folded();
    }
    let Ok(base) = VPath::parse(base) else { return };
    let Ok(path) = base.resolve(raw) else { return };
    assert!(path.as_bytes().starts_with(b"/") && !path.as_bytes().contains(&0));
    for part in path.components() {
        assert!(!part.is_empty() && part != b"." && part != b".." && part.len() <= 255);
    }
    assert_eq!(VPath::parse(path.as_bytes()), Ok(path.clone()), "it means something else when read again");
    if let Some(within) = path.strip_prefix(&base) {
        assert_eq!(base.append(&within), Ok(path.clone()));
    }
    assert!(path.to_string().chars().all(|c| !c.is_control()), "it would steer a terminal");
});

//! Facts of MLST and MLSD (RFC 3659 §7).
//!
//! Invariant: a fact that is not known is not told. Written by hand: a listing has 100,000 entries.

use portreeve_model::{Verb, VerbSet};
use portreeve_session::{Entry, FileKind};

use super::time::{append_time, can_be_written};

const TYPE: u8 = 1;
const SIZE: u8 = 2;
const MODIFY: u8 = 4;
const PERM: u8 = 8;
const UNIQUE: u8 = 16;
const MODE: u8 = 32;

/// Every fact, in the order in which they are told.
const ALL: [(u8, &str); 6] = [
    (TYPE, "type"),
    (SIZE, "size"),
    (MODIFY, "modify"),
    (PERM, "perm"),
    (UNIQUE, "unique"),
    (MODE, "UNIX.mode"),
];

/// Which facts a client wants; all by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts(u8);

impl Default for Facts {
    fn default() -> Self {
        Self(ALL.iter().fold(0, |all, (bit, _)| all | bit))
    }
}

impl Facts {
    /// What follows `OPTS MLST` (§7.9), as in `type;size;`. Unknown facts are left out; nothing at all
    /// means none.
    #[must_use]
    pub fn choose(argument: &[u8]) -> Self {
        let chosen = argument.split(|byte| *byte == b';').filter_map(|word| {
            let known = |(_, name): &&(u8, &str)| name.as_bytes().eq_ignore_ascii_case(word.trim_ascii());
            ALL.iter().find(known)
        });
        Self(chosen.fold(0, |all, (bit, _)| all | bit))
    }

    /// The line of FEAT (§7.8): `MLST type*;size*;`, a star where a fact is wanted.
    #[must_use]
    pub fn feature(self) -> String {
        let mut line = String::from("MLST ");
        for (bit, name) in ALL {
            line.push_str(name);
            line.push_str(if self.has(bit) { "*;" } else { ";" });
        }
        line
    }

    /// The answer to `OPTS MLST` (§7.9): `MLST OPTS type;size;`.
    #[must_use]
    pub fn chosen(self) -> String {
        let mut line = String::from("MLST OPTS");
        for (at, (_, name)) in ALL.iter().filter(|(bit, _)| self.has(*bit)).enumerate() {
            line.push_str(if at == 0 { " " } else { "" });
            line.push_str(name);
            line.push(';');
        }
        line
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// What an entry is to its listing (§7.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldKind {
    /// An entry by its name.
    Named,
    /// The listed directory itself (`cdir`).
    Current,
    /// The directory above it (`pdir`).
    Parent,
}

/// What is told about.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// What it is to its listing.
    pub kind: ToldKind,
    /// What its reader may do to it.
    pub verbs: VerbSet,
    /// A number that the same file has under each of its names, and no other file.
    pub unique: u64,
}

/// Appends facts and the space that ends them; the name and the end of the line are the caller's.
pub fn append_facts(out: &mut Vec<u8>, facts: Facts, told: &Told<'_>) {
    let entry = told.entry;
    if facts.has(TYPE) {
        out.extend_from_slice(kind(told));
    }
    if facts.has(SIZE)
        && entry.is_file()
        && let Some(size) = entry.size
    {
        out.extend_from_slice(b"size=");
        super::number::append(out, size, 0, b' ');
        out.push(b';');
    }
    if facts.has(MODIFY)
        && let Some(modified) = entry.modified.filter(|at| can_be_written(*at))
    {
        out.extend_from_slice(b"modify=");
        append_time(out, modified);
        out.push(b';');
    }
    if facts.has(PERM) {
        out.extend_from_slice(b"perm=");
        permissions(out, entry.kind, told.verbs);
        out.push(b';');
    }
    if facts.has(UNIQUE) {
        out.extend_from_slice(b"unique=");
        hexadecimal(out, told.unique);
        out.push(b';');
    }
    if facts.has(MODE)
        && let Some(mode) = entry.mode
    {
        out.extend_from_slice(b"UNIX.mode=");
        for shift in [9, 6, 3, 0] {
            out.push(b'0' + (mode >> shift & 7) as u8);
        }
        out.push(b';');
    }
    out.push(b' ');
}

fn kind(told: &Told<'_>) -> &'static [u8] {
    match (told.kind, told.entry.kind) {
        (ToldKind::Current, _) => b"type=cdir;",
        (ToldKind::Parent, _) => b"type=pdir;",
        (ToldKind::Named, FileKind::File) => b"type=file;",
        (ToldKind::Named, FileKind::Dir) => b"type=dir;",
        (ToldKind::Named, FileKind::Symlink) => b"type=OS.unix=slink;",
        (ToldKind::Named, FileKind::Other) => b"type=OS.unix=other;",
    }
}

/// The letters of §7.5.5. A link and a device can be renamed and removed; what opening a link reaches is
/// not known here.
fn permissions(out: &mut Vec<u8>, kind: FileKind, verbs: VerbSet) {
    let letters: &[(u8, Verb)] = match kind {
        FileKind::File => &[
            (b'a', Verb::Append),
            (b'd', Verb::Delete),
            (b'f', Verb::Rename),
            (b'r', Verb::Read),
            (b'w', Verb::Overwrite),
        ],
        FileKind::Dir => &[
            (b'c', Verb::Create),
            (b'd', Verb::Delete),
            (b'f', Verb::Rename),
            (b'l', Verb::List),
            (b'm', Verb::MakeDir),
            (b'p', Verb::Delete),
        ],
        FileKind::Symlink | FileKind::Other => &[(b'd', Verb::Delete), (b'f', Verb::Rename)],
    };
    if kind == FileKind::Dir {
        out.push(b'e');
    }
    for (letter, verb) in letters {
        if verbs.has(*verb) {
            out.push(*letter);
        }
    }
}

/// Sixteen digits.
fn hexadecimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 16];
    for (digit, shift) in digits.iter_mut().zip((0..16).rev()) {
        let nibble = (value >> (shift * 4) & 15) as u8;
        *digit = if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' - 10 + nibble
        };
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use portreeve_model::{Name, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn file() -> Entry {
        let mut entry = Entry::file(Name::new(*b"a").unwrap(), 1_025);
        entry.mode = Some(0o100_640);
        entry.modified = Some(Timestamp {
            seconds: 1_795_365_661,
            nanos: 5,
        });
        entry
    }

    fn check(facts: &str, entry: &Entry, kind: ToldKind, verbs: VerbSet, expected: &str) {
        let mut out = Vec::new();
        let told = Told {
            entry,
            kind,
            verbs,
            unique: 0xfe01,
        };
        append_facts(&mut out, Facts::choose(facts.as_bytes()), &told);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn facts_of_a_file() {
        let all = "type;size;modify;perm;unique;unix.MODE;";
        check(
            all,
            &file(),
            ToldKind::Named,
            VerbSet::full(),
            "type=file;size=1025;modify=20261122164101;perm=adfrw;unique=000000000000fe01;UNIX.mode=0640; ",
        );
        check("size", &file(), ToldKind::Named, VerbSet::full(), "size=1025; ");
        check("", &file(), ToldKind::Named, VerbSet::full(), " ");
        check("perm", &file(), ToldKind::Named, VerbSet::NONE, "perm=; ");
        check("perm", &file(), ToldKind::Named, VerbSet::read_only(), "perm=r; ");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let all = "type;size;modify;perm;UNIX.mode;";
        let mut dir = Entry::dir(None);
        check(
            all,
            &dir,
            ToldKind::Named,
            VerbSet::full(),
            "type=dir;perm=ecdflmp; ",
        );
        dir.size = Some(4096);
        check(
            all,
            &dir,
            ToldKind::Current,
            VerbSet::read_only(),
            "type=cdir;perm=el; ",
        );
        check(all, &dir, ToldKind::Parent, VerbSet::NONE, "type=pdir;perm=e; ");
        let mut entry = file();
        entry.modified = Some(Timestamp::from_seconds(i64::MAX));
        check("modify", &entry, ToldKind::Named, VerbSet::full(), " ");
        entry.mode = Some(0o41_777);
        check(
            "UNIX.mode",
            &entry,
            ToldKind::Named,
            VerbSet::full(),
            "UNIX.mode=1777; ",
        );
    }

    #[test]
    fn links_and_devices() {
        let link = Entry::bare(None, FileKind::Symlink);
        check(
            "type;perm;",
            &link,
            ToldKind::Named,
            VerbSet::full(),
            "type=OS.unix=slink;perm=df; ",
        );
        let device = Entry::bare(None, FileKind::Other);
        check(
            "type;perm;",
            &device,
            ToldKind::Named,
            VerbSet::read_only(),
            "type=OS.unix=other;perm=; ",
        );
    }

    #[test]
    fn choosing() {
        let feature = |facts: Facts| facts.feature();
        assert_eq!(
            feature(Facts::default()),
            "MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;"
        );
        for (argument, chosen) in [
            (
                "type;size;modify;perm;unique;UNIX.mode;",
                "MLST OPTS type;size;modify;perm;unique;UNIX.mode;",
            ),
            ("SIZE;Type", "MLST OPTS type;size;"),
            ("create;lang;size;;size;", "MLST OPTS size;"),
            (" type; size; ", "MLST OPTS type;size;"),
            ("", "MLST OPTS"),
            ("types;", "MLST OPTS"),
        ] {
            assert_eq!(
                Facts::choose(argument.as_bytes()).chosen(),
                chosen,
                "{argument:?}"
            );
        }
        assert_eq!(
            feature(Facts::choose(b"size;")),
            "MLST type;size*;modify;perm;unique;UNIX.mode;"
        );
    }

    proptest! {
        /// RFC 3659 §7.2: facts are `name=value;`, then one space, and nothing in them is another.
        #[test]
        fn facts_are_well_formed(
            bits in 0_u8..64,
            (size, mode, seconds, unique) in any::<(Option<u64>, Option<u32>, Option<i64>, u64)>(),
            verbs in prop::collection::vec(prop::sample::select(&Verb::ALL[..]), 0..11),
            file in any::<bool>(),
        ) {
            let mut entry = Entry::bare(None, if file { FileKind::File } else { FileKind::Dir });
            (entry.size, entry.mode) = (size, mode);
            entry.modified = seconds.map(Timestamp::from_seconds);
            let verbs = verbs.into_iter().collect();
            let told = Told { entry: &entry, kind: ToldKind::Named, verbs, unique };
            let mut out = Vec::new();
            append_facts(&mut out, Facts(bits), &told);
            let text = String::from_utf8(out).unwrap();
            let facts: Vec<_> = text.strip_suffix(' ').unwrap().split_terminator(';').collect();
            for fact in facts {
                let (name, value) = fact.split_once('=').unwrap();
                let (bit, _) = ALL.iter().find(|(_, known)| *known == name).unwrap();
                prop_assert!(bits & bit != 0);
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", fact);
                if name == "size" {
                    prop_assert_eq!(value.parse().ok(), size);
                }
                if name == "unique" {
                    prop_assert_eq!(u64::from_str_radix(value, 16), Ok(unique));
                }
                if name == "UNIX.mode" {
                    prop_assert_eq!(u32::from_str_radix(value, 8).ok(), mode.map(|mode| mode & 0o7777));
                }
            }
        }
    }
}

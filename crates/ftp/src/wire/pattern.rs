//! What LIST, NLST and STAT get: options as for `ls`, and patterns in the last component of a path.
//!
//! `*` is any characters, `?` is one, `[a-c]` one of a set, `[!a-c]` or `[^a-c]` one that is not in it;
//! nothing else is special, and a bracket that is not closed is itself. A name that holds such
//! characters is asked for by its name: whoever splits looks it up literally first.
//!
//! Invariant: matching takes one step for each character of the name, whatever the pattern: all places
//! in the pattern at which a match may be are carried along at once, one bit each.

use symbols::Symbols;

/// Longest pattern, in bytes: that of a name. It has fewer places than a set has bits.
const MAX_PATTERN: usize = 255;

/// Drops words like `-la` from the front of an argument; `--` is the last of them.
#[must_use]
pub fn without_options(argument: &[u8]) -> &[u8] {
    let mut rest = argument;
    loop {
        let (word, after) = match rest.iter().position(|byte| *byte == b' ') {
            Some(at) => (rest.get(..at), rest.get(at + 1..)),
            None => (Some(rest), None),
        };
        let after = after.unwrap_or_default();
        match word {
            Some(b"--") => return after,
            Some([b'-', letters @ ..])
                if !letters.is_empty() && letters.iter().all(u8::is_ascii_alphanumeric) =>
            {
                rest = after;
            }
            _ => return rest,
        }
    }
}

/// Splits a pattern off: the directory part with its slash (empty where there is none), and the pattern.
/// Without one, the argument as it is. Only the last component can be a pattern.
#[must_use]
pub fn split(argument: &[u8]) -> (&[u8], Option<Pattern>) {
    let start = argument
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    let parts = argument.split_at_checked(start);
    match parts.and_then(|(directory, last)| Some((directory, Pattern::new(last)?))) {
        Some((directory, pattern)) => (directory, Some(pattern)),
        None => (argument, None),
    }
}

/// A pattern for names.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Symbols are told apart by the ranges they fall into: where each begins.
    starts: Vec<u32>,
    /// For each range, which places go on with its symbols.
    steps: Vec<Places>,
    /// Places that stay with any symbol: those before which a star stands.
    stars: Places,
    /// The place behind everything.
    end: Places,
}

/// A set of places in a pattern; place n is that after n elements.
type Places = [u64; 4];

impl Pattern {
    /// The pattern that `text` is; none where nothing in it is special, or it is longer than a name.
    fn new(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_PATTERN || !text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            return None;
        }
        let symbols: Vec<u32> = Symbols::of(text).collect();
        let mut elements = Vec::new();
        let mut stars = Places::default();
        let mut special = false;
        let mut rest = &symbols[..];
        while let Some((element, after)) = Element::first(rest) {
            special |= !matches!(element, Element::One(_));
            match element {
                Element::Star => put(&mut stars, elements.len()),
                element => elements.push(element),
            }
            rest = after;
        }
        special.then(|| Self::compile(&elements, stars))
    }

    fn compile(elements: &[Element<'_>], stars: Places) -> Self {
        let mut starts = vec![0];
        elements.iter().for_each(|element| element.bounds(&mut starts));
        starts.sort_unstable();
        starts.dedup();
        let step = |symbol: &u32| {
            let mut places = Places::default();
            let fitting = elements.iter().enumerate().filter(|(_, e)| e.takes(*symbol));
            fitting.for_each(|(at, _)| put(&mut places, at));
            places
        };
        let steps = starts.iter().map(step).collect();
        let mut end = Places::default();
        put(&mut end, elements.len());
        Self {
            starts,
            steps,
            stars,
            end,
        }
    }

    /// Whether the whole of `name` is as the pattern says. Names that begin with a dot are no exception,
    /// as a listing without a pattern shows them too. Bytes that are no UTF-8 are one character each.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut places: Places = [1, 0, 0, 0];
        for symbol in Symbols::of(name) {
            let range = self.starts.partition_point(|start| *start <= symbol);
            let Some(step) = range.checked_sub(1).and_then(|at| self.steps.get(at)) else {
                return false;
            };
            let mut carry = 0;
            for ((place, step), star) in places.iter_mut().zip(step).zip(self.stars) {
                let going = *place & step;
                *place = going << 1 | carry | (*place & star);
                carry = going >> 63;
            }
            if places == Places::default() {
                return false;
            }
        }
        places.iter().zip(self.end).any(|(place, end)| place & end != 0)
    }
}

fn put(places: &mut Places, at: usize) {
    if let Some(word) = places.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

/// One element of a pattern.
enum Element<'a> {
    One(u32),
    Any,
    Star,
    /// The inside of brackets.
    Set {
        negated: bool,
        members: &'a [u32],
    },
}

impl<'a> Element<'a> {
    /// The first element and what follows it.
    fn first(symbols: &'a [u32]) -> Option<(Self, &'a [u32])> {
        let (first, rest) = symbols.split_first()?;
        Some(match char::from_u32(*first) {
            Some('*') => (Self::Star, rest),
            Some('?') => (Self::Any, rest),
            Some('[') => Self::set(rest).unwrap_or((Self::One(*first), rest)),
            _ => (Self::One(*first), rest),
        })
    }

    /// A set whose opening bracket was read. A closing one that comes first is a member.
    fn set(symbols: &'a [u32]) -> Option<(Self, &'a [u32])> {
        let is = |symbol: &u32, c: char| *symbol == u32::from(c);
        let (negated, inside) = match symbols.split_first() {
            Some((first, rest)) if is(first, '!') || is(first, '^') => (true, rest),
            _ => (false, symbols),
        };
        let end = 1 + inside.iter().skip(1).position(|symbol| is(symbol, ']'))?;
        let (members, rest) = (inside.get(..end)?, inside.get(end + 1..)?);
        Some((Self::Set { negated, members }, rest))
    }

    /// The ranges it names, from the first symbol to the last.
    fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut rest = match self {
            Self::One(symbol) => std::slice::from_ref(symbol),
            Self::Set { members, .. } => members,
            Self::Any | Self::Star => &[],
        };
        std::iter::from_fn(move || match rest {
            [] => None,
            [from, dash, to, after @ ..] if *dash == u32::from('-') => {
                rest = after;
                Some((*from, *to))
            }
            [one, after @ ..] => {
                rest = after;
                Some((*one, *one))
            }
        })
    }

    /// Adds the symbols at which its answer may change.
    fn bounds(&self, starts: &mut Vec<u32>) {
        starts.extend(self.ranges().flat_map(|(from, to)| [from, to + 1]));
    }

    fn takes(&self, symbol: u32) -> bool {
        let named = || self.ranges().any(|(from, to)| (from..=to).contains(&symbol));
        match self {
            Self::One(one) => *one == symbol,
            Self::Any | Self::Star => true,
            Self::Set { negated, .. } => named() != *negated,
        }
    }
}

mod symbols {
    //! Bytes as characters, a byte that is no UTF-8 as a character of its own beyond Unicode's.

    use std::str::{Utf8Chunk, Utf8Chunks};

    const BEYOND: u32 = char::MAX as u32 + 1;

    pub(super) struct Symbols<'a> {
        chunks: Utf8Chunks<'a>,
        valid: std::str::Chars<'a>,
        invalid: std::slice::Iter<'a, u8>,
    }

    impl<'a> Symbols<'a> {
        pub(super) fn of(bytes: &'a [u8]) -> Self {
            Self {
                chunks: bytes.utf8_chunks(),
                valid: "".chars(),
                invalid: [].iter(),
            }
        }

        fn enter(&mut self, chunk: &Utf8Chunk<'a>) {
            self.valid = chunk.valid().chars();
            self.invalid = chunk.invalid().iter();
        }
    }

    impl Iterator for Symbols<'_> {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            loop {
                if let Some(c) = self.valid.next() {
                    return Some(c.into());
                }
                if let Some(byte) = self.invalid.next() {
                    return Some(BEYOND + u32::from(*byte));
                }
                let chunk = self.chunks.next()?;
                self.enter(&chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_dropped() {
        for (argument, expected) in [
            ("", ""),
            ("-la", ""),
            ("-la ", ""),
            ("-la a", "a"),
            ("-l -a -1 a b", "a b"),
            ("-a  b", " b"),
            ("-l -- -a", "-a"),
            ("--", ""),
            ("--help", "--help"),
            ("-", "-"),
            ("- a", "- a"),
            ("-a.txt", "-a.txt"),
            ("-a/b", "-a/b"),
            ("a -la", "a -la"),
            (" -la", " -la"),
        ] {
            let got = without_options(argument.as_bytes());
            assert_eq!(got, expected.as_bytes(), "{argument:?}");
        }
    }

    #[test]
    fn splitting() {
        for (argument, directory) in [
            ("*", Some("")),
            ("*.txt", Some("")),
            ("/*", Some("/")),
            ("a/b/?", Some("a/b/")),
            ("[ab]", Some("")),
            ("", None),
            ("a", None),
            ("a/", None),
            ("*/a", None),
            ("*/", None),
            ("a[b", None),
            ("a]b", None),
            ("[]", None),
            ("[!]", None),
            ("{a,b}", None),
        ] {
            let (before, pattern) = split(argument.as_bytes());
            assert_eq!(before, directory.unwrap_or(argument).as_bytes(), "{argument:?}");
            assert_eq!(pattern.is_some(), directory.is_some(), "{argument:?}");
        }
        let long = [b'*'; MAX_PATTERN + 1];
        assert!(split(&long).1.is_none());
        assert!(split(&long[1..]).1.is_some());
    }

    fn pattern(text: &[u8]) -> Pattern {
        split(text).1.unwrap()
    }

    fn check(text: &[u8], yes: &[&[u8]], no: &[&[u8]]) {
        let pattern = pattern(text);
        for name in yes {
            assert!(
                pattern.matches(name),
                "{} {}",
                text.escape_ascii(),
                name.escape_ascii()
            );
        }
        for name in no {
            assert!(
                !pattern.matches(name),
                "{} {}",
                text.escape_ascii(),
                name.escape_ascii()
            );
        }
    }

    #[test]
    fn matching() {
        check(b"*", &[b"", b"a", b".hidden", b"\xff\xfe", b"a b"], &[]);
        check(
            b"*.txt",
            &[b".txt", b"a.txt", b"a.txt.txt"],
            &[b"a.txt ", b"atxt", b"a.TXT"],
        );
        check(b"a*b*c", &[b"abc", b"aXbYc", b"abcbc"], &[b"ab", b"acb", b"abcd"]);
        check(b"a**b", &[b"ab", b"axxb"], &[b"a"]);
        check(
            "?".as_bytes(),
            &[b"a", "\u{e9}".as_bytes(), "\u{1f600}".as_bytes(), b"\xe9"],
            &[b"", b"ab"],
        );
        check(
            "??".as_bytes(),
            &["\u{e9}a".as_bytes(), b"\xff\xff"],
            &["\u{e9}".as_bytes()],
        );
        check(
            "\u{e9}*".as_bytes(),
            &["\u{e9}t\u{e9}".as_bytes()],
            &[b"\xc3", "\u{e8}".as_bytes()],
        );
        check(b"\xff*", &[b"\xff", b"\xffa"], &[b"\xfe", "\u{ff}".as_bytes()]);
        check(b"{a,b}*", &[b"{a,b}c"], &[b"a", b"b"]);
        check(b"\\**", &[b"\\", b"\\a"], &[b"*"]);
        check(b"[a?", &[b"[ab"], &[b"a", b"ab"]);
    }

    #[test]
    fn sets() {
        check(b"[a-c]x", &[b"ax", b"cx"], &[b"dx", b"x", b"[a-c]x"]);
        check(
            b"[!a-c]",
            &[b"d", b"!", b"\xff", "\u{e9}".as_bytes()],
            &[b"a", b"c", b""],
        );
        check(b"[^a]", &[b"b"], &[b"a"]);
        check(b"[]a]", &[b"]", b"a"], &[b"b"]);
        check(b"[!]a]", &[b"b"], &[b"]", b"a"]);
        check(b"[a-]", &[b"a", b"-"], &[b"b"]);
        check(b"[-a]", &[b"a", b"-"], &[b"b"]);
        check(b"[c-a]", &[], &[b"a", b"b", b"c"]);
        check(
            "[\u{e0}-\u{e9}]".as_bytes(),
            &["\u{e8}".as_bytes()],
            &[b"e", "\u{ea}".as_bytes()],
        );
        check(b"[\xf0-\xff]*", &[b"\xf5"], &[b"\xe0", b"a"]);
    }

    /// What a backtracking matcher would not finish.
    #[test]
    fn the_worst_patterns() {
        let name = [b'a'; MAX_PATTERN];
        let stars = b"*a".repeat(127);
        assert!(pattern(&stars).matches(&name));
        assert!(!pattern(&[&stars[..], b"b"].concat()).matches(&name));
        assert!(pattern(&[b'?'; MAX_PATTERN]).matches(&name));
        assert!(!pattern(&[b'?'; MAX_PATTERN]).matches(&name[1..]));
        assert!(pattern(&[&[b'a'; MAX_PATTERN - 1][..], b"*"].concat()).matches(&name));
    }

    /// The definition, word for word.
    fn defined(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|skip| defined(rest, &name[skip..])),
            ['?', rest @ ..] => !name.is_empty() && defined(rest, &name[1..]),
            ['[', rest @ ..] => {
                let negated = matches!(rest.first(), Some('!' | '^'));
                let inside = &rest[usize::from(negated)..];
                match (1..inside.len()).find(|at| inside[*at] == ']') {
                    None => name.first() == Some(&'[') && defined(rest, &name[1..]),
                    Some(end) => {
                        let hit = |c: &char| within(&inside[..end], *c) != negated;
                        name.first().is_some_and(hit) && defined(&inside[end + 1..], &name[1..])
                    }
                }
            }
            [one, rest @ ..] => name.first() == Some(one) && defined(rest, &name[1..]),
        }
    }

    fn within(members: &[char], c: char) -> bool {
        match members {
            [] => false,
            [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || within(rest, c),
            [one, rest @ ..] => *one == c || within(rest, c),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn matches_by_definition(text in "[ab*?\\[\\]!^\u{e9}-]{0,10}", name in "[ab\\[\\]!\u{e9}-]{0,8}") {
            if let (b"", Some(pattern)) = split(text.as_bytes()) {
                let (text, chars): (Vec<char>, Vec<char>) = (text.chars().collect(), name.chars().collect());
                prop_assert_eq!(pattern.matches(name.as_bytes()), defined(&text, &chars));
            }
        }

        #[test]
        fn nothing_panics(
            text in prop::collection::vec(any::<u8>(), 0..300),
            name in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let rest = without_options(&text);
            prop_assert!(text.ends_with(rest));
            let (directory, pattern) = split(rest);
            prop_assert!(rest.starts_with(directory));
            if let Some(pattern) = pattern {
                let _ = pattern.matches(&name);
                let _ = pattern.matches(&text);
            }
        }
    }
}

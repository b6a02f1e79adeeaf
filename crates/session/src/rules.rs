//! Path rules: exceptions to a mount's verbs.

use globset::{GlobBuilder, GlobMatcher};
use portreeve_model::{Name, VPath, Verb, VerbSet};

use crate::{Effect, RuleOptions, VerbWords};

/// A compiled rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    text: String,
    matcher: GlobMatcher,
    reach: Reach,
    effect: Effect,
    verbs: VerbSet,
}

/// Where below a directory a pattern may match.
#[derive(Debug, Clone)]
enum Reach {
    /// Below every directory alike: `/**/NAME` looks at the last component alone.
    Alike,
    /// Below any directory, for all that can be told.
    Anywhere,
    /// Below directories whose components match these, from the root on; the pattern has no more
    /// components, unless it is open.
    Below { heads: Vec<GlobMatcher>, open: bool },
}

/// Reads the words of `verbs`.
///
/// # Errors
/// A sentence that names the wrong word and the right ones.
pub(crate) fn verbs(words: &VerbWords) -> Result<VerbSet, String> {
    words.words().iter().try_fold(VerbSet::NONE, |set, word| {
        VerbSet::from_word(word)
            .map(|more| set.union(more))
            .map_err(|unknown| unknown.to_string())
    })
}

impl Rule {
    /// Compiles one rule.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the pattern or the verbs.
    pub(crate) fn new(options: &RuleOptions) -> Result<Self, String> {
        if !options.pattern.starts_with('/') {
            return Err(format!(
                "the pattern {:?} must start with '/': it is matched with the path within the mount",
                options.pattern
            ));
        }
        let matcher = GlobBuilder::new(&options.pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("the pattern {:?} is no glob: {}", options.pattern, error.kind()))?
            .compile_matcher();
        let verbs = options.verbs.as_ref().map_or(Ok(VerbSet::full()), verbs)?;
        let effect = options.effect;
        let word = if effect == Effect::Allow { "allow" } else { "deny" };
        Ok(Self {
            text: format!("{word} {:?}", options.pattern),
            matcher,
            reach: Reach::of(&options.pattern),
            effect,
            verbs,
        })
    }

    /// Whether a directory must not be moved from `from` to `to` for this rule's sake. It may be where
    /// the rule says the same of everything below on both sides and does not forbid the renaming. A move
    /// makes files where it leads to: what must not be created there must not be moved there.
    pub(crate) fn bars_move(&self, from: &VPath, to: &VPath) -> bool {
        let (left, entered) = (self.reach.below(from), self.reach.below(to));
        let holds_on = matches!(self.reach, Reach::Alike) || self.covers(from) && self.covers(to);
        match self.effect {
            Effect::Deny if self.verbs.has(Verb::Rename) => left || entered,
            Effect::Deny => (left || entered && self.verbs.has(Verb::Create)) && !holds_on,
            Effect::Allow => entered && !holds_on,
        }
    }

    /// Whether it speaks of everything below `dir`: then of a name that nobody has.
    fn covers(&self, dir: &VPath) -> bool {
        let nobodys = Name::new(&b"\x01portreeve\x01"[..]).and_then(|name| dir.join(&name));
        self.text.ends_with("/**\"") && nobodys.is_ok_and(|path| self.matcher.is_match(as_path(&path)))
    }

    fn speaks_of(&self, path: &VPath, verb: Verb) -> bool {
        self.verbs.has(verb) && self.matcher.is_match(as_path(path))
    }
}

impl Reach {
    fn of(pattern: &str) -> Self {
        let glob = |part: &str| GlobBuilder::new(part).backslash_escape(true).build().ok();
        let parts = pattern.split('/').filter(|part| !part.is_empty());
        let heads: Option<Vec<_>> = parts
            .clone()
            .take_while(|part| !part.contains("**"))
            .map(|part| glob(part).map(|glob| glob.compile_matcher()))
            .collect();
        if pattern.contains('{') {
            return Self::Anywhere;
        }
        match pattern.strip_prefix("/**/") {
            Some(name) if !name.contains('/') && !name.contains("**") => return Self::Alike,
            _ => {}
        }
        let open = pattern.contains("**");
        heads.map_or(Self::Anywhere, |heads| Self::Below { heads, open })
    }

    /// Whether the pattern may match something below `dir`.
    fn below(&self, dir: &VPath) -> bool {
        let Self::Below { heads, open } = self else {
            return true;
        };
        let fits = dir
            .components()
            .zip(heads)
            .all(|(part, head)| head.is_match(bytes_as_path(part)));
        fits && (*open || dir.depth() < heads.len())
    }
}

/// The bytes of a path as the glob library wants them: on Unix any bytes are a path.
fn as_path(path: &VPath) -> &std::path::Path {
    bytes_as_path(path.as_bytes())
}

fn bytes_as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Whether `verb` is allowed on `path` (as seen from the mount), and the rule that decided, where
/// one did: the first that fits, else the mount's own verbs.
pub(crate) fn decide<'a>(
    rules: &'a [Rule],
    base: VerbSet,
    path: &VPath,
    verb: Verb,
) -> (bool, Option<&'a str>) {
    match rules.iter().find(|rule| rule.speaks_of(path, verb)) {
        Some(rule) => (rule.effect == Effect::Allow, Some(&rule.text)),
        None => (base.has(verb), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, effect: Effect, verbs: &[&str]) -> Rule {
        let verbs = VerbWords::Many(verbs.iter().map(ToString::to_string).collect());
        Rule::new(&RuleOptions {
            pattern: pattern.into(),
            effect,
            verbs: Some(verbs),
        })
        .unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            rule("/Archive/keep/**", Effect::Allow, &["delete"]),
            rule("/Archive/**", Effect::Deny, &["delete"]),
            rule("/*.exe", Effect::Deny, &["full"]),
        ];
        let base = VerbSet::full().minus(VerbSet::NONE.with(Verb::Share));
        for (path, verb, allowed) in [
            ("/Archive/a", Verb::Delete, false),
            ("/Archive/a/b", Verb::Delete, false),
            ("/Archive", Verb::Delete, true),
            ("/Archive-2/a", Verb::Delete, true),
            ("/Archive/keep/a", Verb::Delete, true),
            ("/Archive/a", Verb::Read, true),
            ("/x.exe", Verb::Read, false),
            ("/sub/x.exe", Verb::Read, true),
            ("/x", Verb::Share, false),
        ] {
            let path = VPath::parse(path).unwrap();
            assert_eq!(decide(&rules, base, &path, verb).0, allowed, "{verb} {path}");
        }
    }

    /// Paths of one to `deep` components out of a small alphabet.
    fn paths(deep: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..deep {
            last = last
                .iter()
                .flat_map(|head| ["a", "ab", "c"].map(|name| format!("{head}/{name}")))
                .collect();
            all.extend(last.iter().cloned());
        }
        all.retain(|path| !path.is_empty());
        all
    }

    /// Every pattern of up to three parts against every move of a directory: whoever is let through
    /// neither frees a file of a rule, nor moves what must not be, nor comes to a right.
    #[test]
    fn no_move_frees_what_a_rule_speaks_of() {
        let parts = ["a", "*", "a?", "**", "{a,c}", "[ac]"];
        let mut patterns: Vec<String> = vec![String::new()];
        for _ in 0..3 {
            let longer: Vec<String> = patterns
                .iter()
                .flat_map(|head| parts.map(|part| format!("{head}/{part}")))
                .collect();
            patterns.extend(longer);
        }
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort();
        patterns.dedup();
        let parse = |path: &str| VPath::parse(path).unwrap();
        let (dirs, below) = (paths(2), paths(2));
        let (mut barred, mut free) = (0, 0);
        for pattern in &patterns {
            let keeps = rule(pattern, Effect::Deny, &["delete"]);
            let holds = rule(pattern, Effect::Deny, &["rename"]);
            let shuts = rule(pattern, Effect::Deny, &["create"]);
            let gives = rule(pattern, Effect::Allow, &["delete"]);
            for (from, to) in dirs.iter().flat_map(|from| dirs.iter().map(move |to| (from, to))) {
                if to.starts_with(from.as_str()) || from.starts_with(to.as_str()) {
                    continue;
                }
                let matches = |dir: &str, name: &str| keeps.matcher.is_match(format!("{dir}{name}"));
                let both = || below.iter().map(|name| (matches(from, name), matches(to, name)));
                let (old, new) = (parse(from), parse(to));
                for (rule, harm) in [
                    (&keeps, both().any(|(at_old, at_new)| at_old && !at_new)),
                    (&holds, both().any(|(at_old, at_new)| at_old || at_new)),
                    (&shuts, both().any(|(at_old, at_new)| at_old != at_new)),
                    (&gives, both().any(|(at_old, at_new)| at_new && !at_old)),
                ] {
                    let bars = rule.bars_move(&old, &new);
                    assert!(bars || !harm, "{} {from} {to}", rule.text);
                    *if bars { &mut barred } else { &mut free } += 1;
                }
            }
        }
        assert!(barred > 1000 && free > 1000, "{barred} barred, {free} free");
    }

    #[test]
    fn bad_rules_say_why() {
        for (pattern, word) in [("Archive/**", "must start"), ("/[", "no glob")] {
            let options = RuleOptions {
                pattern: pattern.into(),
                effect: Effect::Deny,
                verbs: None,
            };
            assert!(Rule::new(&options).unwrap_err().contains(word), "{pattern}");
        }
        assert!(
            verbs(&VerbWords::One("rad".into()))
                .unwrap_err()
                .contains("'rad'")
        );
    }
}

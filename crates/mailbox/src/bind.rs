//! Bindings of one folder: names to parts, and parts to names.
//!
//! Invariants:
//! - A part keeps its name as long as it lives, whatever happens to its siblings.
//! - No two live parts have names that fold alike.
//! - A name whose part is gone is given to no other part for [`REST`]: "get, then delete" by name
//!   finds that very part or nothing. When the part comes back, it gets its name back.
//! - Where each message is a directory (`Bindings::nested`), names of messages are distinct among each
//!   other, and names of parts within their message.

use std::collections::{HashMap, HashSet};

use crate::{
    MessageId,
    book::{Binding, PartKey},
    name::{BaseName, fold},
};

/// How long a name rests after its part is gone, in seconds.
pub(crate) const REST: u64 = 24 * 60 * 60;

/// The whole message and its text, beside its parts where it is a directory.
pub(crate) const WHOLE_NAMES: [&str; 2] = ["message.eml", "body.txt"];

/// The bindings of a folder.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    by_key: HashMap<PartKey, Bound>,
    /// Whether each message is a directory.
    nested: bool,
    /// Folded name (below its message's id, where that is a directory) to part.
    by_name: HashMap<String, PartKey>,
    /// Folded base name to the number to try next, so that a thousand equal names take a thousand
    /// steps and not a million.
    next: HashMap<String, u32>,
}

#[derive(Debug, Clone)]
struct Bound {
    name: String,
    gone: Option<u64>,
    size: Option<u64>,
}

/// A part that is in the folder, and the name it would like.
pub(crate) struct Wish {
    pub(crate) key: PartKey,
    pub(crate) base: BaseName,
}

impl Bindings {
    /// From a book, later lines over earlier ones.
    pub(crate) fn load(lines: Vec<Binding>, nested: bool, now: u64) -> Self {
        let mut bindings = Self {
            nested,
            ..Self::default()
        };
        for line in lines {
            bindings.put(line);
        }
        bindings.rest(now);
        bindings
    }

    /// Under what a name of `key` is found.
    fn place(&self, key: &PartKey, name: &str) -> String {
        if self.nested && !key.is_message() {
            format!("{}/{}", key.message.0, fold(name))
        } else {
            fold(name)
        }
    }

    fn put(&mut self, line: Binding) {
        if let Some(old) = self.by_key.get(&line.key) {
            let folded = self.place(&line.key, &old.name);
            if self.by_name.get(&folded) == Some(&line.key) {
                self.by_name.remove(&folded);
            }
        }
        // A later line took the name over from a part that has gone.
        let folded = self.place(&line.key, &line.name);
        if let Some(former) = self.by_name.insert(folded, line.key.clone())
            && former != line.key
        {
            self.by_key.remove(&former);
        }
        let bound = Bound {
            name: line.name,
            gone: line.gone,
            size: line.size,
        };
        self.by_key.insert(line.key, bound);
    }

    /// Takes in what is in the folder now: new parts get names in the order given, parts that are
    /// missing are marked as gone, except those of messages that are `unsure` (not all of their parts
    /// are known). `taken` are folded names that belong to somebody else (sub-folders). Answers what
    /// is to be recorded.
    pub(crate) fn update(
        &mut self,
        wishes: &[Wish],
        unsure: &HashSet<MessageId>,
        taken: &HashSet<String>,
        now: u64,
    ) -> Vec<Binding> {
        self.rest(now);
        let mut changed = Vec::new();
        let present: HashSet<&PartKey> = wishes.iter().map(|wish| &wish.key).collect();
        for (key, bound) in &mut self.by_key {
            if bound.gone.is_none() && !present.contains(key) && !unsure.contains(&key.message) {
                bound.gone = Some(now);
                changed.push(line(key, bound));
            }
        }
        for wish in wishes {
            match self.by_key.get_mut(&wish.key) {
                Some(bound) if bound.gone.is_none() => {}
                Some(bound) => {
                    bound.gone = None;
                    changed.push(line(&wish.key, bound));
                }
                None => {
                    let name = self.free_name(wish, taken);
                    changed.push(self.bind(wish.key.clone(), name));
                }
            }
        }
        changed
    }

    /// The first free of `a.pdf`, `a (1).pdf`, `a (2).pdf`, …
    fn free_name(&mut self, wish: &Wish, taken: &HashSet<String>) -> String {
        let inside = self.nested && !wish.key.is_message();
        let plain = self.place(&wish.key, &wish.base.numbered(0));
        let mut n = self.next.get(&plain).copied().unwrap_or(0);
        loop {
            let name = wish.base.numbered(n);
            let folded = self.place(&wish.key, &name);
            n = n.saturating_add(1);
            let kept = if inside {
                WHOLE_NAMES.contains(&&*name.to_lowercase())
            } else {
                taken.contains(&folded)
            };
            if !kept && !self.by_name.contains_key(&folded) {
                self.next.insert(plain, n);
                return name;
            }
        }
    }

    /// Binds `name`, which must be free, to `key`.
    pub(crate) fn bind(&mut self, key: PartKey, name: String) -> Binding {
        let line = Binding {
            name,
            key,
            gone: None,
            size: None,
        };
        self.put(line.clone());
        line
    }

    /// The name of a living part that folds like `name`.
    pub(crate) fn alike(&self, name: &str) -> Option<&str> {
        let bound = self.by_key.get(self.by_name.get(&fold(name))?)?;
        bound.gone.is_none().then_some(&*bound.name)
    }

    /// Frees `name` where its part is gone: somebody asks for this very name with new content.
    pub(crate) fn free_rested(&mut self, name: &str) -> bool {
        let folded = fold(name);
        let Some(key) = self.by_name.get(&folded) else {
            return true;
        };
        if self.by_key.get(key).is_some_and(|bound| bound.gone.is_none()) {
            return false;
        }
        self.by_key.remove(key);
        self.by_name.remove(&folded);
        true
    }

    /// Marks a part as gone.
    pub(crate) fn gone(&mut self, key: &PartKey, now: u64) -> Option<Binding> {
        let bound = self.by_key.get_mut(key)?;
        bound.gone = Some(now);
        Some(line(key, bound))
    }

    /// Remembers the exact size of a part.
    pub(crate) fn learn(&mut self, key: &PartKey, size: u64) -> Option<Binding> {
        let bound = self.by_key.get_mut(key)?;
        bound.size = Some(size);
        Some(line(key, bound))
    }

    /// The size of a part, where it was learnt.
    pub(crate) fn size(&self, key: &PartKey) -> Option<u64> {
        self.by_key.get(key)?.size
    }

    /// The parts that live.
    pub(crate) fn live(&self) -> impl Iterator<Item = &PartKey> {
        self.by_key
            .iter()
            .filter(|(_, bound)| bound.gone.is_none())
            .map(|(key, _)| key)
    }

    /// The name of a part.
    pub(crate) fn name(&self, key: &PartKey) -> Option<&str> {
        self.by_key.get(key).map(|bound| &*bound.name)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Everything, for a book that rewrites itself.
    pub(crate) fn all(&self) -> Vec<Binding> {
        self.by_key.iter().map(|(key, bound)| line(key, bound)).collect()
    }

    /// Forgets names that have rested long enough.
    fn rest(&mut self, now: u64) {
        let over = |bound: &Bound| bound.gone.is_some_and(|since| now >= since.saturating_add(REST));
        if !self.by_key.values().any(over) {
            return;
        }
        self.by_key.retain(|_, bound| !over(bound));
        let by_key = &self.by_key;
        self.by_name.retain(|_, key| by_key.contains_key(key));
        self.next.clear();
    }
}

fn line(key: &PartKey, bound: &Bound) -> Binding {
    Binding {
        name: bound.name.clone(),
        key: key.clone(),
        gone: bound.gone,
        size: bound.size,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> PartKey {
        PartKey {
            message: format!("m{n}").as_str().into(),
            part: "p".into(),
        }
    }

    fn wishes(list: &[(u8, &str)]) -> Vec<Wish> {
        list.iter()
            .map(|(n, name)| Wish {
                key: key(*n),
                base: BaseName::new(name),
            })
            .collect()
    }

    fn update(bindings: &mut Bindings, list: &[(u8, &str)], now: u64) {
        bindings.update(&wishes(list), &HashSet::new(), &HashSet::new(), now);
    }

    #[test]
    fn numbers_from_one_and_never_renumbers() {
        let mut b = Bindings::default();
        update(&mut b, &[(1, "a.pdf"), (2, "A.pdf"), (3, "a (1).pdf")], 0);
        assert_eq!(b.name(&key(1)), Some("a.pdf"));
        assert_eq!(b.name(&key(2)), Some("A (1).pdf"));
        assert_eq!(b.name(&key(3)), Some("a (1) (1).pdf"));
        update(&mut b, &[(2, "A.pdf"), (4, "a.pdf")], 10);
        assert_eq!(b.name(&key(2)), Some("A (1).pdf"));
        // The name of the part that is gone rests.
        assert_eq!(b.name(&key(4)), Some("a (2).pdf"));
        update(&mut b, &[(2, "A.pdf"), (4, "a.pdf"), (5, "a.pdf")], 10 + REST);
        assert_eq!(b.name(&key(5)), Some("a.pdf"));
    }

    #[test]
    fn gives_a_name_back_to_who_returns() {
        let mut b = Bindings::default();
        update(&mut b, &[(1, "a.pdf")], 0);
        update(&mut b, &[], 1);
        update(&mut b, &[(2, "a.pdf"), (1, "a.pdf")], 2);
        assert_eq!(b.name(&key(1)), Some("a.pdf"));
        assert_eq!(b.name(&key(2)), Some("a (1).pdf"));
    }

    #[test]
    fn parts_of_a_message_that_is_not_wholly_known_are_not_taken_for_gone() {
        let mut b = Bindings::default();
        update(&mut b, &[(1, "a.pdf")], 0);
        let unsure = HashSet::from([key(1).message]);
        b.update(&[], &unsure, &HashSet::new(), 1);
        b.update(&wishes(&[(2, "a.pdf")]), &unsure, &HashSet::new(), 2 + REST);
        assert_eq!(b.name(&key(1)), Some("a.pdf"));
        assert_eq!(b.name(&key(2)), Some("a (1).pdf"));
    }

    #[test]
    fn parts_are_numbered_within_their_message_where_it_is_a_directory() {
        let inside = |message: &str, part: &str| PartKey {
            message: message.into(),
            part: part.into(),
        };
        let mut b = Bindings::load(Vec::new(), true, 0);
        let wish = |key: &PartKey, name: &str| Wish {
            key: key.clone(),
            base: BaseName::new(name),
        };
        let keys = [
            inside("1", ""),
            inside("1", "a"),
            inside("1", "b"),
            inside("2", ""),
            inside("2", "a"),
            inside("2", "m"),
        ];
        let names = ["Report", "x.pdf", "X.pdf", "report", "x.pdf", "Message.eml"];
        let list: Vec<Wish> = keys
            .iter()
            .zip(names)
            .map(|(key, name)| wish(key, name))
            .collect();
        let taken = HashSet::from(["x.pdf".to_owned()]);
        let lines = b.update(&list, &HashSet::new(), &taken, 0);
        for b in [b, Bindings::load(lines, true, 1)] {
            let got: Vec<_> = keys.iter().map(|key| b.name(key).unwrap()).collect();
            assert_eq!(
                got,
                [
                    "Report",
                    "x.pdf",
                    "X (1).pdf",
                    "report (1)",
                    "x.pdf",
                    "Message (1).eml"
                ]
            );
        }
    }

    proptest! {
        /// Through any history, with restarts between, a live part keeps its name, live names are
        /// distinct, and a name changes hands only after its rest.
        #[test]
        fn names_stay(steps in proptest::collection::vec((proptest::collection::btree_set(0u8..12, 0..8), 0u64..REST, any::<bool>()), 1..12)) {
            let base = ["a.pdf", "A.PDF", "a (1).pdf", "b"];
            let mut b = Bindings::default();
            let mut book: Vec<Binding> = Vec::new();
            let mut now = 0;
            let mut seen: HashMap<u8, (String, u64)> = HashMap::new();
            for (present, wait, restart) in steps {
                now += wait;
                if restart { b = Bindings::load(book.clone(), false, now); }
                let list: Vec<(u8, &str)> = present.iter().map(|n| (*n, base[*n as usize % 4])).collect();
                book.extend(b.update(&wishes(&list), &HashSet::new(), &HashSet::new(), now));
                let mut folded = HashSet::new();
                for (n, _) in &list {
                    let name = b.name(&key(*n)).unwrap().to_owned();
                    prop_assert!(folded.insert(fold(&name)));
                    for (other, (old, last)) in &seen {
                        // The last time the other was seen; it was gone at the earliest one step later.
                        if other != n && fold(old) == fold(&name) {
                            prop_assert!(now >= last + REST, "{name} went from {other} to {n}");
                        }
                    }
                    if let Some((old, last)) = seen.get(n) && now < last + REST {
                        prop_assert_eq!(old, &name);
                    }
                }
                for (n, _) in &list {
                    seen.insert(*n, (b.name(&key(*n)).unwrap().to_owned(), now));
                }
            }
        }
    }
}

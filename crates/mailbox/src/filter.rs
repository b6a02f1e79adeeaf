//! What a mount shows of a mailbox: folders, messages and files by patterns. Least privilege below the
//! mailbox, which mail servers cannot give by themselves.
//!
//! Invariants: a filter hides; it never decides what may be deleted (see [`crate::MailStore::message`]).
//! The case of letters does not count.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{MailOptions, Summary};

/// Compiled patterns.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// None where no `include` is given: everything.
    include: Option<GlobSet>,
    exclude: GlobSet,
    senders: Option<GlobSet>,
    subjects: Option<GlobSet>,
    categories: Option<GlobSet>,
    folders: Option<Folders>,
}

#[derive(Debug, Clone)]
struct Folders {
    shown: GlobSet,
    /// What may lie above a folder that is shown.
    leading: GlobSet,
}

impl Filter {
    /// Compiles `include` and `exclude`.
    ///
    /// # Errors
    /// A sentence that names the pattern that is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        Ok(Self {
            include: some("include", include)?,
            exclude: compile("exclude", exclude, false)?,
            ..Self::default()
        })
    }

    /// Compiles all patterns of `options`.
    ///
    /// # Errors
    /// Every option that holds a pattern that is none, and a sentence about it.
    pub fn of(options: &MailOptions) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = Vec::new();
        let mut sets = [
            ("include", &options.include),
            ("senders", &options.senders),
            ("subjects", &options.subjects),
            ("categories", &options.categories),
        ]
        .map(|(option, patterns)| {
            let set = some(option, patterns);
            set.unwrap_or_else(|text| {
                problems.push((option, text));
                None
            })
        })
        .into_iter();
        let filter = Self {
            include: sets.next().flatten(),
            senders: sets.next().flatten(),
            subjects: sets.next().flatten(),
            categories: sets.next().flatten(),
            exclude: compile("exclude", &options.exclude, false).unwrap_or_else(|text| {
                problems.push(("exclude", text));
                GlobSet::empty()
            }),
            folders: Folders::new(&options.folders).unwrap_or_else(|text| {
                problems.push(("folders", text));
                None
            }),
        };
        if problems.is_empty() {
            Ok(filter)
        } else {
            Err(problems)
        }
    }

    /// Whether a file of this name is shown.
    #[must_use]
    pub fn shows(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(name)) && !self.exclude.is_match(name)
    }

    /// Whether it hides any file by its name.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.include.is_some() || !self.exclude.is_empty()
    }

    /// Whether anything that hangs on a message like this is shown: its author, its subject, and one of its
    /// categories, each where there are patterns for it.
    #[must_use]
    pub fn shows_message(&self, summary: &Summary) -> bool {
        let matches = |set: &Option<GlobSet>, text: &str| set.as_ref().is_none_or(|set| set.is_match(text));
        matches(&self.senders, summary.from.email.trim())
            && matches(&self.subjects, summary.subject.trim())
            && self.categories.as_ref().is_none_or(|set| {
                let mut categories = summary.categories.iter();
                categories.any(|category| set.is_match(category.trim()))
            })
    }

    /// Whether folders are filtered at all.
    pub(crate) const fn is_by_folder(&self) -> bool {
        self.folders.is_some()
    }

    /// Whether the folder at `path` (`Inbox/Orders`) is shown with its mail.
    pub(crate) fn shows_folder(&self, path: &str) -> bool {
        self.folders
            .as_ref()
            .is_none_or(|folders| folders.shown.is_match(path))
    }

    /// Whether a folder that is shown may lie below `path`.
    pub(crate) fn may_lead(&self, path: &str) -> bool {
        self.folders
            .as_ref()
            .is_none_or(|folders| folders.leading.is_match(path))
    }
}

impl Folders {
    /// None where there are no patterns.
    fn new(patterns: &[String]) -> Result<Option<Self>, String> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let patterns: Vec<&str> = patterns.iter().map(|pattern| pattern.trim_matches('/')).collect();
        let mut leading = Vec::new();
        for pattern in &patterns {
            // Where braces or classes hold a slash, its pieces are no patterns: anything may lead there.
            let pieces: Vec<&str> = pattern.split('/').collect();
            if pieces.iter().any(|piece| glob(piece, true).is_err()) {
                leading.push("**".to_owned());
                continue;
            }
            for (at, piece) in pieces.iter().enumerate() {
                let above = pieces.get(..at).unwrap_or_default().join("/");
                let deep = piece.contains("**");
                if deep && above.is_empty() {
                    leading.push("**".into());
                } else if deep {
                    leading.push(format!("{above}/**"));
                }
                if !above.is_empty() {
                    leading.push(above);
                }
                if deep {
                    break;
                }
            }
        }
        Ok(Some(Self {
            shown: compile("folders", &patterns, true)?,
            leading: compile("folders", &leading, true)?,
        }))
    }
}

fn some(option: &str, patterns: &[String]) -> Result<Option<GlobSet>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    compile(option, patterns, false).map(Some)
}

fn compile(option: &str, patterns: &[impl AsRef<str>], path: bool) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let glob = glob(pattern, path)
            .map_err(|error| format!("{option}: '{pattern}' is no pattern: {}", error.kind()))?;
        set.add(glob);
    }
    set.build().map_err(|error| format!("{option}: {}", error.kind()))
}

/// In a path, `*` stays within one folder and `**` goes over all below.
fn glob(pattern: &str, path: bool) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern)
        .case_insensitive(true)
        .literal_separator(path)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_win_over_includes() {
        let list = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filter = Filter::new(&list(&["*.pdf", "*.xml"]), &list(&["Draft*"])).unwrap();
        for (name, shown) in [
            ("Order-a.PDF", true),
            ("Order-a.xml", true),
            ("Order-a.exe", false),
            ("draft-a.pdf", false),
        ] {
            assert_eq!(filter.shows(name), shown, "{name}");
        }
        assert!(Filter::new(&[], &[]).unwrap().shows("anything"));
        let error = Filter::new(&list(&["a[b"]), &[]).unwrap_err();
        assert!(error.contains("include") && error.contains("a[b"), "{error}");
    }

    fn of(change: impl FnOnce(&mut MailOptions)) -> Filter {
        let mut options = MailOptions::default();
        change(&mut options);
        Filter::of(&options).unwrap()
    }

    #[test]
    fn shows_folders_and_what_leads_to_them() {
        let filter = of(|o| o.folders = vec!["/Inbox/Orders/**".into(), "Archive/20*".into()]);
        for (path, shown, leads) in [
            ("Inbox", false, true),
            ("inbox/orders", false, true),
            ("Inbox/Orders/ACME", true, true),
            ("Inbox/Orders/ACME/2024", true, true),
            ("Inbox/Other", false, false),
            ("Archive", false, true),
            ("Archive/2024", true, false),
            ("Archive/2024/May", false, false),
            ("Private", false, false),
        ] {
            assert_eq!(filter.shows_folder(path), shown, "{path}");
            assert_eq!(filter.may_lead(path), leads, "{path}");
        }
        let braces = of(|o| o.folders = vec!["{a/b,c}".into()]);
        assert!(braces.shows_folder("a/b") && braces.may_lead("a") && !braces.shows_folder("a"));
        assert!(of(|_| {}).shows_folder("anything"));
    }

    #[test]
    fn shows_messages_by_author_subject_and_category() {
        let filter = of(|o| {
            o.senders = vec!["*@acme.example".into(), "bob@x.example".into()];
            o.subjects = vec!["Order*".into()];
            o.categories = vec!["red".into()];
        });
        let mail = |email: &str, subject: &str, categories: &[&str]| Summary {
            from: crate::Person {
                email: email.into(),
                ..Default::default()
            },
            subject: subject.into(),
            categories: categories.iter().map(ToString::to_string).collect(),
            ..Summary::default()
        };
        for (mail, shown) in [
            (mail("A@ACME.example", "order 7", &["blue", "Red"]), true),
            (mail("bob@x.example", "Order", &["red"]), true),
            (mail("a@acme.example.evil", "Order", &["red"]), false),
            (mail("a@acme.example", "My order", &["red"]), false),
            (mail("a@acme.example", "Order", &[]), false),
        ] {
            assert_eq!(filter.shows_message(&mail), shown, "{mail:?}");
        }
    }

    #[test]
    fn tells_every_option_that_is_wrong() {
        let mut options = MailOptions::default();
        let bad = || vec!["a[b".to_owned()];
        (options.include, options.exclude, options.senders) = (bad(), bad(), bad());
        (options.subjects, options.categories, options.folders) = (bad(), bad(), bad());
        let problems = Filter::of(&options).unwrap_err();
        let mut told: Vec<&str> = problems.iter().map(|(option, _)| *option).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                "categories",
                "exclude",
                "folders",
                "include",
                "senders",
                "subjects"
            ]
        );
    }
}

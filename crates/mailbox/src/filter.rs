//! Which attachments a mount shows: `include` and `exclude` patterns on the composed name.
//!
//! Invariant: a filter hides; it never decides what may be deleted (see [`crate::MailStore::message`]).

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Compiled patterns.
#[derive(Debug, Clone)]
pub struct Filter {
    /// None where no `include` is given: everything.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Compiles `include` and `exclude`; the case of letters does not count.
    ///
    /// # Errors
    /// A sentence that names the pattern that is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        Ok(Self {
            include: if include.is_empty() {
                None
            } else {
                Some(compile("include", include)?)
            },
            exclude: compile("exclude", exclude)?,
        })
    }

    /// Whether a file of this name is shown.
    #[must_use]
    pub fn shows(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(name)) && !self.exclude.is_match(name)
    }
}

fn compile(option: &str, patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .case_insensitive(true)
            .build()
            .map_err(|error| format!("{option}: '{pattern}' is no pattern: {}", error.kind()))?;
        set.add(glob);
    }
    set.build().map_err(|error| format!("{option}: {}", error.kind()))
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
}

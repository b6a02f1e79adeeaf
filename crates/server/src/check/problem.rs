//! A problem of the configuration, and how all of them are shown: file, line, column, the line
//! itself and a hint.
//!
//! Invariant: a secret that stands in a line is not shown with it: reports go to logs.

use std::fmt::Write as _;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; an empty span at the start concerns the whole file.
    pub span: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// Without a hint.
    #[must_use]
    pub const fn new(span: std::ops::Range<usize>, message: String) -> Self {
        Self {
            span,
            message,
            hint: None,
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All problems of one file. Nobody makes an empty one.
#[derive(Debug, Clone)]
pub struct Report {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    /// Sorted by place, doubles removed.
    #[must_use]
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
        problems.dedup();
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a problem, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        let head = self.text.get(..problem.span.start).unwrap_or(&self.text);
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let column = head.get(line_start..).unwrap_or_default().chars().count() + 1;
        (head.matches('\n').count() + 1, column)
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let (line, column) = self.position(problem);
            let _ = writeln!(out, "{}:{line}:{column}: {}", self.file, problem.message);
            if let Some(excerpt) = self
                .text
                .lines()
                .nth(line - 1)
                .filter(|text| !text.trim().is_empty())
            {
                let marked = self.text.get(problem.span.clone()).unwrap_or_default();
                let marked = marked.lines().next().unwrap_or_default().chars().count().max(1);
                let shown: String = masked(excerpt)
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect();
                let room = shown.chars().count().saturating_sub(column - 1).max(1);
                let margin = line.to_string().len();
                let _ = writeln!(out, "  {line} | {shown}");
                let _ = writeln!(
                    out,
                    "  {:margin$} | {:indent$}{}",
                    "",
                    "",
                    "^".repeat(marked.min(room)),
                    indent = column - 1
                );
            }
            if let Some(hint) = &problem.hint {
                let _ = writeln!(out, "  hint: {hint}");
            }
        }
        let count = self.problems.len();
        let _ = writeln!(
            out,
            "{count} problem{} in {}",
            if count == 1 { "" } else { "s" },
            self.file
        );
        out
    }

    /// For programs: one object for each problem.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let problems: Vec<_> = self
            .problems
            .iter()
            .map(|problem| {
                let (line, column) = self.position(problem);
                serde_json::json!({
                    "file": self.file, "line": line, "column": column,
                    "message": problem.message, "hint": problem.hint,
                })
            })
            .collect();
        serde_json::json!({ "ok": false, "problems": problems })
    }
}

/// Keys whose text is a secret; `key` is one unless it names a file.
const SECRETS: [&str; 6] = [
    "password",
    "secret",
    "client_secret",
    "refresh_token",
    "token",
    "key",
];

/// A line with the text of secrets blotted out, as long as before: marks below it still fit.
fn masked(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_' || *c == '-';
        let word: String = chars.iter().skip(at).take_while(|c| is_word(c)).collect();
        let end = at + word.chars().count().max(1);
        at = end;
        if !SECRETS.contains(&word.as_str()) {
            continue;
        }
        // `key = "…"`, `"key" = '…'`
        let value = chars.iter().enumerate().skip(end);
        let mut value = value.skip_while(|(_, c)| c.is_whitespace() || matches!(c, '"' | '\''));
        if value.next().map(|(_, c)| *c) != Some('=') {
            continue;
        }
        let Some((open, quote)) = value.find(|(_, c)| !c.is_whitespace()) else {
            continue;
        };
        let quote = *quote;
        if !matches!(quote, '"' | '\'') {
            continue;
        }
        let text: Vec<char> = chars.iter().skip(open + 1).copied().collect();
        let mut escaped = false;
        let close = text.iter().position(|c| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && quote == '"' && !escaped;
            ends
        });
        let length = close.unwrap_or(text.len());
        if word == "key" && text.iter().take(length).any(|c| *c == '.') {
            continue;
        }
        for c in chars.iter_mut().skip(open + 1).take(length) {
            *c = '*';
        }
        at = open + 1 + length;
    }
    chars.into_iter().collect()
}

/// `did you mean 'x'?`, where one of `known` is close enough to `word`.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = plain(word);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| format!("did you mean '{name}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_line_are_not_shown() {
        for (line, shown) in [
            ("password = \"hunter2\" # x", "password = \"*******\" # x"),
            ("  'client_secret'='a\\'  ", "  'client_secret'='**'  "),
            ("password = \"a\\\"b\", x = 1", "password = \"****\", x = 1"),
            ("refresh_token = \"unfinished", "refresh_token = \"**********"),
            (
                "a = { password = \"p\", secret = 's' }",
                "a = { password = \"*\", secret = '*' }",
            ),
            ("password = { env = \"NAME\" }", "password = { env = \"NAME\" }"),
            ("key = \"tls/key.pem\"", "key = \"tls/key.pem\""),
            ("key = \"AAEC/w==\"", "key = \"********\""),
            ("passwords = \"many\"", "passwords = \"many\""),
            ("password", "password"),
            ("password =", "password ="),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}

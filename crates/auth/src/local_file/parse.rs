//! The accounts file, read whole: every problem is found in one pass.
//!
//! Invariant: an unknown key is an error, since it may be a misspelt restriction.

use std::{borrow::Cow, collections::HashMap, ops::Range, time::SystemTime};

use portreeve_model::{GroupName, UserName};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::problem::{Collector, FileProblems};
use crate::{
    AuthorizedKey, KeyRules,
    account::{Known, Password},
    resolver::folder,
};

const FIELDS: [&str; 6] = ["password", "groups", "ssh_keys", "disabled", "expires", "mail"];

/// Most keys of one account.
const MAX_KEYS: usize = 100;

/// Reads the file's text. `groups` are those of the configuration, where they are known; `private` as in
/// [`super::LocalFile::open`].
pub(super) fn parse(
    text: &str,
    rules: KeyRules,
    groups: Option<&[GroupName]>,
    private: Option<&[String]>,
) -> Result<HashMap<UserName, Known>, FileProblems> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut problems = Collector::new(text);
    for error in &syntax {
        problems.add(&error.span().unwrap_or_default(), error.message(), None);
    }
    if !syntax.is_empty() {
        // What follows from half a table is noise.
        problems.finish()?;
        return Err(FileProblems::of_file("the file is not TOML"));
    }
    let mut reader = Reader {
        rules,
        groups,
        problems,
        folders: HashMap::new(),
    };
    let mut accounts = HashMap::new();
    for (key, value) in root.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("accounts", DeValue::Table(table)) => {
                for (name, fields) in table {
                    if let Some(known) = reader.account(name, fields) {
                        reader.twins(&known.name, &name.span(), private);
                        accounts.insert(known.name.clone(), known);
                    }
                }
            }
            ("accounts", _) => reader.wrong_type(value, "accounts", "a table: [accounts.NAME]"),
            (other, _) => {
                let hint = "this file has only tables [accounts.NAME]".to_owned();
                reader
                    .problems
                    .add(&key.span(), format!("unknown key '{other}'"), Some(hint));
            }
        }
    }
    reader.problems.finish()?;
    Ok(accounts)
}

struct Reader<'a> {
    rules: KeyRules,
    groups: Option<&'a [GroupName]>,
    problems: Collector<'a>,
    /// Who owns which private folder, and where that is said.
    folders: HashMap<String, (Range<usize>, UserName)>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn account(&mut self, name: &Spanned<Cow<'_, str>>, fields: &Value<'_>) -> Option<Known> {
        let parsed = UserName::new(name.get_ref());
        if let Err(why) = &parsed {
            self.problems.add(
                &name.span(),
                format!("'{}' is no user name: {why}", name.get_ref()),
                None,
            );
        }
        let DeValue::Table(table) = fields.get_ref() else {
            self.wrong_type(fields, name.get_ref(), "a table: [accounts.NAME]");
            return None;
        };
        let mut known = Known {
            name: parsed.ok()?,
            groups: Vec::new(),
            roles: Vec::new(),
            password: None,
            keys: Vec::new(),
            disabled: false,
            expires: None,
            mail: None,
        };
        for (field, value) in table {
            match field.get_ref().as_ref() {
                "password" => known.password = self.password(value),
                "groups" => known.groups = self.group_names(value),
                "ssh_keys" => known.keys = self.keys(value),
                "disabled" => match value.get_ref().as_bool() {
                    Some(disabled) => known.disabled = disabled,
                    None => self.wrong_type(value, "disabled", "true or false"),
                },
                "expires" => known.expires = self.expires(value),
                "mail" => match value.get_ref().as_str() {
                    Some(mail)
                        if !mail.is_empty() && mail.len() <= 320 && !mail.contains(char::is_control) =>
                    {
                        known.mail = Some(mail.to_owned());
                    }
                    _ => self.wrong_type(value, "mail", "an address of at most 320 bytes"),
                },
                other => self.unknown_field(other, &field.span()),
            }
        }
        Some(known)
    }

    fn twins(&mut self, name: &UserName, at: &Range<usize>, suffixes: Option<&[String]>) {
        let Some(suffixes) = suffixes else { return };
        let owner = (at.clone(), name.clone());
        if let Some((before, other)) = self.folders.insert(folder(name, suffixes), owner) {
            // The table is in the order of its names, the file need not be.
            let later = if before.start < at.start { at } else { &before };
            let (one, two) = (name.min(&other), name.max(&other));
            let message = format!("the accounts '{one}' and '{two}' would share one private folder");
            let hint = "a mount has {user} in its subpath; rename one of the accounts".to_owned();
            self.problems.add(later, message, Some(hint));
        }
    }

    fn password(&mut self, value: &Value<'_>) -> Option<Password> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(value, "password", "a hash made by `portreeve hash-password`");
            return None;
        };
        match Password::parse(text) {
            Ok(hash) => Some(hash),
            Err(why) => {
                self.problems.add(&value.span(), why.to_string(), None);
                None
            }
        }
    }

    fn group_names(&mut self, value: &Value<'_>) -> Vec<GroupName> {
        let mut names = Vec::new();
        for item in self.items(value, "groups") {
            let Some(text) = item.get_ref().as_str() else {
                self.wrong_type(item, "groups", "a list of names");
                continue;
            };
            match GroupName::new(text) {
                Err(why) => {
                    self.problems
                        .add(&item.span(), format!("'{text}' is no group name: {why}"), None);
                }
                Ok(name) if self.groups.is_some_and(|known| !known.contains(&name)) => {
                    let known = self.groups.unwrap_or_default().iter().map(GroupName::as_str);
                    let hint = nearest(text, known)
                        .map(|near| format!("did you mean '{near}'?"))
                        .or_else(|| Some(format!("add [groups.{text}] to the main configuration")));
                    self.problems.add(
                        &item.span(),
                        format!("the configuration has no group '{text}'"),
                        hint,
                    );
                }
                Ok(name) => names.push(name),
            }
        }
        names
    }

    fn keys(&mut self, value: &Value<'_>) -> Vec<AuthorizedKey> {
        let items = self.items(value, "ssh_keys");
        if items.len() > MAX_KEYS {
            let message = format!("an account has at most {MAX_KEYS} keys");
            self.problems.add(&value.span(), message, None);
            return Vec::new();
        }
        let mut keys = Vec::new();
        for item in items {
            match item
                .get_ref()
                .as_str()
                .map(|line| AuthorizedKey::parse(line, self.rules))
            {
                Some(Ok(key)) => keys.push(key),
                Some(Err(why)) => self.problems.add(&item.span(), why.to_string(), None),
                None => self.wrong_type(item, "ssh_keys", "a list of lines of authorized_keys"),
            }
        }
        keys
    }

    fn expires(&mut self, value: &Value<'_>) -> Option<SystemTime> {
        let parsed = value
            .get_ref()
            .as_datetime()
            .and_then(|time| time.to_string().parse::<jiff::Timestamp>().ok());
        if parsed.is_none() {
            self.wrong_type(
                value,
                "expires",
                "a time with its zone: 2027-01-01T00:00:00Z, without quotation marks",
            );
        }
        parsed.map(SystemTime::from)
    }

    fn items<'v, 'i>(&mut self, value: &'v Value<'i>, field: &str) -> &'v [Value<'i>] {
        let array: Option<&DeArray<'i>> = value.get_ref().as_array();
        if array.is_none() {
            self.wrong_type(value, field, "a list: [\"…\"]");
        }
        array.map_or(&[], |array| array)
    }

    fn wrong_type(&mut self, value: &Value<'_>, field: &str, wanted: &str) {
        self.problems.add(
            &value.span(),
            format!("'{field}' is not as it must be"),
            Some(format!("write {wanted}")),
        );
    }

    fn unknown_field(&mut self, field: &str, at: &Range<usize>) {
        let hint = nearest(field, FIELDS.into_iter()).map_or_else(
            || format!("the keys of an account are {}", FIELDS.join(", ")),
            |near| format!("did you mean '{near}'?"),
        );
        self.problems
            .add(at, format!("unknown key '{field}'"), Some(hint));
    }
}

fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    among
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

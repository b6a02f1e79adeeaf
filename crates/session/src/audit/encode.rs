//! An event as one line of JSON: fixed names, values escaped. No control character of either set, and
//! nothing that changes how the text around it is shown, stands in it as itself: whoever names a file
//! must not be able to rewrite what an administrator sees (Unicode TR 36, section 3.2).

use std::time::{SystemTime, UNIX_EPOCH};

use portreeve_model::{Act, Event, Item, Outcome, TrailStep, Transfer, VPath};
use serde_json::{Map, Value, json};

use super::Beside;

/// Free text is cut here, so that one record stays one datagram and a page of the log readable: a
/// directory may know hundreds of groups of one person.
const TEXT: usize = 1024;

/// The event as a JSON object in one line, with what is told beside it.
pub(super) fn line(event: &Event, beside: &Beside) -> String {
    let mut map = Map::new();
    map.insert("at".into(), rfc3339(event.at).into());
    map.insert("act".into(), event.act.name().into());
    let why = match &event.outcome {
        Outcome::Ok => None,
        Outcome::Refused(why) | Outcome::Failed(why) => Some(why),
    };
    map.insert("outcome".into(), event.outcome.name().into());
    put(&mut map, "why", why.map(|why| cut(why).into()));
    put(&mut map, "user", event.user.as_deref().map(Value::from));
    if let Some(origin) = &event.origin {
        map.insert("door".into(), origin.door.name().into());
        map.insert("listener".into(), (*origin.listener).into());
        map.insert("peer".into(), origin.peer.to_string().into());
    }
    put(&mut map, "session", event.session.map(|id| id.to_string().into()));
    put(
        &mut map,
        "connection",
        event.connection.map(|id| id.to_string().into()),
    );
    act(&mut map, &event.act);
    put(&mut map, "item", event.item.as_ref().map(item));
    put(&mut map, "tls_reused", beside.tls_reused.map(Value::from));
    if !beside.unwritten.is_empty() {
        let counts = beside
            .unwritten
            .iter()
            .map(|((act, outcome), n)| (format!("{act} {outcome}"), Value::from(*n)));
        map.insert("unwritten".into(), counts.collect::<Map<_, _>>().into());
    }
    map.insert("ms".into(), (event.took.as_micros() as f64 / 1000.0).into());
    visible(Value::Object(map).to_string())
}

/// Escapes what JSON leaves as it is: C1 controls, direction marks, what has no width, line separators.
/// Such characters stand in strings alone, so this changes no meaning.
fn visible(json: String) -> String {
    if !json.contains(is_deceptive) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if is_deceptive(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.into(), value);
    }
}

fn act(map: &mut Map<String, Value>, act: &Act) {
    match act {
        Act::Knock | Act::Start | Act::Stop => {}
        Act::Login { trail, method } => {
            put(map, "method", method.as_deref().map(Value::from));
            map.insert("trail".into(), trail.iter().map(step).collect());
        }
        Act::Logout { reason } => put(map, "reason", Some((*reason).into())),
        Act::List(path)
        | Act::Stat(path)
        | Act::RemoveFile(path)
        | Act::RemoveDir(path)
        | Act::MakeDir(path)
        | Act::SetAttrs(path) => named(map, "path", path),
        Act::Download(passed) | Act::Upload(passed) => transfer(map, passed),
        Act::Rename { from, to } | Act::Copy { from, to } => {
            named(map, "path", from);
            named(map, "to", to);
        }
        Act::Link { path, target } => {
            named(map, "path", path);
            map.insert("target".into(), String::from_utf8_lossy(target).into());
        }
        Act::Reload { generation } => put(map, "generation", Some((*generation).into())),
        Act::Admin { change } => put(map, "change", Some(cut(change).into())),
    }
}

fn transfer(map: &mut Map<String, Value>, passed: &Transfer) {
    named(map, "path", &passed.path);
    map.insert("bytes".into(), passed.bytes.into());
    put(map, "size", passed.size.map(Value::from));
    put(map, "digest", passed.digest.as_deref().map(Value::from));
    put(map, "kept", passed.kept.map(Value::from));
}

/// A path as text; where it is not UTF-8, lossy, with the exact bytes in hex beside it.
fn named(map: &mut Map<String, Value>, key: &str, path: &VPath) {
    match path.as_str() {
        Some(text) => map.insert(key.into(), text.into()),
        None => {
            map.insert(format!("{key}_hex"), crate::digest::hex(path.as_bytes()).into());
            map.insert(key.into(), path.to_string().into())
        }
    };
}

/// Who sent a message named its attachments and gave it its id: free text.
fn item(item: &Item) -> Value {
    item.facts()
        .map(|(key, value)| (key.to_owned(), cut(value).into()))
        .collect::<Map<_, _>>()
        .into()
}

fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= TEXT {
        return text.into();
    }
    let head = text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default();
    format!("{head}… ({} bytes)", text.len()).into()
}

fn step(step: &TrailStep) -> Value {
    if step.why.is_empty() {
        return json!({ "step": step.step, "verdict": step.verdict });
    }
    json!({ "step": step.step, "verdict": step.verdict, "why": cut(&step.why) })
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(0));
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a count of days since 1970-01-01, by the 400-year cycle of the Gregorian
/// calendar (146,097 days), years counted from March so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_event_is_one_line_whatever_the_name() {
        let path = VPath::parse(b"/a\nb\x1b[31m\xff\"").unwrap();
        let event = Event {
            at: UNIX_EPOCH + Duration::from_millis(1_709_164_800_123),
            connection: None,
            session: None,
            origin: None,
            user: Some("o'brien\r\n{\"act\":\"forged\"}".into()),
            act: Act::RemoveFile(path),
            item: None,
            outcome: Outcome::Refused("no".into()),
            took: Duration::from_micros(1500),
        };
        let line = line(&event, &Beside::default());
        assert!(line.bytes().all(|b| b >= 0x20), "{line:?}");
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["act"], "remove-file");
        assert_eq!(back["at"], "2024-02-29T00:00:00.123Z");
        assert_eq!(back["path_hex"], "2f610a621b5b33316dff22");
        assert_eq!(back["ms"], 1.5);
    }

    #[test]
    fn what_would_change_the_text_around_it_is_escaped() {
        let name = "a\u{9b}31m\u{202e}fdp\u{2028}\u{e0041}\u{7f}\u{e9}\u{1f600}";
        let path = VPath::parse(format!("/{name}").as_bytes()).unwrap();
        let event = Event {
            at: UNIX_EPOCH,
            connection: None,
            session: None,
            origin: None,
            user: Some(name.into()),
            act: Act::RemoveFile(path),
            item: None,
            outcome: Outcome::Ok,
            took: Duration::ZERO,
        };
        let line = line(&event, &Beside::default());
        assert!(!line.contains(is_deceptive), "{line:?}");
        assert!(
            line.contains("a\\u009b31m\\u202efdp\\u2028\\udb40\\udc41\\u007f\u{e9}\u{1f600}"),
            "{line}"
        );
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&back["user"], &back["path"]),
            (&name.into(), &format!("/{name}").into())
        );
    }

    #[test]
    fn what_a_storage_says_is_cut_and_escaped() {
        let id = "<a\u{9b}31m\u{202e}\r\n\",\"act\":\"forged\"\u{0}>";
        let mut said = Item::default();
        said.put("message_id", id);
        said.put("attachment", "\u{e9}".repeat(100_000));
        let mut event = Event {
            at: UNIX_EPOCH,
            connection: None,
            session: None,
            origin: None,
            user: None,
            act: Act::RemoveFile(VPath::parse("/a").unwrap()),
            item: Some(said),
            outcome: Outcome::Ok,
            took: Duration::ZERO,
        };
        let text = line(&event, &Beside::default());
        assert!(
            !text.contains(is_deceptive) && text.bytes().all(|b| b >= 0x20),
            "{text:?}"
        );
        assert!(text.len() < 2 * TEXT, "{}", text.len());
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&back["act"], &back["item"]["message_id"]),
            (&"remove-file".into(), &id.into())
        );
        let name = back["item"]["attachment"].as_str().unwrap();
        assert!(name.ends_with("\u{e9}… (200000 bytes)"), "{name}");

        event.item = None;
        assert!(!line(&event, &Beside::default()).contains("item"));
    }

    #[test]
    fn dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }
}

use mail_parser::{MessageParser, PartType};

use super::*;
use crate::sample;

fn look(raw: &str) -> Inspected {
    inspect(raw.replace('\n', "\r\n").as_bytes(), Timestamp::default())
}

fn check(raw: &str, want: &[(&str, AttachmentKind, u64)]) {
    let found = look(raw);
    let have: Vec<_> = found
        .parts
        .iter()
        .map(|p| (&*p.attachment.name, p.attachment.kind, p.attachment.size.unwrap()))
        .collect();
    assert_eq!(have, want, "{raw}");
}

fn mixed(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\n{part}\n")).collect();
    format!("Content-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n")
}

#[test]
fn tells_text_from_inline_from_attachments() {
    use AttachmentKind::{File, Inline, Item, Reference};
    for (part, want) in [
        ("Content-Type: text/plain\n\nhi", &[][..]),
        ("\nno header at all", &[]),
        ("Content-Type: text/html\n\n<p>", &[]),
        (
            "Content-Type: text/plain; name=a.txt\n\nhi",
            &[("a.txt", File, 2)],
        ),
        (
            "Content-Disposition: attachment\n\nhi",
            &[("attachment.txt", File, 2)],
        ),
        ("Content-Type: text/csv\n\na,b", &[("attachment.csv", File, 3)]),
        // Apple Mail's way of attaching a file.
        (
            "Content-Type: application/pdf\nContent-Disposition: inline; filename=a.pdf\n\nx",
            &[("a.pdf", File, 1)],
        ),
        (
            "Content-Type: image/png; name=a.png\nContent-Disposition: inline\nContent-ID: <1>\n\nx",
            &[("a.png", Inline, 1)],
        ),
        (
            "Content-Type: message/rfc822\n\nSubject: Inner\n\nbody",
            &[("Inner.eml", Item, 22)],
        ),
        (
            "Content-Type: message/rfc822\nContent-Disposition: attachment; filename=\"mail.eml\"\n\nTo: a\n\nb",
            &[("mail.eml", Item, 10)],
        ),
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogQTY0DQoNCmI=",
            &[("A64.eml", Item, 17)],
        ),
        (
            "Content-Type: message/external-body; access-type=URL; URL=\"https://example.com/x\"\n\nContent-Type: text/plain\n\n",
            &[("attachment.txt", Reference, 28)],
        ),
        // Encoded names, both ways.
        (
            "Content-Disposition: attachment; filename=\"=?utf-8?Q?=C3=A9.pdf?=\"\n\nx",
            &[("\u{e9}.pdf", File, 1)],
        ),
        (
            "Content-Disposition: attachment; filename*0*=utf-8''%E2%82%AC; filename*1*=.pdf\n\nx",
            &[("\u{20ac}.pdf", File, 1)],
        ),
    ] {
        check(&mixed(&[part]), want);
    }
    // The picture of a text goes with the text; the text of a related is no attachment.
    check(
        "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html; name=t.html\n\n<p>\n\
         --b\nContent-Type: image/gif; name=logo.gif\n\nGIF\n--b--\n",
        &[("logo.gif", Inline, 3)],
    );
    // A message that is nothing but a file.
    check(
        "Content-Type: application/pdf; name=a.pdf\n\n%PDF",
        &[("a.pdf", File, 4)],
    );
}

#[test]
fn reads_the_summary() {
    let summary = look(
        "Received: from a by b; Thu, 2 May 2024 10:00:00 +0200\n\
         Received: from c by a; Wed, 1 May 2024 10:00:00 +0200\n\
         Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n an alle\n\
         From: \"A. Person\" <a@example.com>\nDate: Wed, 1 May 2024 09:59:58 +0200\n\
         Message-ID: <m@x>\nReferences: <r@x> <s@x>\nImportance: High\nKeywords: red, blue\n\nbody",
    )
    .summary;
    assert_eq!(summary.subject, "Gr\u{fc}\u{df}e an alle");
    assert_eq!(summary.received.seconds, 1_714_636_800);
    assert_eq!(summary.sent.unwrap().seconds, 1_714_550_398);
    assert_eq!(
        (&*summary.from.name, &*summary.sender.email),
        ("A. Person", "a@example.com")
    );
    assert_eq!((&*summary.internet_id, &*summary.conversation_id), ("m@x", "r@x"));
    assert_eq!(
        (&*summary.importance, summary.categories),
        ("high", vec!["red".into(), "blue".into()])
    );
}

#[test]
fn previews_in_the_right_charset() {
    let raw = b"Content-Type: text/plain; charset=iso-8859-1\n\nGr\xfc\xdfe\n  an alle";
    let found = inspect_for(raw, Timestamp::default(), Wanted { preview: true });
    assert_eq!(found.summary.body_preview, "Gr\u{fc}\u{df}e an alle");
}

/// The sample's messages, split by us and by `mail-parser`: the same attachments, the same bytes.
#[test]
fn agrees_with_mail_parser() {
    for (_, raw) in sample::messages() {
        let ours = inspect(&raw, Timestamp::default());
        let theirs = MessageParser::default().parse(&raw).unwrap();
        let ours: Vec<Vec<u8>> = ours
            .parts
            .iter()
            .map(|part| decode(part.encoding, &raw[part.body.clone()]))
            .collect();
        let theirs: Vec<Vec<u8>> = theirs
            .attachments
            .iter()
            .map(|id| match &theirs.parts[*id as usize].body {
                PartType::Text(text) | PartType::Html(text) => text.as_bytes().to_vec(),
                PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.to_vec(),
                PartType::Message(message) => message.raw_message().to_vec(),
                PartType::Multipart(_) => panic!("a multipart is no attachment"),
            })
            .collect();
        assert_eq!(ours, theirs);
    }
}

proptest::proptest! {
    /// Anything at all is looked through; ranges lie within it and ids differ.
    #[test]
    fn anything_goes(lines in proptest::collection::vec(proptest::sample::select(LINES.to_vec()), 0..60)) {
        let raw = lines.concat();
        let found = inspect(&raw, Timestamp::default());
        let mut ids: Vec<_> = found.parts.iter().map(|p| p.attachment.id.clone()).collect();
        for part in &found.parts {
            proptest::prop_assert!(raw.get(part.body.clone()).is_some());
            proptest::prop_assert!(raw.get(part.cut.clone()).is_some());
        }
        ids.sort();
        ids.dedup();
        proptest::prop_assert_eq!(ids.len(), found.parts.len());
    }
}

const LINES: &[&[u8]] = &[
    b"Content-Type: multipart/mixed; boundary=a\r\n",
    b"Content-Type: multipart/related; boundary=\"b b\"\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: ;;=\xff\"\r\n",
    b"Content-Disposition: attachment; filename*=utf-8''%ff%00\r\n",
    b"Content-Disposition: attachment; filename=\"\xff\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Subject: =?x?B?\r\n",
    b"Date: Mon, 99 Zzz 99999 99:99:99 +9999\r\n",
    b"\r\n",
    b"\n",
    b"--a\r\n",
    b"--a--\r\n",
    b"--b b\r\n",
    b"--",
    b"QUJD\r\n",
    b"\0\xff\r\n",
];

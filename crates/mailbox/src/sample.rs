//! A small, well-formed mailbox to look at: what `portreeve demo` shows and the tests read.
//!
//! Invariant: the Inbox shows exactly the files that the documentation of names promises.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Writes a Maildir into `dir`, which is made where it is missing. Messages that are there already
/// stay as they are.
///
/// # Errors
/// Whatever the file system says.
pub fn write(dir: &Path) -> io::Result<()> {
    for (number, (folder, raw)) in messages().into_iter().enumerate() {
        let folder = dir.join(folder);
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        let file = folder.join(format!("cur/17146{number:05}.M{number}P1.sample:2,S"));
        if !file.exists() {
            fs::write(file, raw)?;
        }
    }
    Ok(())
}

/// Folder (relative to the Maildir) and bytes of each message.
#[must_use]
pub fn messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "",
            mail(
                "Report for May 2024",
                "Reports <reports@example.com>",
                "Mon, 03 Jun 2024 08:00:12 +0000",
                &mixed(&[
                    &text("Please find the report attached."),
                    &file("application/pdf", "report-may.pdf", &pdf("Report for May 2024")),
                    &file(
                        "text/csv; charset=utf-8",
                        "income-2024-05-01.csv",
                        b"date,customer,amount\r\n2024-05-01,ACME Ltd,1250.00\r\n2024-05-17,Globex,980.50\r\n",
                    ),
                ]),
            ),
        ),
        (
            "",
            mail(
                "Order ACME Ltd",
                "ACME Ltd <orders@acme.example>",
                "Tue, 04 Jun 2024 09:30:05 +0000",
                &mixed(&[
                    &text("Our order is attached. It replaces the one of yesterday."),
                    &file(
                        "application/xml",
                        "order.xml",
                        b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<order customer=\"ACME Ltd\"><item sku=\"4711\" quantity=\"12\"/></order>\n",
                    ),
                ]),
            ),
        ),
        (".Archive.2024", newsletter()),
        (
            ".Archive.2024",
            mail(
                "Fwd: question",
                "Alice <alice@example.com>",
                "Wed, 10 Jan 2024 14:00:00 +0000",
                &mixed(&[
                    &text("See below."),
                    &format!(
                        "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n{}",
                        String::from_utf8_lossy(&mail(
                            "A question about invoice 17",
                            "Bob <bob@example.net>",
                            "Tue, 09 Jan 2024 11:22:33 +0000",
                            &text("Which order does invoice 17 belong to?"),
                        ))
                    ),
                ]),
            ),
        ),
        (
            "Projects",
            mail(
                "=?utf-8?Q?Pr=C3=A9sentation_=E2=80=93_plan?=",
                "Zo=?utf-8?Q?=C3=AB?= <zoe@example.com>",
                "Fri, 07 Jun 2024 16:45:00 +0200",
                &mixed(&[
                    &text("Notes for Monday."),
                    &file("text/plain; charset=utf-8", "=?utf-8?B?bm90ZXMg4oKsLnR4dA==?=", "10 € a head\r\n".as_bytes()),
                ]),
            ),
        ),
        (
            "Projects",
            mail(
                "../../etc: urgent? =?utf-8?B?4oCuZ3BqLmV4ZQ==?= <now>",
                "Mallory <mallory@example.org>",
                "Sat, 08 Jun 2024 03:00:00 +0000",
                &mixed(&[
                    &text("A subject that tries to leave the folder."),
                    &file("application/octet-stream", "CON|aux.txt", b"harmless\n"),
                ]),
            ),
        ),
    ]
}

/// A text with a picture in it: no file unless inline parts are asked for.
fn newsletter() -> Vec<u8> {
    let picture = STANDARD
        .decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
        .unwrap_or_default();
    let related = format!(
        "Content-Type: multipart/related; boundary=\"=_related\"\r\n\r\n\
         --=_related\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <p>News <img src=\"cid:logo@example.com\"></p>\r\n\
         --=_related\r\nContent-Type: image/png; name=\"logo.png\"\r\n\
         Content-Disposition: inline; filename=\"logo.png\"\r\nContent-ID: <logo@example.com>\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--=_related--\r\n",
        lines(&picture)
    );
    mail(
        "Newsletter January",
        "News <news@example.com>",
        "Mon, 15 Jan 2024 07:00:00 +0000",
        &mixed(&[
            &related,
            &file(
                "text/calendar",
                "events.ics",
                b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example//EN\r\nEND:VCALENDAR\r\n",
            ),
        ]),
    )
}

fn mail(subject: &str, from: &str, date: &str, body: &str) -> Vec<u8> {
    let id = blake3::hash(format!("{subject}{date}").as_bytes()).to_hex();
    let id = id.get(..16).unwrap_or_default();
    format!(
        "Received: from mail.example.com by mx.example.com; {date}\r\n\
         Date: {date}\r\nFrom: {from}\r\nTo: invoices@example.com\r\nSubject: {subject}\r\n\
         Message-ID: <{id}@example.com>\r\nMIME-Version: 1.0\r\n{body}"
    )
    .into_bytes()
}

fn mixed(parts: &[&str]) -> String {
    let mut out = "Content-Type: multipart/mixed; boundary=\"=_mixed\"\r\n\r\n".to_owned();
    for part in parts {
        out.push_str("--=_mixed\r\n");
        out.push_str(part);
        if !part.ends_with("\r\n") {
            out.push_str("\r\n");
        }
    }
    out.push_str("--=_mixed--\r\n");
    out
}

fn text(text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n")
}

fn file(kind: &str, name: &str, content: &[u8]) -> String {
    format!(
        "Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}",
        lines(content)
    )
}

fn lines(content: &[u8]) -> String {
    content
        .chunks(57)
        .map(|line| STANDARD.encode(line) + "\r\n")
        .collect()
}

/// One page with one line of text, and a cross-reference table that is right.
fn pdf(line: &str) -> Vec<u8> {
    let stream = format!("BT /F1 24 Tf 72 770 Td ({line}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut out = "%PDF-1.4\n".to_owned();
    let mut table = "0000000000 65535 f \n".to_owned();
    for (number, object) in (1..).zip(&objects) {
        table.push_str(&format!("{:010} 00000 n \n", out.len()));
        out.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = out.len();
    let size = objects.len() + 1;
    out.push_str(&format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    ));
    out.into_bytes()
}

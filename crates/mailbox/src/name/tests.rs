use proptest::prelude::*;

use super::*;

fn check(raw: &str, want: &str) {
    assert_eq!(BaseName::new(raw).numbered(0), want, "{raw:?}");
}

#[test]
fn the_pinned_vectors() {
    // The example of the seed document.
    check(
        "Report for May 2024-report-may.pdf",
        "Report for May 2024-report-may.pdf",
    );
    // Each character that one of the systems forbids.
    for c in ['<', '>', ':', '"', '/', '\\', '|', '?', '*'] {
        check(&format!("a{c}b.txt"), "a-b.txt");
    }
    for (raw, want) in [
        // Newlines and other controls.
        ("a\r\nb.txt", "ab.txt"),
        ("a\nb\u{85}c\u{2028}d\u{2029}e.txt", "abcde.txt"),
        ("a\0b\tc\u{1b}[31m\u{7f}.txt", "abc[31m.txt"),
        // Bidi controls: this would be shown as `invoiceexe.pdf`.
        ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
        (
            "\u{200e}a\u{200f}\u{061c}\u{202a}\u{202b}\u{202c}\u{202d}\u{2066}\u{2067}\u{2068}\u{2069}b",
            "ab",
        ),
        // No width.
        ("a\u{200b}\u{feff}b", "ab"),
        // Joiners stay.
        ("👩\u{200d}👧.png", "👩\u{200d}👧.png"),
        // Edges.
        ("../../etc/passwd", "-..-etc-passwd"),
        (".htaccess", "htaccess"),
        ("  . a.txt . ", "a.txt"),
        ("a.txt...", "a.txt"),
        ("\u{a0}\u{3000}a", "a"),
        // Nothing left.
        ("", "unnamed"),
        (" .. ", "unnamed"),
        ("\r\n\u{202e}", "unnamed"),
        // Devices.
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Nul.tar.gz", "_Nul.tar.gz"),
        ("aux .txt", "_aux .txt"),
        ("COM1.log", "_COM1.log"),
        ("lpt9", "_lpt9"),
        ("COM\u{b9}", "_COM\u{b9}"),
        ("COM10", "COM10"),
        ("CONSOLE.txt", "CONSOLE.txt"),
        ("CON-report.pdf", "CON-report.pdf"),
        // NFC; a combining slash over `<` is a letter of its own.
        ("cafe\u{301}.txt", "caf\u{e9}.txt"),
        ("a<\u{338}b", "a\u{226e}b"),
    ] {
        check(raw, want);
    }
}

#[test]
fn cuts_at_240_characters_and_keeps_a_short_extension() {
    let a = |n: usize| "a".repeat(n);
    for (raw, want) in [
        (a(240), a(240)),
        (a(241), a(240)),
        (format!("{}.pdf", a(236)), format!("{}.pdf", a(236))),
        (format!("{}.pdf", a(237)), format!("{}.pdf", a(236))),
        // Nine characters of extension are kept, ten are not.
        (
            format!("{}.{}", a(300), "x".repeat(9)),
            format!("{}.{}", a(230), "x".repeat(9)),
        ),
        (
            format!("{}.{}", a(230), "x".repeat(10)),
            format!("{}.{}", a(230), "x".repeat(9)),
        ),
        (format!("{}.{}", a(300), "x".repeat(10)), a(240)),
        // Where the cut falls on blanks and dots, they go too.
        (format!("{} . bbb.pdf", a(234)), format!("{}.pdf", a(234))),
    ] {
        check(&raw, &want);
    }
}

#[test]
fn cuts_at_255_bytes_between_characters() {
    // Three bytes each: 83 of them and `.pdf` are 253 bytes, one more would be 256.
    check(
        &format!("{}.pdf", "€".repeat(100)),
        &format!("{}.pdf", "€".repeat(83)),
    );
    check(&"€".repeat(85), &"€".repeat(85));
    check(&"€".repeat(86), &"€".repeat(85));
    // Four bytes each: 63 are 252.
    check(&"😀".repeat(64), &"😀".repeat(63));
}

#[test]
fn numbers_before_the_extension_within_the_limits() {
    let base = BaseName::new("Invoice-a.pdf");
    assert_eq!(base.numbered(1), "Invoice-a (1).pdf");
    assert_eq!(BaseName::new("Invoice-a").numbered(12), "Invoice-a (12)");
    assert_eq!(BaseName::new("Dr. Who").numbered(1), "Dr. Who (1)");
    let long = BaseName::new(&format!("{}.pdf", "a".repeat(400)));
    assert_eq!(long.numbered(7), format!("{} (7).pdf", "a".repeat(232)));
}

#[test]
fn folds_what_other_systems_take_for_one() {
    for (a, b) in [
        ("A.PDF", "a.pdf"),
        ("STRASSE", "stra\u{df}e"),
        ("e\u{301}", "\u{c9}"),
    ] {
        assert_eq!(fold(a), fold(b));
    }
    assert_ne!(fold("a"), fold("b"));
}

proptest! {
    #[test]
    fn any_text_becomes_a_name(raw in "\\PC{0,40}|[\\x00-\\x7f]{0,300}|[.a-c /:€😀\u{301}\u{202e}]{0,300}", n in 0u32..20_000) {
        let name = BaseName::new(&raw).numbered(n);
        prop_assert!(name.chars().count() <= MAX_CHARS);
        prop_assert!(name.len() <= MAX_BYTES);
        prop_assert!(portreeve_model::Name::new(name.as_bytes()).is_ok());
        prop_assert!(!name.chars().any(|c| is_invisible(c) || is_forbidden(c)), "{name:?}");
        prop_assert!(!name.starts_with(is_edge) && !name.ends_with(is_edge), "{name:?}");
        prop_assert!(!is_device(&name), "{name:?}");
        prop_assert!(unicode_normalization::is_nfc(&name), "{name:?}");
        prop_assert_eq!(sanitise(&name), name.clone());
        prop_assert!(is_clean(&name));
    }
}

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn completions_and_the_manual_can_be_made() {
    for shell in [
        clap_complete::Shell::Bash,
        clap_complete::Shell::Zsh,
        clap_complete::Shell::Fish,
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "portreeve", &mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("hash-password"), "{shell}");
    }
    let page = String::from_utf8(manual::page().unwrap()).unwrap();
    for word in [
        "Exit codes",
        "Secure file transfer",
        // What the verbs beneath a verb take.
        ".SS portreeve account key add",
        "\\-\\-password\\-stdin",
        ".SS portreeve ban add",
    ] {
        assert!(page.contains(word), "{word} is missing in\n{page}");
    }
    assert!(!page.contains("portreeve reference"), "it is hidden");
    assert!(!page.contains("\n'"), "a line that begins so is an order to roff");
}

#[test]
fn wrong_use_is_two_and_help_is_zero() {
    // ExitCode has no equality: its debug form tells.
    let code = |arguments: &[&str]| format!("{:?}", main(arguments.iter().map(Into::into)));
    assert_eq!(code(&["portreeve", "fly"]), format!("{:?}", ExitCode::from(2)));
    assert_eq!(
        code(&["portreeve", "--version"]),
        format!("{:?}", ExitCode::SUCCESS)
    );
    assert_eq!(
        code(&["portreeve", "check", "--config", "/nonexistent"]),
        format!("{:?}", ExitCode::from(2))
    );
    assert_eq!(
        code(&["portreeve", "serve", "--config", "/nonexistent"]),
        format!("{:?}", ExitCode::from(2))
    );
}

#[test]
fn terminals_are_not_steered_by_names() {
    let shown = show::bans(&serde_json::json!([{
        "address": "192.0.2.7", "since": "x", "remaining_s": 1, "reason": "\u{1b}[2Jgone\n",
    }]));
    assert!(shown.contains("\\u{1b}[2Jgone\\u{a}"), "{shown}");
}

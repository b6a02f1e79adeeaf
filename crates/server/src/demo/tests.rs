use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    check::check_text,
    service::{Ended, Service},
};

/// Bytes that a test reads back.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn begin(dir: &Path) -> (Arc<Service>, people::People) {
    prepare(dir).unwrap();
    let file = dir.join("portreeve.toml");
    place(&file, &template::config([0; 3])).unwrap();
    let service = Service::start(check::check_file(&file).unwrap()).await.unwrap();
    let people = people::settle(service.store()).await.unwrap();
    (service, people)
}

#[test]
fn the_configuration_is_right() {
    check_text(
        &template::config([2222, 2121, 8443]),
        Path::new("p"),
        Path::new("/d/p"),
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_tells_everything_and_a_second_run_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portreeve.toml");
    let mut passwords = Vec::new();
    for run in 0..2 {
        let (service, people) = begin(dir.path()).await;
        let told = tell::told(&service, &people, &file);
        let answers = Shared::default();
        let mut out = Out::to(Box::new(answers.clone()), Box::new(io::sink()), true);
        out.answer(&told, |_| panic!("for programs")).unwrap();
        let line = String::from_utf8(answers.0.lock().unwrap().clone()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let keys: Vec<&str> = line
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|word| line.contains(&format!("\"{word}\":")))
            .collect();
        for key in [
            "sftp",
            "ftps",
            "https",
            "console",
            "user",
            "password",
            "admin",
            "admin_password",
            "config",
        ] {
            assert!(keys.contains(&key), "{key} in {line}");
        }
        assert!(line.starts_with("{\"sftp\":\"127.0.0.1:"), "{line}");
        assert!(
            line.contains("\"ftps\":\"127.0.0.1:") && line.contains("\"console\":null"),
            "{line}"
        );
        let text = tell::text(&told, dir.path());
        assert!(
            text.contains("sftp -P ")
                && text.contains("--ssl-reqd -u demo:")
                && text.contains("curl -k -u demo:"),
            "{text}"
        );
        assert!(text.contains(people.password.expose()));
        passwords.push(people.password.expose().to_owned());
        if run == 0 {
            fs::write(dir.path().join("files/README.txt"), "mine").unwrap();
        }
        assert_eq!(service.drain(std::future::pending()).await, Ended::Clean);
    }
    assert_ne!(passwords[0], passwords[1]);
    assert_eq!(
        fs::read_to_string(dir.path().join("files/README.txt")).unwrap(),
        "mine"
    );
    assert!(dir.path().join("mail/cur").is_dir());
}

#[test]
fn an_edited_configuration_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portreeve.toml");
    assert_eq!(place(&file, &template::config([0; 3])).unwrap(), Placed::Written);
    assert_eq!(
        place(&file, &template::config([2222, 2121, 8443])).unwrap(),
        Placed::Written,
        "only the ports differ"
    );
    let edited = format!("{}\n# mine\n", template::config([0; 3]));
    fs::write(&file, &edited).unwrap();
    assert_eq!(place(&file, &template::config([0; 3])).unwrap(), Placed::Edited);
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);
}

//! Many mailboxes in one storage, by a user who may open all of them.

use futures::StreamExt;

use super::*;
use crate::{Addresses, Mailboxes};

/// A Dovecot with a master user, and the mailboxes of `mailbox` on it.
struct Several {
    dovecot: Arc<Dovecot>,
    fs: Mailboxes,
    _spool: TempDir,
}

fn several(mailbox: Addresses) -> Several {
    let master = "passdb {\n driver = static\n args = password=sesame\n master = yes\n}\n";
    let dovecot = Arc::new(Dovecot::start_with(&Tokens::Introspected, master));
    let world = World::on(Arc::clone(&dovecot), |options| {
        options.username = Some("root".into());
        options.connections = 1;
    });
    let mut written = world.options.clone();
    written.mailbox = Some(mailbox);
    let (options, near) = (written.clone(), world.around.clone());
    let make = Box::new(move |address: &str| {
        let secrets = ImapSecrets {
            password: Some(Secret::new("sesame".into())),
            refresh_token: None,
        };
        let mailbox = Mailbox::imap(&options, address, &secrets, &near).unwrap();
        Ok(Arc::new(mailbox) as Arc<dyn FileSystem>)
    });
    let fs = if written.template().is_some() {
        Mailboxes::any(make).unwrap()
    } else {
        Mailboxes::listed(&written.addresses(), make).unwrap()
    };
    Several {
        dovecot,
        fs,
        _spool: world.spool,
    }
}

async fn names(fs: &Mailboxes, dir: &str) -> FsResult<Vec<String>> {
    let mut listing = fs.list(&cx(), &path(dir), None).await?;
    let entries = listing.next(1000).await?;
    let mut names: Vec<String> = entries
        .iter()
        .map(|entry| entry.name.as_ref().unwrap().to_string())
        .collect();
    names.sort();
    Ok(names)
}

async fn read(fs: &Mailboxes, file: &str) -> FsResult<Vec<u8>> {
    let open = fs.open_read(&cx(), &path(file)).await?;
    open.read(0, 1000, Vec::new()).await
}

/// Puts one message with `of-<user>.txt` into each mailbox.
fn deliver(dovecot: &Arc<Dovecot>, users: &[String]) {
    std::thread::scope(|scope| {
        for some in users.chunks(users.len().div_ceil(8)) {
            scope.spawn(move || {
                for user in some {
                    let name = format!("of-{user}.txt");
                    let message = mail("s", 1, &[(&name, user.as_bytes())]);
                    dovecot.deliver(user, "INBOX", &message);
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_mailboxes_are_each_their_own() {
    if !Dovecot::installed() {
        return;
    }
    let users: Vec<String> = (0..200).map(|n| format!("user{n}")).collect();
    let several = several(Addresses::Several(users.clone()));
    deliver(&several.dovecot, &users);
    let fs = &several.fs;
    let mut sorted = users.clone();
    sorted.sort();
    assert_eq!(names(fs, "/").await.unwrap(), sorted);
    let looks = users.iter().map(|user| async move {
        let inbox = names(fs, &format!("/{user}/Inbox")).await;
        let own = format!("of-{user}.txt");
        let content = read(fs, &format!("/{user}/Inbox/{own}")).await;
        (inbox.unwrap() == [own], content.unwrap() == user.as_bytes())
    });
    let seen: Vec<(bool, bool)> = futures::stream::iter(looks).buffer_unordered(20).collect().await;
    assert_eq!(seen, vec![(true, true); 200]);
    // Who is not in the list is on the server, and not here.
    deliver(&several.dovecot, &["alice".to_owned(), "root".to_owned()]);
    for path in ["/alice/Inbox", "/root/Inbox", "/User1/Inbox", "/user200/Inbox"] {
        assert_eq!(kind(names(fs, path).await), Some(FsErrorKind::NotFound), "{path}");
    }
    let moved = fs
        .rename(
            &cx(),
            &path("/user1/Inbox/of-user1.txt"),
            &path("/user2/Inbox/of-user1.txt"),
            portreeve_vfs::Rename::NoReplace,
        )
        .await;
    assert_eq!(kind(moved), Some(FsErrorKind::CrossMount));
    fs.remove(&cx(), &path("/user1/Inbox/of-user1.txt"), Removal::File)
        .await
        .unwrap();
    for (user, left) in [("user1", 0), ("user10", 1), ("user2", 1)] {
        let found = several
            .dovecot
            .doveadm(&["search", "-u", user, "mailbox", "INBOX"], b"");
        assert_eq!(found.lines().count(), left, "{user}");
    }
}

/// A template shows nothing at its top; an address leads to its own mailbox, however it is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_leads_each_to_their_own() {
    if !Dovecot::installed() {
        return;
    }
    let several = several(Addresses::One("{user}".into()));
    let users: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    deliver(&several.dovecot, &users);
    let fs = &several.fs;
    assert_eq!(names(fs, "/").await.unwrap(), Vec::<String>::new());
    for user in &users {
        let own = format!("of-{user}.txt");
        let found = names(fs, &format!("/{user}/Inbox")).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&own));
        let shouted = user.to_uppercase();
        let got = read(fs, &format!("/{shouted}/Inbox/{own}")).await.unwrap();
        assert_eq!(got, user.as_bytes());
    }
    assert_eq!(
        kind(names(fs, "/user1 /Inbox").await),
        Some(FsErrorKind::NotFound)
    );
}

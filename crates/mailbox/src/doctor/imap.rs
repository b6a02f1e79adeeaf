//! A mail server: hosts, capabilities, token, sign-in, folders.

use std::{collections::VecDeque, time::Duration};

use portreeve_microsoft::{Net, probe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Finding, Sheet, Subjects, Verdict, advice, chain, place};
use crate::{FolderId, Imap, ImapOptions, ImapSecrets, MailStore, Surroundings};

/// Longest wait for the server's greeting and capabilities.
const MOST_WAIT: Duration = Duration::from_secs(15);
/// Most bytes of both.
const MOST_BYTES: usize = 64 << 10;
/// Most folders that are counted.
const MOST: usize = 10_000;

/// Looks at everything that a storage of mailboxes on a mail server rests on.
pub async fn examine(
    options: &ImapOptions,
    secrets: &ImapSecrets,
    around: &Surroundings,
    subjects: &Subjects,
) -> Vec<Finding> {
    let mut sheet = Sheet::default();
    let mut problems = options.problems();
    let net = options.net().map_err(|problem| problems.push(problem)).ok();
    sheet.options(&problems);
    let Some(net) = net.filter(|_| problems.is_empty()) else {
        sheet.skipped("login", "", "the options have to be put right first");
        return sheet.0;
    };
    let server = format!("{}:{}", options.host, options.port);
    let mut open = sheet.host(&net, &server, false, true).await;
    if open {
        open = capabilities(&net, options, &server, &mut sheet).await;
    } else {
        sheet.skipped("capabilities", &server, "the server cannot be reached");
    }
    let tokens = match options.endpoint().filter(|_| options.application().is_some()) {
        Some(endpoint) => sheet.host(&net, &endpoint, true, true).await,
        None => true,
    };
    let addresses = subjects.of(&options.addresses());
    if addresses.is_empty() {
        let text = "the mailbox comes from who signs in: name one with --mailbox ADDRESS";
        sheet.skipped("login", "", text);
    }
    for address in &addresses {
        let mut may = open && tokens;
        if options.application().is_some() {
            may &= token(options, address, secrets, around, tokens, &mut sheet).await;
        }
        if !may {
            sheet.skipped("login", address, "something before it stands in the way");
            sheet.skipped("folders", address, "nobody is signed in");
            continue;
        }
        sign_in(options, address, secrets, around, &mut sheet).await;
    }
    sheet.0
}

async fn token(
    options: &ImapOptions,
    address: &str,
    secrets: &ImapSecrets,
    around: &Surroundings,
    reachable: bool,
    sheet: &mut Sheet,
) -> bool {
    let endpoint = options.endpoint().unwrap_or_default();
    let about = place(&endpoint).map(|(host, _)| host).unwrap_or_default();
    if !reachable {
        sheet.skipped("token", &about, "its host cannot be reached");
        return false;
    }
    match options.tokens(address, secrets, around) {
        Ok(Some(source)) => {
            let (stage, outcome) = probe::token(&source).await;
            sheet.stage(&about, stage, true);
            outcome.is_ok()
        }
        Ok(None) => true,
        Err(problem) => {
            sheet.tell(Verdict::Failed, "token", problem.option, problem.text, Vec::new());
            false
        }
    }
}

/// What the server offers before anybody has signed in; whether it is a mail server at all.
async fn capabilities(net: &Net, options: &ImapOptions, server: &str, sheet: &mut Sheet) -> bool {
    let asked = timeout(MOST_WAIT, offered(net, options)).await;
    match asked.unwrap_or_else(|_| Err("the server was silent for too long".to_owned())) {
        Ok(words) => {
            let ways: Vec<&str> = words
                .split(' ')
                .filter(|word| word.starts_with("AUTH=") || *word == "LOGINDISABLED")
                .collect();
            sheet.ok(
                "capabilities",
                server,
                format!("an IMAP server; it offers {}", ways.join(" ")),
            );
            true
        }
        Err(why) => {
            let run = vec!["check host and port: IMAP over TLS from the start, usually port 993".to_owned()];
            sheet.tell(Verdict::Failed, "capabilities", server, why, run);
            false
        }
    }
}

async fn offered(net: &Net, options: &ImapOptions) -> Result<String, String> {
    let stream = net.connect_tls(&options.host, options.port).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    let asked = stream.write_all(b"a1 CAPABILITY\r\na2 LOGOUT\r\n").await;
    asked.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < MOST_BYTES {
        // A server that hangs up without ending TLS has said what it had to say.
        let Ok(count) = stream.read(&mut buffer).await else {
            break;
        };
        if count == 0 {
            break;
        }
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().find_map(|line| line.strip_prefix("* CAPABILITY "));
    let clean = |line: &str| -> String { line.chars().filter(|c| !c.is_control()).take(400).collect() };
    match line {
        Some(line) => Ok(clean(line)),
        None => Err(format!(
            "it speaks no IMAP; it said {:?}",
            clean(text.lines().next().unwrap_or_default())
        )),
    }
}

async fn sign_in(
    options: &ImapOptions,
    address: &str,
    secrets: &ImapSecrets,
    around: &Surroundings,
    sheet: &mut Sheet,
) {
    let store = match Imap::open(options, address, secrets, around) {
        Ok(store) => store,
        Err(problem) => {
            return sheet.tell(Verdict::Failed, "login", problem.option, problem.text, Vec::new());
        }
    };
    match count(&store).await {
        Ok(folders) => {
            sheet.ok("login", address, "the server lets us in");
            sheet.ok("folders", address, format!("{folders} folders"));
        }
        Err(error) => {
            let run = match options.application() {
                Some(app) => advice::let_in_by_imap(app, address),
                None => vec!["check username and password with another mail program".to_owned()],
            };
            sheet.tell(Verdict::Failed, "login", address, chain(&error), run);
            sheet.skipped("folders", address, "nobody is signed in");
        }
    }
}

/// How many folders there are, of any depth.
async fn count(store: &dyn MailStore) -> portreeve_vfs::FsResult<usize> {
    let mut waiting: VecDeque<Option<FolderId>> = VecDeque::from([None]);
    let mut found = 0;
    while let Some(parent) = waiting.pop_front() {
        let mut from = None;
        loop {
            let page = store.folders(parent.as_ref(), from.as_ref()).await?;
            found += page.items.len();
            waiting.extend(page.items.into_iter().map(|folder| Some(folder.id)));
            from = page.next;
            if from.is_none() || found >= MOST {
                break;
            }
        }
        if found >= MOST {
            break;
        }
    }
    Ok(found)
}

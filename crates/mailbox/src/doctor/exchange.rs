//! Exchange Online: hosts, token, consent, mailbox, folders, throttling, and a mailbox that must be refused.

use std::time::Instant;

use portreeve_microsoft::{
    App, Cloud, CloudName, Credential, Graph, GraphError, GraphFault, GraphLimits, GraphMailbox,
    national::default_scope, probe,
};
use serde::Deserialize;

use super::{Finding, Sheet, Subjects, Verdict, advice, is_network, place};
use crate::{ExchangeOptions, ExchangeSecrets, OnUpload};

/// The host of upload sessions: attachments of more than 3 MB are put there, not to Graph.
const UPLOADS: &str = "https://outlook.office.com";
/// What lets an app into mailboxes.
const ROLE: &str = "Mail.ReadWrite";
/// Most folders that are counted.
const MOST: usize = 10_000;

/// Looks at everything that a storage of mailboxes in Exchange Online rests on.
pub async fn examine(
    options: &ExchangeOptions,
    secrets: &ExchangeSecrets,
    cloud: &Cloud,
    subjects: &Subjects,
) -> Vec<Finding> {
    let mut sheet = Sheet::default();
    let mut problems = options.problems();
    let app = options
        .app(secrets)
        .map_err(|problem| problems.push(problem))
        .ok();
    problems.dedup_by(|a, b| a.option == b.option);
    sheet.options(&problems);
    let Some(app) = app.filter(|_| problems.is_empty()) else {
        sheet.skipped("token", "", "the options have to be put right first");
        return sheet.0;
    };
    let ways = ways(options, &app, &mut sheet).await;
    let graph = token(options, &app, cloud, ways, &mut sheet).await;
    let addresses = subjects.of(options.mailbox.all());
    if addresses.is_empty() {
        sheet.skipped(
            "mailbox",
            "",
            "the mailbox comes from who signs in: name one with --mailbox ADDRESS",
        );
    }
    for address in &addresses {
        match &graph {
            Some(graph) => mailbox(options, &graph.mailbox(address), address, &mut sheet).await,
            None => sheet.skipped("mailbox", address, "without a token nothing can be asked"),
        }
    }
    if let Some(address) = &subjects.outside {
        match &graph {
            Some(graph) => outside(options, &graph.mailbox(address), address, &mut sheet).await,
            None => sheet.skipped("outside", address, "without a token nothing can be asked"),
        }
    }
    sheet.0
}

/// The way to every host; whether tokens, and Graph, can be had.
async fn ways(options: &ExchangeOptions, app: &App, sheet: &mut Sheet) -> (bool, bool) {
    let authority = sheet.host(&app.net, &app.endpoint(), true, true).await;
    let graph = sheet.host(&app.net, &options.graph_base(), true, true).await;
    let uploads = options.mail.on_upload != OnUpload::Refuse;
    match (&options.graph, options.cloud) {
        (Some(_), _) => {
            let text = "graph is set by hand: Graph itself names the host of large uploads";
            sheet.skipped("http", "uploads", text);
        }
        (None, CloudName::Global) => {
            sheet.host(&app.net, UPLOADS, true, uploads).await;
        }
        (None, other) => {
            sheet.host(&app.net, other.outlook(), true, uploads).await;
        }
    }
    if !uploads && let Some(finding) = sheet.0.last_mut().filter(|f| f.verdict == Verdict::Warning) {
        let text = "only uploads of more than 3 MB need this host, and on_upload is \"refuse\"";
        finding.run.push(text.to_owned());
    }
    (authority, graph)
}

async fn token(
    options: &ExchangeOptions,
    app: &App,
    cloud: &Cloud,
    (authority, reachable): (bool, bool),
    sheet: &mut Sheet,
) -> Option<std::sync::Arc<Graph>> {
    let about = place(&app.endpoint()).map(|(host, _)| host).unwrap_or_default();
    if !authority {
        sheet.skipped("token", &about, "its host cannot be reached");
        return None;
    }
    let base = options.graph_base();
    let scope = place(&base).map(|_| base.split('/').take(3).collect::<Vec<_>>().join("/"));
    let source = match cloud.tokens(app, &default_scope(&scope.unwrap_or_default())) {
        Ok(source) => source,
        Err(error) => {
            let run = error.hint.map(str::to_owned).into_iter().collect();
            sheet.tell(Verdict::Failed, "token", &about, error.to_string(), run);
            return None;
        }
    };
    let (stage, outcome) = probe::token(&source).await;
    sheet.stage(&about, stage, true);
    let token = match outcome {
        Ok(token) => token,
        Err(error) => {
            let why = match is_network(error.kind) {
                true => "the token's host did not answer",
                false => "there is no token to look at",
            };
            sheet.skipped("consent", &options.application_id, why);
            return None;
        }
    };
    if matches!(app.credential, Credential::Refresh { .. }) {
        sheet.skipped(
            "consent",
            &options.application_id,
            "a person signed in: their own permissions count",
        );
    } else {
        consent(options, probe::peek_roles(&token), sheet);
    }
    if !reachable {
        return None;
    }
    cloud.graph(app, &base, GraphLimits::default()).ok()
}

/// What the token says of consent in Entra, which opens every mailbox of the directory.
fn consent(options: &ExchangeOptions, roles: Option<Vec<String>>, sheet: &mut Sheet) {
    let app = &options.application_id;
    let wide: Vec<String> = roles
        .unwrap_or_default()
        .into_iter()
        .filter(|role| role.starts_with("Mail.") || role == "full_access_as_app")
        .collect();
    if wide.is_empty() {
        let text =
            "no consent in Entra opens mailboxes: what the app may do comes from RBAC for Applications";
        return sheet.ok("consent", app, text);
    }
    let text = format!(
        "the token carries {}: consent in Entra opens every mailbox of the directory to this app, also beside RBAC for \
         Applications, since the two add up; only an application access policy narrows it",
        wide.join(", ")
    );
    sheet.tell(Verdict::Warning, "consent", app, text, advice::narrow(app, None));
}

/// One mailbox: whether it opens, how many folders it has, whether Graph wants to be left alone.
async fn mailbox(options: &ExchangeOptions, graph: &GraphMailbox, address: &str, sheet: &mut Sheet) {
    #[derive(Deserialize)]
    struct Inbox {
        #[serde(rename = "totalItemCount", default)]
        messages: u64,
    }
    #[derive(Deserialize)]
    struct Any {}
    match graph
        .get::<Inbox>("mailFolders/inbox?$select=id,totalItemCount")
        .await
    {
        Ok(inbox) => {
            let text = format!("it opens; {} messages in the Inbox", inbox.messages);
            sheet.ok("mailbox", address, text);
        }
        Err(error) => {
            refused(options, &error, address, sheet);
            for stage in ["folders", "throttle"] {
                sheet.skipped(stage, address, "the mailbox does not open");
            }
            return;
        }
    }
    match graph
        .pages::<Any>("mailFolders/delta?$select=id", None)
        .all(MOST)
        .await
    {
        Ok(folders) => sheet.ok("folders", address, format!("{} folders", folders.len())),
        Err(error) => {
            let run = error.hint().map(str::to_owned).into_iter().collect();
            sheet.tell(Verdict::Failed, "folders", address, error.to_string(), run);
        }
    }
    let until = graph.throttled_until();
    match until.map(|until| until.saturating_duration_since(Instant::now())) {
        Some(wait) if !wait.is_zero() => {
            let text = format!("Graph wants to be left alone for {} s", wait.as_secs().max(1));
            let run = vec![
                "look for other programs that use the same app with this mailbox; lower max_in_flight"
                    .to_owned(),
            ];
            sheet.tell(Verdict::Warning, "throttle", address, text, run);
        }
        _ => sheet.ok(
            "throttle",
            address,
            format!("not throttled in {} calls", graph.calls()),
        ),
    }
}

fn refused(options: &ExchangeOptions, error: &GraphError, address: &str, sheet: &mut Sheet) {
    let app = &options.application_id;
    let run = match &error.kind {
        GraphFault::Denied => advice::let_in(app, address, ROLE),
        GraphFault::Unauthorized => {
            vec![
                error
                    .hint()
                    .unwrap_or("check cloud, authority and graph")
                    .to_owned(),
            ]
        }
        _ => {
            let mut run: Vec<String> = error.hint().map(str::to_owned).into_iter().collect();
            if error.mailbox_unknown() {
                run.push(format!(
                    "Get-EXOMailbox -Identity '{}'",
                    address.replace('\'', "")
                ));
            }
            run
        }
    };
    sheet.tell(Verdict::Failed, "mailbox", address, error.to_string(), run);
}

/// A mailbox that the app must not open.
async fn outside(options: &ExchangeOptions, graph: &GraphMailbox, address: &str, sheet: &mut Sheet) {
    let app = &options.application_id;
    match graph
        .get::<serde_json::Value>("mailFolders/inbox?$select=id")
        .await
    {
        Ok(_) => sheet.tell(
            Verdict::Failed,
            "outside",
            address,
            "it opens, and should not: the app reaches more mailboxes than it is meant to".to_owned(),
            advice::narrow(app, Some(address)),
        ),
        Err(error) if matches!(error.kind, GraphFault::Denied) => {
            sheet.ok("outside", address, "it is refused, as it should be");
        }
        Err(error) => sheet.tell(
            Verdict::Warning,
            "outside",
            address,
            format!("whether it would be refused cannot be told: {error}"),
            vec!["name a mailbox that exists and that the app must not open".to_owned()],
        ),
    }
}

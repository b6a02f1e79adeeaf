//! Requests where no server runs: the command line opens the state itself.
//!
//! Invariant: the data directory's lock is held meanwhile, so that no server starts in between.

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

use portreeve_auth::BanList;
use portreeve_session::audit::Audit;
use portreeve_store::Store;
use serde_json::Value as Json;

use super::Failure;
use crate::{
    check,
    control::{self, Desk, Request, Seat},
    options::Config,
    service::DataDir,
    wiring::{self, Backends, Lasting, Methods},
};

/// Answers.
pub(super) fn answer(config: &Path, data_dir: &Path, request: Request) -> Result<Json, Failure> {
    if needs_a_server(&request) {
        return Err(Failure::Failed(format!(
            "no server is running with the data directory {}: start it with 'portreeve serve', or say with \
             --config which server is meant",
            data_dir.display()
        )));
    }
    let config = check::check_file(config)?;
    not_as_a_stranger(&config.server.data_dir)?;
    let _held = DataDir::take(&config.server.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let failed = |error: String| Failure::Failed(error);
        let store = Store::open(&config.store.url, &config.server.data_dir)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let bans = Arc::new(BanList::new(Some(Arc::new(store.clone()))));
        bans.load().await.map_err(|error| failed(error.to_string()))?;
        let lasting = Lasting::new(&config, &store, Arc::clone(&bans));
        let desk = Desk {
            seat: seat(&config, &request, &lasting).await?,
            accounts: Arc::clone(&lasting.accounts),
            secrets: Arc::clone(&lasting.secrets) as Arc<dyn control::SecretDesk>,
            bans,
            listeners: config
                .listeners
                .iter()
                .map(|l| (Arc::clone(&l.name), l.protocol.door()))
                .collect(),
            sections: Desk::sections_of(&config),
            suffixes: Desk::suffixes_of(&config),
        };
        let who = format!("uid {}", rustix::process::getuid().as_raw());
        let answer = desk.answer(request, &who).await.map_err(failed);
        store.close().await;
        answer
    })
}

async fn seat(config: &Config, request: &Request, lasting: &Lasting) -> Result<Seat, Failure> {
    let audit = match request.change() {
        Some(_) => Audit::open(&config.audit, &config.server.data_dir)
            .map_err(|fault| Failure::Failed(fault.to_string()))?,
        None => Audit::nowhere(),
    };
    let explains = matches!(
        request,
        Request::ExplainLogin { .. } | Request::ExplainAccess { .. }
    );
    if !explains {
        return Ok(Seat::Alone { world: None, audit });
    }
    let (config, lasting) = (config.clone(), lasting.clone());
    let runtime = tokio::runtime::Handle::current();
    let built = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        wiring::build(&config, &lasting, &Backends::default(), &Methods::default())
    });
    let built = built.await.map_err(|error| Failure::Failed(error.to_string()))?;
    let (world, ..) = built.map_err(|problems| Failure::Usage(problems.join("\n")))?;
    Ok(Seat::Alone {
        world: Some(Arc::new(world)),
        audit,
    })
}

const fn needs_a_server(request: &Request) -> bool {
    matches!(
        request,
        Request::Status | Request::Reload | Request::SessionList | Request::SessionKill { .. }
    )
}

/// Root would leave files that the server's user cannot write.
pub(super) fn not_as_a_stranger(data_dir: &Path) -> Result<(), Failure> {
    let Ok(meta) = std::fs::metadata(data_dir) else {
        return Ok(());
    };
    if rustix::process::geteuid().is_root() && meta.uid() != 0 {
        return Err(Failure::Failed(format!(
            "no server is running, and {} belongs to another user: run this as that user (sudo -u '#{}' portreeve …)",
            data_dir.display(),
            meta.uid()
        )));
    }
    Ok(())
}

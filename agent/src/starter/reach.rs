//! A question to the function by the version that works.

use std::path::Path;
use std::time::Duration;

use packcast_protocol::api::{BeginRequest, Secret};
use packcast_protocol::state::CommitId;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{PackageId, Sha256Digest, UnixTime, with_causes};

use crate::client::ApiClient;
use crate::config::StarterConfig;
use crate::run::Connections;
use crate::state::journal::{self, Journal, StoredJournal};
use crate::state::{StateDir, identity};
use crate::update::UpdateTask;

/// The time limit of the question, with its repetitions.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns `true` if the function answers this version, as it would answer a check-in.
///
/// The question is the one that the device has asked before the update began, with the same
/// signature and the same pass: the function reads the same records as for a check-in, and writes
/// none. If it does not answer, a version on trial cannot check in either, whatever its quality. Each
/// call reads the configuration, which may have changed.
pub(super) async fn is_reachable(config_file: &Path, update: UpdateTask) -> bool {
    // Files that this version cannot read are no lack of network: the version on trial may have
    // written them.
    match (means(config_file), journalled_question(config_file, update)) {
        (Some(means), Some(request)) => means.ask(&request).await,
        _ => true,
    }
}

/// Returns `true` if the function answers this version, as it would answer a check-in. `update` is the
/// latest update.
///
/// The update is complete, so the question is one that the function refuses before it reads the
/// package: it names no attempt.
pub(super) async fn answers(config_file: &Path, update: Option<UpdateTask>) -> bool {
    let (Some(means), Some(update)) = (means(config_file), update) else {
        // A device without a pass, or with files that only the updated version can read.
        return false;
    };
    means.ask(&question_without_effect(update.package)).await
}

/// The means to ask the function.
struct Means {
    api: ApiClient,
    pass: Secret,
}

impl Means {
    /// Returns `true` if the function answers.
    async fn ask(self, request: &BeginRequest) -> bool {
        // The starter reads no documents of the signed state, which would show a time in the past.
        let asked = self.api.begin(self.pass, request, UnixTime(0));
        match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::info!(error, "the version that works cannot check in either");
                false
            }
            Err(_) => false,
        }
    }
}

/// Reads the address of the function, the key and the pass of the device.
///
/// Returns `None` if this version cannot read one of the files.
fn means(config_file: &Path) -> Option<Means> {
    let config = StarterConfig::load_unchangeable(config_file).ok()?;
    let contact = config.contact?;
    let connections = Connections::to(&contact).ok()?;
    let state = StateDir::open(&config.state_dir).ok()?;
    let key = identity::load(&state).ok()??.key(&state).ok()?;
    let pass = identity::load_pass(&state).ok()??;
    let http = connections.api().clone();
    let api = ApiClient::new(http, contact.server, key).with_tries(1);
    Some(Means { api, pass })
}

/// Reads the question of the update from the journal.
fn journalled_question(config_file: &Path, update: UpdateTask) -> Option<BeginRequest> {
    let config = StarterConfig::load_unchangeable(config_file).ok()?;
    let state = StateDir::open(&config.state_dir).ok()?;
    let found = journal::read(&state.package(update.package)).ok()??;
    let StoredJournal::Read(Journal::Acting(acting)) = found else {
        return None;
    };
    let permission = acting.permission;
    Some(BeginRequest {
        id: update.package,
        attempt: update.attempt,
        commit: permission.under.highest.commit,
        mandates: UsedMandates::first(permission.mandates),
    })
}

fn question_without_effect(id: PackageId) -> BeginRequest {
    BeginRequest {
        id,
        // The attempts of a package begin with 1.
        attempt: 0,
        commit: CommitId {
            number: 1,
            digest: Sha256Digest::of(b""),
        },
        mandates: UsedMandates::first([]),
    }
}

//! A question to the function by the version that works.

use std::path::Path;
use std::time::Duration;

use packcast_protocol::api::{BeginRequest, Secret};
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{UnixTime, with_causes};

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
    let Some((api, pass, request)) = question(config_file, update) else {
        return true;
    };
    // The starter reads no documents of the signed state, which would show a time in the past.
    let asked = api.begin(pass, &request, UnixTime(0));
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

/// Reads the question of the update, and the means to ask it.
///
/// Returns `None` if this version cannot read one of the files.
fn question(config_file: &Path, update: UpdateTask) -> Option<(ApiClient, Secret, BeginRequest)> {
    let config = StarterConfig::load_unchangeable(config_file).ok()?;
    let contact = config.contact?;
    let connections = Connections::to(&contact).ok()?;
    let state = StateDir::open(&config.state_dir).ok()?;
    let key = identity::load(&state).ok()??.key(&state).ok()?;
    let pass = identity::load_pass(&state).ok()??;
    let found = journal::read(&state.package(update.package)).ok()??;
    let StoredJournal::Read(Journal::Acting(acting)) = found else {
        return None;
    };
    let permission = acting.permission;
    let request = BeginRequest {
        id: update.package,
        attempt: update.attempt,
        commit: permission.under.highest.commit,
        mandates: UsedMandates::first(permission.mandates),
    };
    let http = connections.api().clone();
    let api = ApiClient::new(http, contact.server, key).with_tries(1);
    Some((api, pass, request))
}

//! A question to the server by the version that works.

use std::path::Path;
use std::time::Duration;

use packcast_protocol::api::CHECK_IN_PATH;

use crate::config::{Contact, StarterConfig};
use crate::run::Connections;

/// The time limit of the question.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns `true` if the server answers this version over HTTPS.
///
/// An answer needs name resolution, a route, a proxy if there is one, and TLS. If any of them is
/// missing, or the server itself fails, a version on trial cannot check in either, whatever its
/// quality. Each call reads the configuration, which may have changed.
pub(super) async fn is_reachable(config_file: &Path) -> bool {
    // A configuration that only the version on trial can read is no lack of network.
    let Some(contact) = contact(config_file) else {
        return true;
    };
    let Ok(connections) = Connections::to(&contact) else {
        return true;
    };
    let url = contact.server.url(CHECK_IN_PATH);
    let answer = connections.api().get(url).timeout(TIMEOUT).send().await;
    answer.is_ok_and(|answer| !answer.status().is_server_error())
}

fn contact(config_file: &Path) -> Option<Contact> {
    let config = StarterConfig::load_unchangeable(config_file);
    config.ok().and_then(|config| config.contact)
}

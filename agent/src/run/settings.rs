//! Another configuration for a running agent.

use packcast_https::{Clients, TlsError};
use reqwest::Client;

use super::{Agent, USER_AGENT};
use crate::config::{Config, Contact};
use crate::fetch::download::Downloads;

/// The HTTPS clients of a configuration.
#[derive(Debug)]
pub(crate) struct Connections(pub(super) Clients);

impl Connections {
    pub(crate) fn new(config: &Config) -> Result<Self, TlsError> {
        let ca_file = config.ca_file.as_deref();
        Clients::new(ca_file, USER_AGENT, config.server.route()).map(Self)
    }

    /// Returns the connections of a starter.
    pub(crate) fn to(contact: &Contact) -> Result<Self, TlsError> {
        let ca_file = contact.ca_file.as_deref();
        Clients::new(ca_file, USER_AGENT, contact.server.route()).map(Self)
    }

    /// Returns the client for requests to the function.
    pub(crate) const fn api(&self) -> &Client {
        &self.0.api
    }
}

impl Agent {
    /// Uses another configuration from now on.
    ///
    /// State folder and trust line are those of the present one.
    pub(crate) fn reconfigure(&mut self, config: Config, connections: Connections) {
        let Clients { api, objects } = connections.0;
        self.api.move_to(api, config.server.clone());
        self.downloads = Downloads::new(objects, config.max_download_rate);
        self.config = config;
    }
}

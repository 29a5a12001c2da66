//! Another configuration for a running agent.

use std::path::Path;

use packcast_https::{ClientSettings, Clients, TlsError};
use packcast_protocol::with_causes;
use reqwest::Client;

use super::{Agent, USER_AGENT};
use crate::config::{Config, Contact, Server};
use crate::fetch::download::Downloads;

/// The HTTPS clients of a configuration, and their settings.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(super) settings: ClientSettings,
    pub(super) clients: Clients,
}

impl Connections {
    pub(crate) fn new(config: &Config) -> Result<Self, TlsError> {
        Self::with(config.ca_file.as_deref(), &config.server)
    }

    /// Returns the connections of a starter.
    pub(crate) fn to(contact: &Contact) -> Result<Self, TlsError> {
        Self::with(contact.ca_file.as_deref(), &contact.server)
    }

    fn with(ca_file: Option<&Path>, server: &Server) -> Result<Self, TlsError> {
        let settings = ClientSettings::new(ca_file, USER_AGENT, server.route())?;
        let clients = settings.clients()?;
        Ok(Self { settings, clients })
    }

    /// Returns the client for requests to the function.
    pub(crate) const fn api(&self) -> &Client {
        &self.clients.api
    }
}

impl Agent {
    /// Uses another configuration from now on.
    ///
    /// State folder and trust line are those of the present one.
    pub(crate) fn reconfigure(&mut self, config: Config, connections: Connections) {
        let Connections { settings, clients } = connections;
        self.config = config;
        self.client_settings = settings;
        self.use_clients(clients);
    }

    /// Closes the connections of a round.
    ///
    /// An open connection, and each client that had one, has timers that wake an idle agent.
    pub(crate) fn close_connections(&mut self) {
        match self.client_settings.clients() {
            Ok(clients) => self.use_clients(clients),
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "cannot close the connections");
            }
        }
    }

    fn use_clients(&mut self, Clients { api, objects }: Clients) {
        self.api.move_to(api, self.config.server.clone());
        self.downloads = Downloads::new(objects, self.config.max_download_rate);
    }
}

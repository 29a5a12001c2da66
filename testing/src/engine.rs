//! The embedded engine, in which `packcast local` keeps its records; here it runs in memory.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An engine for one test, on a free port of loopback. It ends when it is dropped.
pub(crate) struct EmbeddedEngine {
    address: SocketAddr,
    database: Database,
    server: JoinHandle<()>,
}

impl fmt::Debug for EmbeddedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EmbeddedEngine");
        shown
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl EmbeddedEngine {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let database = Database::memory().expect("an engine in memory starts");
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self {
            address,
            database,
            server,
        }
    }

    /// Returns the address for `RecordsConfig`, such as `http://127.0.0.1:8000`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

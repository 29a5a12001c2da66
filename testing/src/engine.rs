//! The embedded engine, in which `packcast local` keeps its records; here it runs in memory.

use std::net::{Ipv4Addr, SocketAddr};

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An engine for one test, on a free port of loopback. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct EmbeddedEngine {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl EmbeddedEngine {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let database = Database::memory().expect("an engine in memory starts");
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self { address, server }
    }

    /// Returns the address for `RecordsConfig`, such as `http://127.0.0.1:8000`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

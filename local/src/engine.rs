//! The records of one machine: an embedded DynamoDB-compatible engine on loopback.
//!
//! The check-in function calls the engine directly, in the same JSON that DynamoDB speaks, so that the
//! same code runs here and in the cloud. Commands use the engine over its network protocol. The engine
//! checks no credentials: every user of this machine who can reach its loopback interface can use the
//! engine.

mod operations;
mod server;
mod service;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use packcast_store::Records;
use packcast_store::records::TableService;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::service::Changes;
use self::service::EngineService;
use crate::private;

/// Time that a stop waits for requests under way, before it aborts them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The place where an engine stores its tables.
#[derive(Debug, Clone)]
pub enum EngineStorage {
    /// In memory: the tables are gone when the engine stops.
    Memory,
    /// In a file of mode 0600, in a directory of mode 0700; both are created if missing.
    ///
    /// Answered writes survive the death of the process. Only one engine may use the file.
    File(PathBuf),
}

/// A running engine.
///
/// Dropping the engine stops it as well, but does not wait for requests under way.
pub struct Engine {
    address: SocketAddr,
    database: Database,
    changes: Changes,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Engine");
        shown
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Errors from starting or stopping an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot create the records file {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot open the records in {place}")]
    Open {
        place: String,
        source: DynoxideError,
    },
    #[error("cannot listen on 127.0.0.1:{port} for the records engine")]
    Listen { port: u16, source: io::Error },
    #[error("the records engine failed: {reason}")]
    Failed { reason: String },
}

impl Engine {
    /// Starts an engine on a free port of 127.0.0.1.
    pub async fn start(storage: EngineStorage) -> Result<Self, EngineError> {
        Self::start_on(storage, 0).await
    }

    /// Starts an engine on the given port of 127.0.0.1, or on a free port if it is 0.
    pub async fn start_on(storage: EngineStorage, port: u16) -> Result<Self, EngineError> {
        let listen = |source| EngineError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // Opening reads and locks the file, which would block the runtime.
        let database = tokio::task::spawn_blocking(move || open(&storage))
            .await
            .map_err(|panic| EngineError::Failed {
                reason: panic.to_string(),
            })??;
        let changes = Changes::default();
        let service = EngineService::of_administrators(database.clone(), changes.clone());
        let (shutdown, stopped) = oneshot::channel();
        let server = tokio::spawn(server::serve(listener, Arc::new(service), stopped));
        Ok(Self {
            address,
            database,
            changes,
            shutdown,
            server,
        })
    }

    /// Returns the address for `RecordsConfig`, such as `http://127.0.0.1:8000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns a table for administrators in this process.
    pub fn records(&self, table: &str) -> Records {
        let (database, changes) = (self.database.clone(), self.changes.clone());
        let service = EngineService::of_administrators(database, changes);
        Records::in_process(Arc::new(service), table, &self.endpoint())
    }

    /// Returns the service for the one check-in function of this engine.
    pub fn service_of_function(&self) -> Arc<dyn TableService> {
        Arc::new(EngineService::of_function(self.database.clone()))
    }

    /// Returns a table for the one check-in function of this engine.
    pub fn records_of_function(&self, table: &str) -> Records {
        Records::in_process(self.service_of_function(), table, &self.endpoint())
    }

    /// Returns the count of the changes that were not made by the check-in function.
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Stops accepting requests and returns when those under way are answered, after 5 s at most.
    pub async fn stop(self) -> Result<(), EngineError> {
        // Sending fails only if the server has ended by itself, which the next lines report.
        let _ = self.shutdown.send(());
        let abort = self.server.abort_handle();
        match tokio::time::timeout(STOP_TIMEOUT, self.server).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(panic)) => Err(EngineError::Failed {
                reason: panic.to_string(),
            }),
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}

fn open(storage: &EngineStorage) -> Result<Database, EngineError> {
    let (opened, place) = match storage {
        EngineStorage::Memory => (Database::memory(), "memory".to_owned()),
        EngineStorage::File(path) => {
            let name = prepare(path).map_err(|source| EngineError::File {
                path: path.clone(),
                source,
            })?;
            (Database::new(name), path.display().to_string())
        }
    };
    opened.map_err(|source| EngineError::Open { place, source })
}

/// Creates the file, because the engine would create it with the mode of the umask.
fn prepare(path: &Path) -> io::Result<&str> {
    if let Some(directory) = path.parent() {
        private::create_directory(directory)?;
    }
    private::open(path)?;
    path.to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_message() {
        let errors = [
            EngineError::File {
                path: PathBuf::from("state/records.db"),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            EngineError::Open {
                place: "state/records.db".to_owned(),
                source: DynoxideError::ValidationException("damaged".to_owned()),
            },
            EngineError::Listen {
                port: 8000,
                source: io::ErrorKind::AddrInUse.into(),
            },
            EngineError::Failed {
                reason: "the server has stopped".to_owned(),
            },
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        cannot create the records file state/records.db
        cannot open the records in state/records.db
        cannot listen on 127.0.0.1:8000 for the records engine
        the records engine failed: the server has stopped
        ");
    }
}

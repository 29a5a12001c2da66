//! The records of one machine: an embedded DynamoDB-compatible engine on loopback.
//!
//! The engine is reached over its network protocol only, so that what talks to it is the
//! same code that talks to the cloud. It knows no credentials: whoever can reach the
//! loopback interface can use it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::private;

/// How long a stop waits for requests under way, before it breaks them off.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Where an engine keeps its tables.
#[derive(Debug, Clone)]
pub enum EngineStorage {
    /// Gone when the engine stops.
    Memory,
    /// In a file of mode 0600, in a directory of mode 0700; both are created if missing.
    ///
    /// What was answered survives the death of the process. One engine at a time.
    File(PathBuf),
}

/// A running engine.
///
/// Dropping it stops it, too, without waiting for requests under way.
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
}

/// Why an engine did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot prepare the records file {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot open the records in {place}")]
    Open {
        place: String,
        source: DynoxideError,
    },
    #[error("cannot listen on 127.0.0.1:{port} for records")]
    Listen { port: u16, source: io::Error },
    #[error("the records engine failed: {reason}")]
    Failed { reason: String },
}

impl Engine {
    /// Serves on a free port of 127.0.0.1.
    pub async fn start(storage: EngineStorage) -> Result<Self, EngineError> {
        Self::start_on(storage, 0).await
    }

    /// Serves on the given port of 127.0.0.1, or on a free one if it is 0.
    pub async fn start_on(storage: EngineStorage, port: u16) -> Result<Self, EngineError> {
        let listen = |source| EngineError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let database = tokio::task::spawn_blocking(move || open(&storage))
            .await
            .map_err(|panic| EngineError::Failed {
                reason: panic.to_string(),
            })??;
        let (shutdown, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(
            listener,
            database,
            async move {
                // A dropped sender is a stop, too.
                let _ = stopped.await;
            },
        ));
        Ok(Self {
            address,
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

    /// Takes no more requests and returns when those under way are answered, at most 5 s later.
    pub async fn stop(self) -> Result<(), EngineError> {
        // Fails only if the server has ended by itself, which the next line tells.
        let _ = self.shutdown.send(());
        let abort = self.server.abort_handle();
        match tokio::time::timeout(STOP_PATIENCE, self.server).await {
            Ok(Ok(ended)) => ended.map_err(|reason| EngineError::Failed { reason }),
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

/// Creates the file before the engine does, which would leave its mode to the umask.
fn prepare(path: &Path) -> io::Result<&str> {
    if let Some(directory) = path.parent() {
        private::create_directory(directory)?;
    }
    private::open(path)?;
    path.to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

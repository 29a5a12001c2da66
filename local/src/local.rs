//! The local system: its parts are started and stopped together.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use packcast_check_in::CheckInFunction;
use packcast_protocol::state::TrustedRoots;
use packcast_rollout::LocationRecord;
use packcast_store::key::default_prefix;
use packcast_store::{Records, RecordsError};

use crate::authority::{AuthorityError, LocalAuthority};
use crate::check_ins::CheckIns;
use crate::clock;
use crate::edge::{Edge, EdgeError, EdgeOptions, EdgePort};
use crate::engine::{Engine, EngineError, EngineStorage};
use crate::private;
use crate::secrets::{LocalSecrets, SecretsError};
use crate::state::{LocalState, LockError, StateLock};

const TABLE: &str = "packcast";
const LOCATION: &str = "local";

/// Options of a local system.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The directory with all state; created with mode 0700 if missing.
    pub state_dir: PathBuf,
    /// The edge's port on 127.0.0.1, or a free one if 0.
    ///
    /// If absent, the port of the last start. It is an error if another program uses that port,
    /// because agents and active packages contain it.
    pub edge_port: Option<u16>,
    /// Target id and root keys.
    pub trust: TrustedRoots,
}

/// A running local system.
#[derive(Debug)]
pub struct Local {
    engine: Engine,
    edge: Edge,
    records: Records,
    state: LocalState,
    state_dir: PathBuf,
    _lock: StateLock,
}

/// Errors from starting or stopping a local system.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot prepare {} for packcast local", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot set up the records")]
    Records(#[from] RecordsError),
}

impl LocalOptions {
    /// Returns the default options for a state directory and a target.
    pub fn new(state_dir: &Path, trust: TrustedRoots) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            edge_port: None,
            trust,
        }
    }
}

impl Local {
    /// Starts the records engine, the check-in handler and the edge.
    ///
    /// The first start creates the tokens and the certificate authority. Later starts use them, the
    /// records and the objects again. The location `local` follows the edge's port.
    pub async fn start(options: LocalOptions) -> Result<Self, LocalError> {
        let dir = absolute(&options.state_dir)?;
        prepared(&dir, private::create_directory(&dir))?;
        let lock = StateLock::take(&dir).await?;
        // A process that died may have left its state, which names a port of another program now.
        prepared(&dir, LocalState::remove(&dir))?;

        let secrets = LocalSecrets::load_or_create(&dir.join("secrets.json"))?;
        let authority = LocalAuthority::load_or_create(&dir, clock::now())?;
        let identity = authority.issue_server_identity(clock::now())?;
        let port = reserve_port(&dir, options.edge_port).await?;
        let engine = Engine::start(EngineStorage::File(dir.join("records.db"))).await?;
        let state = describe(&dir, &engine, port.address(), &authority, &secrets);
        prepare_files(&dir, &state)?;

        let records = engine.records(TABLE);
        set_up(&records, port.address()).await?;
        let served = EdgeOptions {
            objects: state.objects_dir.clone(),
            prefix: state.prefix.clone(),
            log: state.edge_log.clone(),
        };
        let settings = secrets.settings(options.trust);
        let function = CheckInFunction::new(engine.records_of_function(TABLE), settings);
        let check_ins = CheckIns::new(function, engine.changes());
        let edge = Edge::start(port, identity, served, check_ins)?;
        // Written last: a state on disk means that the edge and the records answer.
        prepared(&dir, state.write(&dir))?;
        Ok(Self {
            engine,
            edge,
            records,
            state,
            state_dir: dir,
            _lock: lock,
        })
    }

    pub fn state(&self) -> &LocalState {
        &self.state
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Stops the edge, then the engine; everything except `local.json` stays for the next start.
    pub async fn stop(self) -> Result<(), LocalError> {
        // Removed first, so that no command starts on a system that is about to stop.
        prepared(&self.state_dir, LocalState::remove(&self.state_dir))?;
        self.edge.stop().await;
        // The file of the engine is closed with its last user.
        drop(self.records);
        Ok(self.engine.stop().await?)
    }
}

/// Returns an absolute path, because programs with other working directories read the state.
fn absolute(path: &Path) -> Result<PathBuf, LocalError> {
    prepared(path, std::path::absolute(path))
}

fn prepared<T>(path: &Path, result: io::Result<T>) -> Result<T, LocalError> {
    result.map_err(|source| LocalError::Prepare {
        path: path.to_owned(),
        source,
    })
}

fn describe(
    dir: &Path,
    engine: &Engine,
    edge: SocketAddr,
    authority: &LocalAuthority,
    secrets: &LocalSecrets,
) -> LocalState {
    LocalState {
        pid: std::process::id(),
        edge,
        endpoint: engine.endpoint(),
        table: TABLE.to_owned(),
        objects_dir: dir.join("objects"),
        prefix: default_prefix(),
        ca_file: authority.ca_pem_path().to_owned(),
        enrolment_token_file: dir.join("enrolment-token"),
        enrolment_token: secrets.enrolment_token.clone(),
        ocs_path_token: secrets.ocs_path_token.clone(),
        edge_log: dir.join("edge.log"),
    }
}

fn prepare_files(dir: &Path, state: &LocalState) -> Result<(), LocalError> {
    prepared(
        &state.objects_dir,
        private::create_directory(&state.objects_dir),
    )?;
    let token = format!("{}\n", state.enrolment_token.reveal());
    let file = &state.enrolment_token_file;
    prepared(file, private::replace(file, token.as_bytes()))?;
    prepared(dir, remember_port(dir, state.edge.port()))
}

async fn set_up(records: &Records, edge: SocketAddr) -> Result<(), RecordsError> {
    records.create_table().await?;
    let location = LocationRecord {
        name: LOCATION.parse().expect("the name of a location"),
        location: edge
            .to_string()
            .parse()
            .expect("an address of 127.0.0.1 is a location"),
    };
    let replaced = records.add_location(&location).await?;
    if let Some(old) = replaced.filter(|old| old.location != location.location) {
        tracing::warn!(
            "the edge moved from {} to {}: configure the new address on the agents, and activate the packages again",
            old.location,
            location.location
        );
    }
    Ok(())
}

/// Binds the given port, or else the last one, so that the agents' server address stays valid.
async fn reserve_port(dir: &Path, asked: Option<u16>) -> Result<EdgePort, EdgeError> {
    if let Some(port) = asked {
        return EdgePort::bind(port).await;
    }
    EdgePort::bind(remembered_port(dir).unwrap_or(0)).await
}

fn remembered_port(dir: &Path) -> Option<u16> {
    let text = fs::read_to_string(port_path(dir)).ok()?;
    text.trim().parse().ok()
}

fn remember_port(dir: &Path, port: u16) -> io::Result<()> {
    private::replace(&port_path(dir), format!("{port}\n").as_bytes())
}

fn port_path(dir: &Path) -> PathBuf {
    dir.join("edge-port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_message() {
        let errors = [
            LocalError::Prepare {
                path: PathBuf::from("state"),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            LocalError::Records(RecordsError::Conflict {
                table: TABLE.to_owned(),
            }),
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        cannot prepare state for packcast local
        cannot set up the records
        ");
    }
}

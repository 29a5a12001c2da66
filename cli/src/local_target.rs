//! The target of the system that `packcast local` runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use packcast_local::LocalState;
use packcast_protocol::Location;
use packcast_publisher::signing::{Secrets, Signer, SigningKey};
use packcast_publisher::target::LocalSystem;
use packcast_publisher::{Failure, Progress, Target, location};

/// Returns the state of the local system, which must be running.
pub(crate) fn state(state_dir: &Path) -> Result<LocalState, Failure> {
    LocalState::load(state_dir).map_err(|error| {
        Failure::failed(error).hint(
            "run 'packcast local' to start the local system, or pass another target with --target",
        )
    })
}

/// Opens the local system that has its state in `state_dir` and is running.
pub(crate) async fn open(state_dir: &Path, secrets: Arc<dyn Secrets>) -> Result<Target, Failure> {
    Ok(of(state(state_dir)?, state_dir, secrets).await)
}

/// Returns the target of a running local system.
pub(crate) async fn of(state: LocalState, state_dir: &Path, secrets: Arc<dyn Secrets>) -> Target {
    let system = LocalSystem {
        endpoint: state.endpoint,
        table: state.table,
        objects_dir: state.objects_dir,
        prefix: state.prefix,
        ca_file: state.ca_file,
    };
    Target::local(state_dir, system, secrets).await
}

/// Adds the location of a local system to the signed state: the start of the system has written only
/// its record.
pub(crate) async fn commit_location(
    target: &Target,
    edge: SocketAddr,
    key: Arc<SigningKey>,
) -> Result<(), Failure> {
    let edge: Location = edge.to_string().parse().map_err(Failure::failed)?;
    let recorded = location::list(target).await?;
    for at in recorded.iter().filter(|at| at.location == edge) {
        let signer = Signer::with(target, Arc::clone(&key));
        location::add(target, at, signer, &Progress::none()).await?;
    }
    Ok(())
}

//! The target of the system that `packcast local` runs.

use std::path::Path;
use std::sync::Arc;

use packcast_local::LocalState;
use packcast_publisher::signing::Secrets;
use packcast_publisher::target::LocalSystem;
use packcast_publisher::{Failure, Target};

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
    let state = state(state_dir)?;
    let system = LocalSystem {
        endpoint: state.endpoint,
        table: state.table,
        objects_dir: state.objects_dir,
        prefix: state.prefix,
        ca_file: state.ca_file,
    };
    Ok(Target::local(state_dir, system, secrets).await)
}

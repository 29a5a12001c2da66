//! `packcast deactivate`: from here on no more devices are told of a package.

use packcast_protocol::PackageRef;
use packcast_store::records::ActivateError;

use super::{activate, find};
use crate::Globals;
use crate::failure::Failure;

/// Tell no more devices of a package
///
/// Once the command has returned, no device that was not told is told. One of our agents that
/// was told cancels at its next check-in, unless it has begun to act, and is told again once the
/// package is active again. A stock agent that was told goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        let package = target
            .records
            .deactivate(package.id)
            .await
            .map_err(failure)?;
        activate::print(globals.format, &package);
        Ok(())
    }
}

/// Says what kept a package from being activated or deactivated.
pub(super) fn failure(error: ActivateError) -> Failure {
    match error {
        ActivateError::Records(error) => error.into(),
        error => Failure::failed(error),
    }
}

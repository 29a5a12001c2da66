//! `packcast deactivate`: from here on no more devices are told of a package.

use packcast_protocol::PackageRef;
use packcast_publisher::{Failure, deactivate};

use super::show;
use crate::Globals;

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
        let package = deactivate::deactivate(&target, &self.package).await?;
        show::print(globals.format, &package);
        Ok(())
    }
}

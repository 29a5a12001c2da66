//! `packcast deactivate`: ends the announcements of a package.

use packcast_protocol::PackageRef;
use packcast_publisher::{Failure, deactivate};

use super::show;
use crate::Globals;

/// Deactivate a package, so that no more devices get it
///
/// Once the command has returned, the package is announced to no more devices. A Packcast agent
/// that already knows of the package cancels the package at its next check-in, unless the agent has
/// begun to act; the agent gets the package again when the package is active again. An OCS agent
/// that already knows of the package still deploys the package.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast deactivate vlc@3.0.21")]
pub(crate) struct Args {
    /// Package id, or name@version
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

//! `packcast activate`: from here on devices may be told of a package.

use packcast_protocol::{LocationName, PackageRef};
use packcast_publisher::{Failure, activate};

use super::show;
use crate::Globals;

/// Let devices be told of a published package
///
/// Fetches manifest, info, first and last fragment through each location's public name first,
/// so that no device is sent where there is nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast activate vlc@3.0.21
  packcast activate vlc@3.0.21 --location site-berlin --location cdn")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Activate at this location only (repeatable, in the order that devices try them)
    #[arg(long, value_name = "NAME")]
    location: Vec<LocationName>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = activate::activate(&target, &self.package, &self.location).await?;
        show::print(globals.format, &package);
        Ok(())
    }
}

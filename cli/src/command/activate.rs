//! `packcast activate`: allows devices to get a package.

use packcast_protocol::{LocationName, PackageRef};
use packcast_publisher::{Failure, activate};

use super::show;
use crate::Globals;
use crate::confirm::ConfirmArgs;

/// Activate a published package, so that devices can get it
///
/// First fetches the manifest, the info, and the first and last fragment through the public address
/// of each location. If a location does not serve these objects, the package is not activated.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast activate vlc@3.0.21
  packcast activate vlc@3.0.21 --location site-berlin --location cdn")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// Activate at this location only (repeatable; devices try the locations in this order)
    #[arg(long, value_name = "NAME")]
    location: Vec<LocationName>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = activate::plan(&target, &self.package, &self.location).await?;
        if !self.confirm.is_agreed(globals, &plan.preview().await?)? {
            return Ok(());
        }
        let package = plan.perform().await?;
        show::print(globals.format, &package);
        Ok(())
    }
}

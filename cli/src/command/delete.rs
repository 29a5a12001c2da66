//! `packcast delete`: a package goes; its name and its results stay.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::delete::{self, Deleted};

use super::key_arg::KeyArg;
use crate::Globals;
use crate::output;
use crate::progress::Bar;

/// Delete a package and its objects
///
/// Refused while the package is assigned. Its name, version and id are never used again, and the
/// results of devices stay, with its name. A deletion that was interrupted is completed by the
/// same command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast delete vlc@3.0.21
  packcast delete vlc@3.0.21 --unassign")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Take it back from all groups and from all devices that have not finished it first
    #[arg(long)]
    unassign: bool,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let deleted =
            delete::delete(&target, &self.package, self.unassign, signer, &progress).await?;
        output::result(globals.format, &deleted, text);
        let told = delete::told_devices(&target, deleted.package).await?;
        output::warn(told.as_slice());
        Ok(())
    }
}

fn text(deleted: &Deleted) -> String {
    format!(
        "package {} {} is deleted; {} objects ({}) were removed",
        deleted.package,
        deleted.name,
        deleted.objects,
        output::bytes(deleted.bytes)
    )
}

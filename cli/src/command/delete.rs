//! `packcast delete`: deletes a package; its name and its results stay on record.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::delete::{self, Deleted};

use super::key_arg::KeyArg;
use crate::Globals;
use crate::confirm::ConfirmArgs;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Delete a package and its objects
///
/// Fails while the package is assigned. The same name and version cannot be published again, and
/// the results of devices stay on record. If the command is interrupted, run it again to complete
/// the deletion.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast delete vlc@3.0.21
  packcast delete vlc@3.0.21 --unassign")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// First unassign the package from all groups, and from all devices that have not finished it
    #[arg(long)]
    unassign: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let plan = delete::plan(&target, &self.package, self.unassign).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return Ok(());
        }
        let work = Box::pin(plan.perform(signer, &progress));
        let deleted = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &deleted, text);
        // Counted after the deletion, when the package can be announced to no more devices.
        let announced = delete::announced_devices(&target, deleted.package).await?;
        output::warn(announced.as_slice());
        Ok(())
    }
}

fn text(deleted: &Deleted) -> String {
    format!(
        "deleted package {} {}: removed {} objects ({})",
        deleted.package,
        deleted.name,
        deleted.objects,
        output::bytes(deleted.bytes)
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_removed_objects_are_counted() {
        let deleted = Deleted {
            package: fixtures::id(),
            name: "vlc@3.0.21".to_owned(),
            objects: 46,
            bytes: 45_100_000,
        };
        assert_snapshot!(text(&deleted), @"deleted package 1795327754 vlc@3.0.21: removed 46 objects (43.01 MiB)");
    }
}

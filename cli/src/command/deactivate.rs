//! `packcast deactivate`: ends the announcements of a package.

use packcast_protocol::PackageRef;
use packcast_publisher::{Failure, deactivate};

use super::show;
use crate::confirm::ConfirmArgs;
use crate::output::{self, Format};
use crate::{Globals, stopping};

/// Deactivate a package, so that no more devices get it
///
/// Once the command has returned, the package is announced to no more devices, and no Packcast
/// agent begins with it, except with a permission of the last 60 seconds. If devices were told of
/// the package before, the command takes about 85 seconds for a target in the cloud, and no time
/// for 'packcast local'. A Packcast agent that was told of the package cancels it at its next
/// check-in, unless the agent has begun to act. It gets the package again when the package is
/// active again. An OCS agent that was told of the package still deploys the package.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast deactivate vlc@3.0.21")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let plan = deactivate::plan(&target, &self.package).await?;
        let (effect, preview) = (plan.effect(), plan.preview());
        let is_agreed = self.confirm.is_agreed_to_stop(globals, &effect, preview);
        if !is_agreed.await? {
            return Ok(());
        }
        let done = plan.perform().await?;
        stopping::wait(done.complete_in_s).await?;
        match globals.format {
            Format::Text => show::print(globals.format, &done.package),
            format @ (Format::Json | Format::Csv) => output::for_scripts(format, &done),
        }
        match done.told {
            None => output::note("cannot read how many devices were told of the package before"),
            Some(told) => {
                if let Some(note) = stopping::told(told, 0) {
                    output::note(&note);
                }
            }
        }
        Ok(())
    }
}

//! `packcast group pacing`: how fast a group's devices with stock agents work.

use packcast_protocol::GroupName;
use packcast_publisher::group::{self, GroupPace};
use packcast_publisher::{Failure, Target};

use crate::command::key_arg::KeyArg;
use crate::command::pace;
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    group: GroupName,
    #[command(flatten)]
    settings: pace::Settings,
    /// Take back what the group has of its own, but for what is set with this command
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let group = &self.group;
        let Some(change) = self.settings.change(self.reset) else {
            let hint = format!("'packcast group show {group}' shows what is set");
            return Err(Failure::usage("there is nothing to change").hint(hint));
        };
        let signer = self.key.unlocked(target)?;
        let paced = group::pace(target, group, &change, &signer).await?;
        output::result(format, &paced, text);
        Ok(())
    }
}

fn text(paced: &GroupPace) -> String {
    let GroupPace { group, pace } = paced;
    if pace.is_empty() {
        return format!("group {group} goes at its target's pace");
    }
    let words = pace::words(pace);
    format!("group {group}: {words}; a device heeds it from its next contact on")
}

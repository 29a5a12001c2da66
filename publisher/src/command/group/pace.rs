//! `packcast group pace`: how fast a group's devices with stock agents work.

use packcast_protocol::GroupName;
use packcast_rollout::PaceOverride;
use serde::Serialize;

use super::failure;
use crate::command::pace;
use crate::command::signer::KeyArg;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

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

#[derive(Serialize)]
struct Paced<'a> {
    group: &'a GroupName,
    pace: PaceOverride,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let group = &self.group;
        let Some(change) = self.settings.change(self.reset) else {
            let hint = format!("'packcast group show {group}' shows what is set");
            return Err(Failure::usage("there is nothing to change").hint(hint));
        };
        let signer = self.key.unlocked(target)?;
        let changed = target
            .records
            .pace_group(group, &change, signer.signing())
            .await;
        let pace = changed.map_err(failure)?.state.pace;
        output::result(format, &Paced { group, pace }, |_| text(group, &pace));
        Ok(())
    }
}

fn text(group: &GroupName, pace: &PaceOverride) -> String {
    if pace.is_empty() {
        return format!("group {group} goes at its target's pace");
    }
    let words = pace::words(pace);
    format!("group {group}: {words}; a device heeds it from its next contact on")
}

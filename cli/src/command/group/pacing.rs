//! `packcast group pacing`: the pacing of a group's devices with OCS agents.

use packcast_protocol::GroupName;
use packcast_publisher::group::{self, GroupPacing};
use packcast_publisher::{Failure, Target};

use crate::command::key_arg::KeyArg;
use crate::command::pacing;
use crate::confirm::ConfirmArgs;
use crate::progress::{Bar, until_interrupted};
use crate::{Globals, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the group
    group: GroupName,
    #[command(flatten)]
    settings: pacing::Settings,
    /// Remove the group's other pacing settings
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        let group = &self.group;
        let Some(change) = self.settings.change(self.reset) else {
            return Err(nothing_to_change(group));
        };
        let (signer, bar) = (self.key.signer(target), Bar::new());
        let progress = bar.progress();
        let plan = group::plan_pacing(target, group, &change).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return Ok(());
        }
        let work = Box::pin(group::pace(plan, signer, &progress));
        let changed = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &changed, text);
        Ok(())
    }
}

fn nothing_to_change(group: &GroupName) -> Failure {
    Failure::usage(format!(
        "cannot set the pacing of group {group}: no pacing option is given"
    ))
    .hint(format!(
        "run 'packcast group show {group}' to see the pacing of the group"
    ))
}

fn text(changed: &GroupPacing) -> String {
    let GroupPacing { group, pacing } = changed;
    if pacing.is_empty() {
        return format!("group {group} uses the pacing of the target");
    }
    let words = pacing::words(pacing);
    format!("group {group}: {words}; takes effect at the next check-in of each device")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::PacingOverride;
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn changed(pacing: PacingOverride) -> GroupPacing {
        let group = "lab".parse().unwrap();
        GroupPacing { group, pacing }
    }

    #[test]
    fn the_new_pacing_is_printed() {
        let pacing = fixtures::read(json!({ "fragment_pause_s": 2, "cycle_pause_s": 60 }));
        assert_snapshot!(text(&changed(pacing)), @"group lab: fragment pause 2s, cycle pause 60s; takes effect at the next check-in of each device");
        assert_snapshot!(text(&changed(PacingOverride::default())), @"group lab uses the pacing of the target");
    }

    #[test]
    fn a_command_without_a_setting_names_the_command_that_shows_them() {
        let failure = nothing_to_change(&"lab".parse().unwrap());
        assert_snapshot!(failure, @"
        cannot set the pacing of group lab: no pacing option is given
        hint: run 'packcast group show lab' to see the pacing of the group
        ");
    }
}

//! `packcast group pacing`: the pacing of a group's devices with OCS agents.

use packcast_protocol::GroupName;
use packcast_publisher::group::{self, GroupPacing};
use packcast_publisher::{Failure, Target};

use crate::command::key_arg::KeyArg;
use crate::command::pacing;
use crate::{Globals, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the group
    group: GroupName,
    #[command(flatten)]
    settings: pacing::Settings,
    /// Remove the group's own settings, except for those in this command
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        let group = &self.group;
        let Some(change) = self.settings.change(self.reset) else {
            return Err(nothing_to_change(globals, group));
        };
        let signer = self.key.unlocked(target)?;
        let changed = group::pace(target, group, &change, &signer).await?;
        output::result(globals.format, &changed, text);
        Ok(())
    }
}

fn nothing_to_change(globals: &Globals, group: &GroupName) -> Failure {
    let show = globals.command(&format!("group show {group}"));
    Failure::usage("no pacing option is given")
        .hint(format!("'{show}' prints the settings of the group"))
}

fn text(changed: &GroupPacing) -> String {
    let GroupPacing { group, pace } = changed;
    if pace.is_empty() {
        return format!("group {group} uses the pacing of the target");
    }
    let words = pacing::words(pace);
    format!("group {group}: {words}; in force from the next check-in of each device on")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::PacingOverride;
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn changed(pace: PacingOverride) -> GroupPacing {
        let group = "lab".parse().unwrap();
        GroupPacing { group, pace }
    }

    #[test]
    fn the_new_pacing_is_printed() {
        let pacing = fixtures::read(json!({ "fragment_pause_s": 2, "cycle_pause_s": 60 }));
        assert_snapshot!(text(&changed(pacing)), @"group lab: fragment pause 2s, cycle pause 60s; in force from the next check-in of each device on");
        assert_snapshot!(text(&changed(PacingOverride::default())), @"group lab uses the pacing of the target");
    }

    #[test]
    fn a_command_without_a_setting_names_the_command_that_shows_them() {
        let failure = nothing_to_change(&fixtures::globals(), &"lab".parse().unwrap());
        assert_snapshot!(failure, @"
        no pacing option is given
        hint: 'packcast group show lab' prints the settings of the group
        ");
    }
}

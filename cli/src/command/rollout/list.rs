//! `packcast rollout list`: the live rollouts.

use packcast_protocol::GroupName;
use packcast_publisher::Failure;
use packcast_publisher::rollout::{self, RolloutSummary};

use crate::{Globals, output};

/// List the live rollouts
///
/// A rollout is live until it is ended or finished.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "ls",
    after_help = "\
Examples:
  packcast rollout list"
)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let rollouts = rollout::list(&target).await?;
        output::result(globals.format, &rollouts, |rollouts| text(rollouts));
        Ok(())
    }
}

fn text(rollouts: &[RolloutSummary]) -> String {
    let rows = rollouts.iter().map(|rollout| {
        let groups: Vec<&str> = rollout.groups.iter().map(GroupName::as_str).collect();
        [
            rollout.name.clone(),
            groups.join(", "),
            rollout.status.to_owned(),
            rollout
                .wave
                .map_or_else(String::new, |wave| format!("{wave} of {}", rollout.waves)),
            format!("{} of {}", rollout.healthy, rollout.devices),
            rollout.failed.to_string(),
        ]
    });
    output::table(
        ["PACKAGE", "GROUPS", "STATUS", "WAVE", "HEALTHY", "FAILED"],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::rollout::show::tests::details;
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn a_rollout_is_a_row() {
        let mut lost = details().summary;
        (lost.status, lost.wave) = ("no-gate", None);
        let rollouts = [details().summary, lost];
        insta::assert_snapshot!(on_terminals(|| text(&rollouts)), @"
        80:
        PACKAGE     GROUPS       STATUS   WAVE    HEALTHY    FAILED
        vlc@3.0.21  lab, office  running  2 of 4  14 of 205  1
        vlc@3.0.21  lab, office  no-gate          14 of 205  1

        140:
        PACKAGE     GROUPS       STATUS   WAVE    HEALTHY    FAILED
        vlc@3.0.21  lab, office  running  2 of 4  14 of 205  1
        vlc@3.0.21  lab, office  no-gate          14 of 205  1
        ");
    }
}

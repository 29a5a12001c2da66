//! `packcast pause`: stops a whole target.

use packcast_publisher::Failure;
use packcast_publisher::pause::{self, Pause, PauseChange, words};

use crate::confirm::ConfirmArgs;
use crate::{Globals, output, stopping};

/// Pause a target: devices get and begin no packages
///
/// Programs that run already finish, and devices report their results. OCS agents deploy the packages
/// that they were told of. The command returns when every function has read the pause: at once for
/// 'packcast local', after about 85 seconds for a target in the cloud. It needs no signing key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast pause --all")]
pub(crate) struct Args {
    /// Pause all packages and devices of the target
    #[arg(long, required = true)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let (effect, preview) = (pause::effect(&target), pause::preview_pause(&target));
        let is_agreed = self.confirm.is_agreed_to_stop(globals, &effect, preview);
        if !is_agreed.await? {
            return Ok(());
        }
        let paused = pause::pause(&target).await?;
        stopping::wait(paused.complete_in_s).await?;
        let resume = globals.command("resume --all");
        output::result(globals.format, &paused, |paused| text(paused, &resume));
        Ok(())
    }
}

fn text(paused: &PauseChange, resume: &str) -> String {
    let words = paused.pause.as_ref().map(words).unwrap_or_default();
    // The names come from the table.
    let words = output::printable(&words);
    let already = if paused.changed { "" } else { "already " };
    format!("the target is {already}paused {words}; run '{resume}' to end the pause")
}

/// Returns the note on a paused target for other commands.
pub(crate) fn note(pause: &Pause, globals: &Globals) -> String {
    let (words, resume) = (words(pause), globals.command("resume --all"));
    let words = output::printable(&words);
    format!(
        "the target is paused {words}: nothing is announced, and no device begins a package; run '{resume}' to end the pause"
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_pause_names_the_command_that_ends_it() {
        let mut paused = PauseChange {
            pause: Some(fixtures::pause()),
            changed: true,
            complete_in_s: 85,
        };
        let text = |paused: &PauseChange| super::text(paused, "packcast resume --all");
        assert_snapshot!(text(&paused), @"the target is paused since 2026-11-18 11:06:40 UTC, by mia on desk; run 'packcast resume --all' to end the pause");
        paused.changed = false;
        assert_snapshot!(text(&paused), @"the target is already paused since 2026-11-18 11:06:40 UTC, by mia on desk; run 'packcast resume --all' to end the pause");
        assert_snapshot!(note(&fixtures::pause(), &fixtures::globals()), @"the target is paused since 2026-11-18 11:06:40 UTC, by mia on desk: nothing is announced, and no device begins a package; run 'packcast resume --all' to end the pause");
    }
}

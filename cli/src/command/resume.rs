//! `packcast resume`: ends the pause of a target.

use packcast_publisher::Failure;
use packcast_publisher::pause::{self, PauseChange};

use crate::confirm::ConfirmArgs;
use crate::{Globals, output, stopping};

/// End the pause of a target
///
/// Devices get their packages again at their next check-ins. The command returns when every function
/// has read that the pause has ended: at once for 'packcast local', after about 85 seconds for a
/// target in the cloud.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast resume --all")]
pub(crate) struct Args {
    /// Resume all packages and devices of the target
    #[arg(long, required = true)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let preview = pause::preview_resume(&target).await?;
        if !self.confirm.is_agreed(globals, &preview)? {
            return Ok(());
        }
        let resumed = pause::resume(&target).await?;
        if resumed.changed {
            stopping::wait(resumed.complete_in_s).await?;
        }
        output::result(globals.format, &resumed, text);
        Ok(())
    }
}

fn text(resumed: &PauseChange) -> String {
    if resumed.changed {
        "the pause has ended: devices get their packages at their next check-ins".to_owned()
    } else {
        "the target is not paused".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_text_says_if_there_was_a_pause() {
        let text = |changed| {
            super::text(&PauseChange {
                pause: None,
                changed,
                complete_in_s: 85,
            })
        };
        assert_snapshot!([true, false].map(text).join("\n"), @"
        the pause has ended: devices get their packages at their next check-ins
        the target is not paused
        ");
    }
}

//! The options of `packcast publish` that only stock Windows agents heed.

use packcast_protocol::WindowsTerms;
use packcast_protocol::windows::{Afterwards, Dialogue, DialogueText, Notice, Schedule};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for stock Windows agents (ignored by all others)")]
pub(super) struct WindowsArgs {
    /// Show this text, which may be HTML, before the action, and wait for the person
    #[arg(long, value_name = "TEXT")]
    notify: Option<DialogueText>,
    /// Go on by itself after this many seconds; with 0, wait for the person for ever
    #[arg(long, default_value_t = Notice::DEFAULT_COUNTDOWN_S, value_name = "SECONDS", requires = "notify")]
    notify_countdown: u16,
    /// Let the person refuse the package, which is reported as a failure
    #[arg(long, requires = "notify")]
    may_abort: bool,
    /// Let the person put it off until the agent's next run
    #[arg(long, requires = "notify")]
    may_delay: bool,
    /// Show this text after the action, until the person closes it
    #[arg(long, value_name = "TEXT")]
    notify_done: Option<DialogueText>,
    /// Download at once, and act from this minute of the device's own time on
    ///
    /// Written as '2026/12/01 22:00'. A device that is told of the package earlier than its
    /// TIMEOUT, 30 days, before that drops the package unused.
    #[arg(long, value_name = "DATE TIME")]
    not_before: Option<Schedule>,
    /// Restart or switch off the machine 120 seconds after the action, even if that failed
    ///
    /// Open programs are closed, and lose what was not saved.
    #[arg(long, value_enum, value_name = "WHAT")]
    afterwards: Option<AfterwardsChoice>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AfterwardsChoice {
    Reboot,
    Shutdown,
}

impl From<AfterwardsChoice> for Afterwards {
    fn from(choice: AfterwardsChoice) -> Self {
        match choice {
            AfterwardsChoice::Reboot => Self::Reboot,
            AfterwardsChoice::Shutdown => Self::Shutdown,
        }
    }
}

impl WindowsArgs {
    pub(super) fn terms(&self) -> WindowsTerms {
        let notice = self.notify.clone().map(|message| Notice {
            message,
            countdown_s: self.notify_countdown,
            may_abort: self.may_abort,
            may_delay: self.may_delay,
        });
        WindowsTerms {
            dialogue: Dialogue {
                notice,
                closing: self.notify_done.clone(),
            },
            schedule: self.not_before,
            afterwards: self.afterwards.map(Afterwards::from),
        }
    }
}

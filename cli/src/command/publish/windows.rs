//! The options of `packcast publish` that have an effect only on OCS Windows agents.

use packcast_protocol::WindowsTerms;
use packcast_protocol::windows::{Afterwards, Dialogue, DialogueText, Notice, Schedule};
use packcast_publisher::values::{duration, local_time};

/// The longest countdown that the wire form has room for.
const MAX_COUNTDOWN_S: u64 = u16::MAX as u64;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for OCS Windows agents (other agents ignore them)")]
pub(super) struct WindowsArgs {
    /// Show this text, which may be HTML, before the action, and wait for the user
    #[arg(long, value_name = "TEXT")]
    notify: Option<DialogueText>,
    /// Continue without the user after this time, such as 30s; 0 waits forever
    #[arg(long, default_value = "2min", value_name = "DURATION", requires = "notify", value_parser = duration::seconds(0, MAX_COUNTDOWN_S))]
    notify_countdown: u64,
    /// Let the user refuse the package; a refusal is reported as a failure
    #[arg(long, requires = "notify")]
    may_abort: bool,
    /// Let the user postpone the package until the agent's next run
    #[arg(long, requires = "notify")]
    may_delay: bool,
    /// Show this text after the action until the user closes it
    #[arg(long, value_name = "TEXT")]
    notify_done: Option<DialogueText>,
    /// Do not act before this time by the device's clock, such as '2026-12-01 22:00'
    ///
    /// The download starts at once. The agent drops a package that waits longer than the agent's
    /// TIMEOUT, 30 days by default: assign the package at most 30 days before this time.
    #[arg(long, value_name = "TIME", value_parser = local_time::parse)]
    not_before: Option<Schedule>,
    /// Restart or shut down the computer 120 seconds after the action, even after a failure
    ///
    /// Open programs are closed and lose their unsaved work.
    #[arg(long, value_enum)]
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
    /// Returns true if the package has terms for OCS Windows agents.
    pub(super) fn has_terms(&self) -> bool {
        self.terms() != WindowsTerms::default()
    }

    pub(super) fn terms(&self) -> WindowsTerms {
        let notice = self.notify.clone().map(|message| Notice {
            message,
            countdown_s: u16::try_from(self.notify_countdown).unwrap_or(u16::MAX),
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

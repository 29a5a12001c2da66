//! `packcast rollout`: a package reaches its groups in waves.

mod change;
mod list;
mod sentence;
mod show;
mod start;
mod watch;

use clap::Subcommand;
use packcast_publisher::Failure;

use crate::Globals;

/// Deploy a package in waves that stop by themselves
///
/// A rollout gives a package to a few devices first, and to more of them as long as it goes well.
/// The times of the waves are signed, and each device keeps to them. The gate halts the rollout after
/// a few failures, and waits for devices that are not heard from.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast rollout start vlc@3.0.21 --group office --pilot lab --dry-run
  packcast rollout start vlc@3.0.21 --group office --pilot lab
  packcast rollout watch vlc@3.0.21
  packcast rollout pause vlc@3.0.21
  packcast rollout resume vlc@3.0.21
  packcast rollout finish vlc@3.0.21")]
pub(crate) enum Args {
    Start(Box<start::Args>),
    List(list::Args),
    Show(show::Args),
    Watch(watch::Args),
    Pause(change::PauseArgs),
    Resume(change::ResumeArgs),
    Promote(change::PromoteArgs),
    End(change::EndArgs),
    Finish(change::FinishArgs),
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Start(args) => args.run(globals).await,
            Self::List(args) => args.run(globals).await,
            Self::Show(args) => args.run(globals).await,
            Self::Watch(args) => args.run(globals).await,
            Self::Pause(args) => args.run(globals).await,
            Self::Resume(args) => args.run(globals).await,
            Self::Promote(args) => args.run(globals).await,
            Self::End(args) => args.run(globals).await,
            Self::Finish(args) => args.run(globals).await,
        }
    }
}

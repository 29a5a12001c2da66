//! The values of `--action`.

use packcast_publisher::publish::plan::ActionName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ActionChoice {
    /// Unpack the archive and run a program from it; its exit code is the result
    Launch,
    /// Run any command, with the files of the archive if there is one
    Execute,
    /// Unpack the archive into a folder and run nothing
    Store,
}

impl From<ActionChoice> for ActionName {
    fn from(choice: ActionChoice) -> Self {
        match choice {
            ActionChoice::Launch => Self::Launch,
            ActionChoice::Execute => Self::Execute,
            ActionChoice::Store => Self::Store,
        }
    }
}

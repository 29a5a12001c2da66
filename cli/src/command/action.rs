//! The actions of packages, as options spell them.

use packcast_publisher::publish::plan::ActionName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ActionChoice {
    /// Unpack, and run a program of the archive; its exit code is the result
    Launch,
    /// Run any command, with the archive's files if there is one
    Execute,
    /// Unpack into a folder, and run nothing
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

//! The role in which a starter runs another version of the agent.

use clap::ValueEnum;

/// The role in which a starter runs a version.
///
/// The values of the argument `--as` are the interface between versions: they must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VersionRole {
    /// The version has proved itself.
    Kept,
    /// The version has to check in, and confirms that it has.
    Trial,
}

impl VersionRole {
    /// Returns the value of the argument.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Trial => "trial",
        }
    }
}

//! The person who changes a target, for the history of its state.

/// Names of a person and a machine. Nobody verifies them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// Name of the user account.
    pub user: String,
    /// Name of the machine.
    pub host: String,
}

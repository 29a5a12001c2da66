//! The signed state of the target that the agent follows, and the decision to act on a package.

mod files;
pub(crate) mod followed_state;
pub(crate) mod permits;
#[cfg(test)]
pub(crate) mod test_state;

pub use self::files::{FileChange, LoadedState, TargetStateError, TargetStateFiles};

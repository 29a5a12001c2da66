//! The addresses of changes.

pub(crate) const ASSIGN: &str = "/change/assign";
pub(crate) const UNASSIGN: &str = "/change/unassign";
pub(crate) const ACTIVATE: &str = "/change/activate";
pub(crate) const DEACTIVATE: &str = "/change/deactivate";
pub(crate) const DELETE: &str = "/change/delete";
pub(crate) const BLOCK: &str = "/change/block";
pub(crate) const UNBLOCK: &str = "/change/unblock";
pub(crate) const REMOVE: &str = "/change/remove";
pub(crate) const PAUSE: &str = "/change/pause";
pub(crate) const RESUME: &str = "/change/resume";
pub(crate) const REVERT: &str = "/change/revert";

/// The list of the changes of the session.
pub(crate) const CHANGES: &str = "/changes";
/// The address that locks the signing key.
pub(crate) const LOCK: &str = "/key/lock";

/// Returns the address of the result of a change.
pub(crate) fn result_path(number: u64) -> String {
    format!("{CHANGES}/{number}")
}

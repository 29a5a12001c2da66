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
pub(crate) const CREATE_GROUP: &str = "/change/create-group";
pub(crate) const RENAME_GROUP: &str = "/change/rename-group";
pub(crate) const DELETE_GROUP: &str = "/change/delete-group";
pub(crate) const ADD_DEVICES: &str = "/change/add-devices";
pub(crate) const REMOVE_DEVICES: &str = "/change/remove-devices";
pub(crate) const PREFER_LOCATION: &str = "/change/prefer-location";
pub(crate) const GROUP_PACING: &str = "/change/group-pacing";
pub(crate) const START_ROLLOUT: &str = "/change/start-rollout";
pub(crate) const PAUSE_ROLLOUT: &str = "/change/pause-rollout";
pub(crate) const RESUME_ROLLOUT: &str = "/change/resume-rollout";
pub(crate) const PROMOTE_ROLLOUT: &str = "/change/promote-rollout";
pub(crate) const END_ROLLOUT: &str = "/change/end-rollout";
pub(crate) const FINISH_ROLLOUT: &str = "/change/finish-rollout";

/// The list of the changes of the session.
pub(crate) const CHANGES: &str = "/changes";
/// The address that locks the signing key.
pub(crate) const LOCK: &str = "/key/lock";

/// Returns the address of the result of a change.
pub(crate) fn result_path(number: u64) -> String {
    format!("{CHANGES}/{number}")
}

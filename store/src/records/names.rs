//! The names of attributes that conditions and updates use.

pub(super) const STATE: &str = "state";
pub(super) const ATTEMPT: &str = "attempt";
pub(super) const DIRECT: &str = "direct";
pub(super) const ACTIVE: &str = "active";
pub(super) const LOCATIONS: &str = "locations";
pub(super) const DEVICE_ID: &str = "device";
pub(super) const FIRST_SEEN: &str = "first_seen";

/// The state of a package that was deleted.
pub(super) const DELETED: &str = "deleted";
/// A device's groups, each with the revision up to which it is reconciled.
pub(super) const GROUPS: &str = "groups";
pub(super) const REVISION: &str = "revision";
/// The number of the last list of keys.
pub(super) const SERIAL: &str = "serial";
pub(super) const LISTS: &str = "lists";
/// When the assignments of a revision were signed.
pub(super) const ISSUED: &str = "issued";
/// Whether a group was deleted, beside its revision.
pub(super) const IS_DELETED: &str = "deleted";
/// How often a device's groups had a part in a change of its tasks.
pub(super) const ROUND: &str = "round";
pub(super) const MEMBERS: &str = "members";
/// Which state of a device's own assignments was signed last.
pub(super) const SIGNED: &str = "signed";

/// The attributes of an order.
pub(super) const ASKED_AT: &str = "asked_at";
pub(super) const TOLD_AT: &str = "told_at";

/// The attributes of a history.
pub(super) const IDS: &str = "ids";
pub(super) const AT: &str = "at";

/// The attributes of a tally.
pub(super) const ASSIGNED: &str = "assigned";
pub(super) const ANNOUNCED: &str = "announced";
pub(super) const WITHDRAWN: &str = "withdrawn";
pub(super) const SUCCEEDED: &str = "succeeded";
pub(super) const FAILED: &str = "failed";
pub(super) const CANCELLED: &str = "cancelled";

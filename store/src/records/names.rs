//! Names of the attributes that conditions and updates use.

pub(super) const STATE: &str = "state";
pub(super) const ATTEMPT: &str = "attempt";
pub(super) const CODE: &str = "code";
pub(super) const DIRECT: &str = "direct";
/// The place of a device in a rollout.
pub(super) const PLACE: &str = "place";
pub(super) const ACTIVE: &str = "active";
/// The number of changes of a package's activation.
pub(super) const ACTIVATION: &str = "activation";
pub(super) const LOCATIONS: &str = "locations";
pub(super) const DEVICE_ID: &str = "device";
pub(super) const HOST_NAME: &str = "host_name";
/// The write budget of a device.
pub(super) const BUDGET: &str = "budget";
pub(super) const LAST_SEEN: &str = "last_seen";
pub(super) const FIRST_SEEN: &str = "first_seen";

/// The value of [`STATE`] for a deleted package.
pub(super) const DELETED: &str = "deleted";
/// The groups of a device, each with its observed revision.
pub(super) const GROUPS: &str = "groups";
pub(super) const REVISION: &str = "revision";
/// The group of a revision.
pub(super) const GROUP: &str = "group";
/// The attribute of a group's revision that marks the group as deleted.
pub(super) const IS_DELETED: &str = "deleted";
/// The number of the commit that created a group.
pub(super) const CREATED: &str = "created";
/// The first name of a group that was renamed.
pub(super) const ORIGIN: &str = "origin";
/// The leaf from which the records of a device follow.
pub(super) const LEAF: &str = "leaf";
/// The digest of the document of a leaf.
pub(super) const DIGEST: &str = "digest";
/// The digest of a group's document.
pub(super) const DOCUMENT: &str = "document";
/// The number of changes of the head, for the record that follows from them.
pub(super) const ORDER: &str = "order";
/// The number of changes that a device's groups have made to its tasks.
pub(super) const ROUND: &str = "round";
pub(super) const MEMBERS: &str = "members";

/// The exclusion of a device, with the attribute that names its kind.
pub(super) const EXCLUDED: &str = "excluded";
pub(super) const KIND: &str = "kind";

/// The attributes of an enrolment batch: its id, the number of devices that it has enrolled, their
/// largest number, and the times of its expiry and its revocation.
pub(super) const BATCH: &str = "batch";
pub(super) const ENROLLED: &str = "enrolled";
pub(super) const LIMIT: &str = "limit";
pub(super) const EXPIRES: &str = "expires";
pub(super) const REVOKED: &str = "revoked";

/// The attributes of a device command.
pub(super) const ASKED_AT: &str = "asked_at";
pub(super) const TOLD_AT: &str = "told_at";

/// The rows of an OCS server that imports have carried over.
pub(super) const ROWS: &str = "rows";

/// The attributes of a package history.
pub(super) const IDS: &str = "ids";
pub(super) const AT: &str = "at";

/// The attributes of a tally.
pub(super) const ASSIGNED: &str = "assigned";
pub(super) const ANNOUNCED: &str = "announced";
pub(super) const WITHDRAWN: &str = "withdrawn";
pub(super) const SUCCEEDED: &str = "succeeded";
pub(super) const FAILED: &str = "failed";
pub(super) const CANCELLED: &str = "cancelled";
pub(super) const NOT_APPLICABLE: &str = "not_applicable";

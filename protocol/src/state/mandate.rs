//! Mandates: single assignments of packages to devices by a signed state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assignee::Assignee;

/// One assignment of a package. A device uses up each mandate at most once.
///
/// The number stays with the entry, so a device that leaves a group and joins it again has the
/// same mandate as before.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Mandate {
    /// The device itself, or one of its groups: by its name when the entry was added.
    pub assignee: Assignee,
    /// Number of the commit that added the entry.
    pub seq: u64,
}

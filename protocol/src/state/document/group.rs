//! The document of a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::EntriesError;
use super::{Entries, StateDocument};
use crate::group::GroupName;
use crate::location::LocationName;
use crate::pacing::{CheckInHours, PacingOverride, PauseS, TimeoutDays};
use crate::schema::Schema;
use crate::state::number::{MAX_NUMBER, read_number};

/// The packages of a group and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Number of the commit that created the group, or gave it its present name; 0 for the group
    /// `all`.
    #[serde(deserialize_with = "read_number")]
    #[schemars(range(max = MAX_NUMBER))]
    pub created: u64,
    /// First name of the group. Absent if the group was never renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<GroupOrigin>,
    /// Number of the commit that changed the document last.
    #[serde(deserialize_with = "read_number")]
    #[schemars(range(max = MAX_NUMBER))]
    pub revision: u64,
    /// Assigned packages in the order of their ids, each once.
    pub packages: Entries,
    /// Name of the location that the group's devices try first.
    pub prefer: Option<LocationName>,
    /// Pacing of the group's devices with OCS agents, where it differs from the target's.
    #[serde(with = "PacingForm")]
    #[schemars(with = "PacingForm")]
    pub pace: PacingOverride,
}

/// First name of a group, with the number of the commit that created the group.
///
/// No other group ever has the same origin, so that a group is recognised under a later name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupOrigin {
    /// Name under which the group was created.
    pub name: GroupName,
    /// Number of the commit that created the group.
    #[serde(deserialize_with = "read_number")]
    #[schemars(range(max = MAX_NUMBER))]
    pub created: u64,
}

/// Wire form of pacing in a document, which refuses unknown settings.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "PacingOverride", rename = "Pacing", deny_unknown_fields)]
struct PacingForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cycle_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_every_h: Option<CheckInHours>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_days: Option<TimeoutDays>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl GroupDocument {
    /// Creates the document of a group without packages and settings.
    ///
    /// `created` is the number of the commit that creates the group, or 0 for the group `all`.
    pub fn empty(created: u64, revision: u64) -> Self {
        Self {
            schema: Schema,
            created,
            origin: None,
            revision,
            packages: Entries::default(),
            prefer: None,
            pace: PacingOverride::default(),
        }
    }

    /// Returns the origin of the group with this document, whose present name is `group`.
    pub fn origin(&self, group: &GroupName) -> GroupOrigin {
        let present = || GroupOrigin {
            name: group.clone(),
            created: self.created,
        };
        self.origin.clone().unwrap_or_else(present)
    }
}

impl GroupDocument {
    /// Returns the document of the group after the commit with this number has renamed it.
    ///
    /// The commit counts as the creation of the group under the new name: a device that still names
    /// an earlier group of this name is not a member. The revision stays.
    ///
    /// # Errors
    /// The entries, which also have the earlier name then, are too large.
    pub fn renamed(
        &self,
        from: &GroupName,
        to: &GroupName,
        number: u64,
    ) -> Result<Self, EntriesError> {
        let entries = self.packages.as_slice().iter();
        let entries = entries.map(|entry| entry.renamed(from, to)).collect();
        Ok(Self {
            created: number,
            origin: Some(self.origin(from)),
            packages: Entries::new(entries)?,
            ..self.clone()
        })
    }
}

impl StateDocument for GroupDocument {
    const NAME: &'static str = "group document";
}

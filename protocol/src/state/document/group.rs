//! The document of a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, StateDocument};
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
    /// Number of the commit that created the group; 0 for the group `all`.
    #[serde(deserialize_with = "read_number")]
    #[schemars(range(max = MAX_NUMBER))]
    pub created: u64,
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
            revision,
            packages: Entries::default(),
            prefer: None,
            pace: PacingOverride::default(),
        }
    }
}

impl StateDocument for GroupDocument {
    const NAME: &'static str = "group document";
}

//! The document of a group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, StateDocument};
use crate::location::LocationName;
use crate::pacing::{CheckInHours, PacingOverride, PauseS, TimeoutDays};
use crate::signed::Schema;

/// The packages of a group and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Number of the commit that changed the document last.
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
    pub fn empty(revision: u64) -> Self {
        Self {
            schema: Schema,
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

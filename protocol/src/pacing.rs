//! Pacing: the pauses of an OCS agent, as a group or a device overrides those of its target.

mod bounded;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bounded::{UpTo, UpToError};

/// A pause, in seconds.
///
/// A pause is at least one second. Without a pause, a missing fragment or a rejected report makes
/// one agent send hundreds of requests a second (protocol reference §0 rule 16).
pub type PauseS = UpTo<3_600>;

/// Time between two check-ins, in hours.
pub type CheckInHours = UpTo<168>;

/// Number of days after which a device drops a package that it could not deploy.
pub type TimeoutDays = UpTo<3_650>;

/// Pacing of a group or a device that overrides the target's. `None` overrides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PacingOverride {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_pause_s: Option<PauseS>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_every_h: Option<CheckInHours>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_days: Option<TimeoutDays>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// A change of the pacing of a group or a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacingChange {
    /// Changes the settings that are `Some`, and keeps the others.
    Set(PacingOverride),
    /// Replaces all settings.
    Replace(PacingOverride),
}

impl PacingOverride {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    pub fn changed(&self, change: &PacingChange) -> Self {
        let other = match change {
            PacingChange::Set(other) => other,
            PacingChange::Replace(other) => return *other,
        };
        Self {
            fragment_pause_s: other.fragment_pause_s.or(self.fragment_pause_s),
            cycle_pause_s: other.cycle_pause_s.or(self.cycle_pause_s),
            period_pause_s: other.period_pause_s.or(self.period_pause_s),
            contact_every_h: other.contact_every_h.or(self.contact_every_h),
            timeout_days: other.timeout_days.or(self.timeout_days),
            strict: other.strict.or(self.strict),
        }
    }

    /// Returns the greatest value of each setting, or `None` for a setting that is set nowhere.
    pub fn slowest<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter()
            .fold(Self::default(), |slowest, other| Self {
                fragment_pause_s: slowest.fragment_pause_s.max(other.fragment_pause_s),
                cycle_pause_s: slowest.cycle_pause_s.max(other.cycle_pause_s),
                period_pause_s: slowest.period_pause_s.max(other.period_pause_s),
                contact_every_h: slowest.contact_every_h.max(other.contact_every_h),
                timeout_days: slowest.timeout_days.max(other.timeout_days),
                strict: slowest.strict.max(other.strict),
            })
    }
}

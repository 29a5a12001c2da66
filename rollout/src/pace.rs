//! How fast a stock agent works through what it is told.
//!
//! The settings are a target's, changed by a group or a device; what a reply says follows from
//! them and from the packages that it announces.
//!
//! With nothing but the least pauses, a package takes one second for each cycle up to its turn
//! and one for the turn, so that one of priority 5 and one fragment takes 12 seconds, where the
//! defaults of OCS make it 550. No more can be gained: with a package of priority 5 alone the
//! cycles 1 to 4 do nothing but pause, but to give it a turn in each would take another
//! priority, which is fixed when it is published, as the device reads it from `info`.
//!
//! One case stays that no reply can avoid. Where several packages of priority 0 differ in their
//! number of fragments, a Unix agent that happens to take up a shorter one first ends its
//! download process once all of them are deployed; what has another priority is then begun, or
//! goes on, at the device's next contact.

mod bounded;
mod schedule;

use std::num::NonZeroU8;

use packcast_protocol::Priority;
use packcast_protocol::ocs::reply::Conf;
use serde::{Deserialize, Serialize};

pub use bounded::{UpTo, UpToError};
pub use schedule::Announced;

use schedule::{pauses, period_length};

/// A pause, in seconds.
///
/// At least one: with none, a missing fragment or a report that is not accepted makes one agent
/// ask hundreds of times a second (protocol reference §0 rule 16).
pub type PauseS = UpTo<3_600>;

/// The time between two contacts, in hours.
pub type CheckInHours = UpTo<168>;

/// After how many days a device drops a package that it could not deploy.
pub type TimeoutDays = UpTo<3_650>;

/// What the replies to a device are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// After each turn of a package, which is a fragment or the deployment.
    pub fragment_pause_s: PauseS,
    /// After each cycle.
    pub cycle_pause_s: PauseS,
    /// After each period. It is what keeps an agent that has nothing it can do from spinning.
    pub period_pause_s: PauseS,
    /// How often the device asks, if it runs a Windows service or a Unix daemon.
    pub contact_every_h: CheckInHours,
    pub timeout_days: TimeoutDays,
    /// Announces one priority level at a time.
    pub strict: bool,
}

/// What a group or a device has instead of its target's settings; what is none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// How a group's or a device's own settings are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacingChange {
    /// What is none stays.
    Set(PacingOverride),
    /// Nothing else stays.
    Replace(PacingOverride),
}

impl Default for Pacing {
    /// Returns the fastest pace that is safe; a device gives up after 30 days.
    fn default() -> Self {
        Self {
            fragment_pause_s: number(1),
            cycle_pause_s: number(1),
            period_pause_s: number(1),
            contact_every_h: number(1),
            timeout_days: number(30),
            strict: false,
        }
    }
}

const fn number<const MOST: u16>(number: u16) -> UpTo<MOST> {
    UpTo::new(number).expect("a default is within its bounds")
}

impl Pacing {
    /// Returns what is in force for a device.
    ///
    /// The device's own settings win over those of its groups, and those over the target's. Of
    /// several groups the slowest wins, setting by setting, and one that is strict: a group that
    /// was slowed down for a thin line stays slow, whatever else its devices are in.
    #[must_use]
    pub fn in_force<'a>(
        self,
        groups: impl IntoIterator<Item = &'a PacingOverride>,
        device: &PacingOverride,
    ) -> Self {
        let groups = PacingOverride::slowest(groups);
        self.with(&groups).with(device)
    }

    fn with(self, other: &PacingOverride) -> Self {
        Self {
            fragment_pause_s: other.fragment_pause_s.unwrap_or(self.fragment_pause_s),
            cycle_pause_s: other.cycle_pause_s.unwrap_or(self.cycle_pause_s),
            period_pause_s: other.period_pause_s.unwrap_or(self.period_pause_s),
            contact_every_h: other.contact_every_h.unwrap_or(self.contact_every_h),
            timeout_days: other.timeout_days.unwrap_or(self.timeout_days),
            strict: other.strict.unwrap_or(self.strict),
        }
    }

    /// Returns what a reply says that announces these packages.
    pub fn conf(&self, announced: &[Announced]) -> Conf {
        Conf {
            frag_latency_s: self.fragment_pause_s.into(),
            cycle_latency_s: self.cycle_pause_s.into(),
            period_latency_s: self.period_pause_s.get(),
            period_length: period_length(announced),
            timeout_days: self.timeout_days.into(),
        }
    }

    /// Returns how often the device is told to ask, in hours.
    pub fn prolog_freq_hours(&self) -> NonZeroU8 {
        let hours = u8::try_from(self.contact_every_h.get()).ok();
        hours.and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX)
    }

    /// Returns how long a stock agent pauses at most until it has deployed these packages, in
    /// seconds.
    ///
    /// It begins with the first period in which the agent has all of them. Neither transfers nor
    /// commands are in it, and no fragment fails. For one package it is
    /// (fragments + 1) × (priority × cycle pause + fragment pause), and the pauses between
    /// periods.
    pub fn longest_s(&self, announced: &[Announced]) -> u64 {
        let pauses = pauses(announced);
        [
            (pauses.fragments, self.fragment_pause_s),
            (pauses.cycles, self.cycle_pause_s),
            (pauses.periods, self.period_pause_s),
        ]
        .into_iter()
        .map(|(times, pause)| times.saturating_mul(pause.get().into()))
        .fold(0, u64::saturating_add)
    }

    /// Returns how long a stock agent that has nothing else pauses until a package is deployed.
    pub fn alone_s(&self, priority: Priority, fragments: u32) -> u64 {
        self.longest_s(&[(priority, fragments)])
    }
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

    /// Returns the greatest of each setting; none of what nobody sets, which is less than some.
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

#[cfg(test)]
mod tests;

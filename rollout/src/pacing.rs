//! Pacing: the pauses of an OCS agent while it works on announced packages.
//!
//! A target has settings, which a group or a device can override. The settings in a reply follow
//! from these and from the packages that the reply announces.
//!
//! With the shortest pauses, a package takes one second for each cycle up to its turn, and one
//! second for the turn itself. So a package of priority 5 with one fragment takes 12 seconds,
//! whereas the defaults of OCS make it 550 seconds. A shorter time is impossible: if such a
//! package is alone, the cycles 1 to 4 only pause, but a turn in each cycle would need another
//! priority. The priority is fixed when the package is published, because the device reads it
//! from `info`.
//!
//! One case remains that no reply can avoid. If several packages of priority 0 differ in their
//! number of fragments, and a Unix agent happens to begin with a shorter one, its download process
//! ends once all of them are deployed. Packages of other priorities then begin or continue at the
//! device's next check-in.

mod schedule;

use std::num::NonZeroU8;

use packcast_protocol::Priority;
use packcast_protocol::ocs::reply::Conf;

pub use packcast_protocol::pacing::{
    CheckInHours, PacingChange, PacingOverride, PauseS, TimeoutDays, UpTo, UpToError,
};
pub use schedule::Announced;

use schedule::{pauses, period_length};

/// Pacing of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Pause after each turn of a package. A turn downloads a fragment or deploys the package.
    pub fragment_pause_s: PauseS,
    /// Pause after each cycle.
    pub cycle_pause_s: PauseS,
    /// Pause after each period. It keeps an agent without work from running in a busy loop.
    pub period_pause_s: PauseS,
    /// Time between check-ins of a device that runs a Windows service or a Unix daemon.
    pub contact_every_h: CheckInHours,
    pub timeout_days: TimeoutDays,
    /// Announce one priority at a time.
    pub strict: bool,
}

impl Default for Pacing {
    /// Returns the fastest pacing that is safe, with a timeout of 30 days.
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
    UpTo::new(number).expect("defaults are within their bounds")
}

impl Pacing {
    /// Returns the pacing in force for a device.
    ///
    /// The settings of the device override the settings of its groups, which override those of
    /// the target. Of several groups the slowest setting counts, setting by setting, and strict
    /// counts if any group is strict. So a group that was slowed down for a narrow network link
    /// stays slow, even if its devices are in faster groups as well.
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

    /// Returns the settings for a reply that announces these packages.
    pub fn conf(&self, announced: &[Announced]) -> Conf {
        Conf {
            frag_latency_s: self.fragment_pause_s.into(),
            cycle_latency_s: self.cycle_pause_s.into(),
            period_latency_s: self.period_pause_s.get(),
            period_length: period_length(announced),
            timeout_days: self.timeout_days.into(),
        }
    }

    /// Returns the time between check-ins for a reply, in hours.
    pub fn prolog_freq_hours(&self) -> NonZeroU8 {
        // The limit of the setting, 168 hours, fits into a byte.
        let hours = u8::try_from(self.contact_every_h.get()).ok();
        hours.and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX)
    }

    /// Returns the longest time that an OCS agent pauses until it has deployed these packages, in
    /// seconds.
    ///
    /// The time begins with the first period in which the agent has all packages. It contains
    /// neither transfers nor commands, and assumes that no fragment fails. For one package it is
    /// (fragments + 1) × (priority × cycle pause + fragment pause), plus the pauses between
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

    /// Returns the time that an OCS agent without other packages pauses until a package is
    /// deployed, in seconds.
    pub fn alone_s(&self, priority: Priority, fragments: u32) -> u64 {
        self.longest_s(&[(priority, fragments)])
    }
}

#[cfg(test)]
mod tests;

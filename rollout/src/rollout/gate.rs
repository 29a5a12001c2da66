//! The gate of a rollout, as the records have it.

use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{DeviceId, ResultCode, UnixTime};
use serde::{Deserialize, Serialize};

use super::limits::GateLimits;

/// Maximum number of failures that a gate names.
pub const MAX_EVIDENCE: usize = 3;

/// Maximum size of the failures that a gate names: their devices and codes, in bytes.
const MAX_EVIDENCE_BYTES: usize = 300;

/// Gate of a rollout: one item of at most 1 KiB, which the function may write.
///
/// A gate outlives its rollout until the package is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    pub rollout: RolloutId,
    /// The table of the gate. The gate of a restored table names another table, and stays closed
    /// until a person resumes.
    pub table: String,
    pub state: GateState,
    /// Number of the current round, from 1. Each wave and each resume after a halt begins a round.
    pub round: u32,
    /// The latest open wave. The first one opens with the calendar.
    pub wave: WaveNumber,
    /// Time of the latest opening or resume.
    pub since: UnixTime,
    /// Time at which a place was taken, or a device of the current round failed or became healthy.
    /// `None` before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<UnixTime>,
    /// Places that devices can take now. They are stored because a condition of a transaction cannot
    /// compute them: `halt_at + min(healthy, at_once − halt_at) − (begun − healthy)`.
    pub free: u32,
    /// Devices that have taken a place in this round.
    pub begun: u32,
    /// Devices of this round that have settled after a success.
    pub healthy: u32,
    /// Failures in this round.
    pub failed: u32,
    /// Devices that have taken a place in any round, each once.
    pub all_begun: u32,
    /// Devices of all rounds that have settled after a success.
    pub all_healthy: u32,
    /// Failures in all rounds.
    pub all_failed: u32,
    /// The first failures of this round, at most [`MAX_EVIDENCE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<DeviceFailure>,
    pub limits: GateLimits,
}

/// State of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    Running,
    /// A person has paused the rollout.
    Paused,
    /// Failures have halted the rollout.
    Halted,
    /// A person has ended or finished the rollout. This state is final.
    Ended,
}

/// Failure of a device in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFailure {
    pub device: DeviceId,
    pub code: ResultCode,
}

/// Reason for which no device of a wave begins.
///
/// The names are part of the command line's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// The wave is not open yet, by the calendar or by the gate.
    Wave,
    /// Each place is taken.
    Full,
    /// A person has paused the rollout.
    Paused,
    /// The table was restored from a back-up.
    Restored,
    /// Failures have halted the rollout.
    Halted,
    /// The rollout has ended.
    Ended,
}

impl GateState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Ended => "ended",
        }
    }
}

impl Gate {
    /// Returns the gate of a new rollout: its first wave opens at its time in the calendar.
    pub const fn new(rollout: RolloutId, table: String, limits: GateLimits, now: UnixTime) -> Self {
        Self {
            rollout,
            table,
            state: GateState::Running,
            round: 1,
            wave: WaveNumber::FIRST,
            since: now,
            changed: None,
            free: limits.values().halt_at,
            begun: 0,
            healthy: 0,
            failed: 0,
            all_begun: 0,
            all_healthy: 0,
            all_failed: 0,
            evidence: Vec::new(),
            limits,
        }
    }

    /// Returns the devices of this round that have begun and are not healthy.
    pub const fn unhealthy(&self) -> u32 {
        self.begun.saturating_sub(self.healthy)
    }

    /// Returns the reason for which no device passes, apart from waves and places.
    pub fn closed(&self, table: &str) -> Option<Closed> {
        match self.state {
            GateState::Ended => Some(Closed::Ended),
            GateState::Halted => Some(Closed::Halted),
            GateState::Running | GateState::Paused if self.table != table => Some(Closed::Restored),
            GateState::Paused => Some(Closed::Paused),
            GateState::Running => None,
        }
    }

    /// Returns the failures that the gate names after one more failure.
    ///
    /// The number and the size of the failures are limited, so that the gate stays small. A failure
    /// that does not fit is counted, but not named.
    pub fn evidence_with(&self, failure: DeviceFailure) -> Vec<DeviceFailure> {
        let bytes = |failure: &DeviceFailure| {
            failure.device.to_string().len() + failure.code.to_string().len()
        };
        let used: usize = self.evidence.iter().map(bytes).sum();
        let fits =
            self.evidence.len() < MAX_EVIDENCE && used + bytes(&failure) <= MAX_EVIDENCE_BYTES;
        let mut evidence = self.evidence.clone();
        evidence.extend(fits.then_some(failure));
        evidence
    }
}

#[cfg(test)]
pub(super) mod tests {
    use packcast_protocol::state::document::{SLOTS, Wave, WaveDevices, Waves};

    use super::*;
    use crate::rollout::limits::LimitValues;
    use crate::rollout::limits::tests::limits;

    pub(crate) const NOW: UnixTime = UnixTime(1_795_000_000);
    pub(crate) const TABLE: &str = "packcast";

    /// Returns a running gate: halted by the third failure, at most ten devices at once.
    pub(crate) fn gate() -> Gate {
        let id = RolloutId::from_bytes([7; 16]);
        Gate::new(id, TABLE.to_owned(), limits(3, 5, 10), NOW)
    }

    /// Returns waves that open so many seconds after [`NOW`].
    pub(crate) fn waves(times: &[Option<u64>]) -> Waves {
        let bounds = (1..).take(times.len() - 1).chain([SLOTS]);
        let wave = |(up_to, after): (u16, &Option<u64>)| Wave {
            devices: WaveDevices::UpTo(up_to),
            from: after.map(|after| NOW.plus(after)),
        };
        Waves::new(bounds.zip(times).map(wave).collect()).unwrap()
    }

    pub(crate) fn failure(n: u8) -> DeviceFailure {
        let device = format!("ocs:web{n:02}-2026-03-04-05-06-07");
        DeviceFailure {
            device: device.parse().unwrap(),
            code: ResultCode::ExitCode(1603),
        }
    }

    #[test]
    fn evidence_is_limited() {
        let mut gate = gate();
        for n in 0..9 {
            gate.evidence = gate.evidence_with(failure(n));
        }
        assert_eq!(gate.evidence, [failure(0), failure(1), failure(2)]);
    }

    #[test]
    fn the_largest_gate_has_less_than_1_kib() {
        let longest = |n: u8| DeviceFailure {
            device: format!("ocs:{n}{}-2026-03-04-05-06-07", "w".repeat(179))
                .parse()
                .unwrap(),
            code: "x".repeat(255).parse().unwrap(),
        };
        let most = LimitValues {
            halt_at: LimitValues::MAX_HALT_AT,
            tolerate: 100,
            at_once: LimitValues::MAX_AT_ONCE,
            settle_s: 604_800,
            first_settle_s: 604_800,
            wait_s: 2_592_000,
        };
        let mut gate = Gate {
            table: "t".repeat(255),
            round: u32::MAX,
            wave: 16.try_into().unwrap(),
            changed: Some(UnixTime(u32::MAX.into())),
            free: u32::MAX,
            begun: u32::MAX,
            healthy: u32::MAX,
            failed: u32::MAX,
            all_begun: u32::MAX,
            all_healthy: u32::MAX,
            all_failed: u32::MAX,
            limits: most.try_into().unwrap(),
            ..gate()
        };
        let short = |n: u8| DeviceFailure {
            code: "x".repeat(64).parse().unwrap(),
            ..failure(n)
        };
        for failure in [longest(0), short(1), short(2), short(3), longest(4)] {
            gate.evidence = gate.evidence_with(failure);
        }
        let named: Vec<_> = gate
            .evidence
            .iter()
            .map(|it| it.device.to_string())
            .collect();
        assert_eq!(named, [1, 2, 3].map(|n| failure(n).device.to_string()));
        let text = serde_json::to_string(&gate).unwrap();
        assert!(text.len() <= 1024, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Gate>(&text).unwrap(), gate);
    }

    #[test]
    fn states_have_the_words_of_their_json() {
        for state in [
            GateState::Running,
            GateState::Paused,
            GateState::Halted,
            GateState::Ended,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}

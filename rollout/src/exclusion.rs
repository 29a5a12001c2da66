//! Excluded devices: an administrator has blocked or removed them, and the function refuses their
//! requests.

use std::fmt;
use std::str::FromStr;

use packcast_protocol::{DeviceId, UnixTime};
use serde::{Deserialize, Serialize};

use crate::command::accepts_commands;
use crate::record::{OpenTask, TaskState};

/// Maximum length of a reason, in bytes.
///
/// The record of a device is read with one read unit, except that of an excluded device with the
/// longest names, in the most groups.
pub const MAX_REASON_BYTES: usize = 120;

/// Exclusion of a device, which an administrator lifts with `packcast device unblock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    pub kind: ExclusionKind,
    pub since: UnixTime,
    /// Reason for people. The device does not learn it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExclusionReason>,
}

/// Kind of an exclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExclusionKind {
    /// The device keeps its groups, tasks and results.
    Blocked,
    /// The device has lost its groups, tasks and results. A tombstone remains.
    Removed,
}

/// Reason for an exclusion: one line of at most [`MAX_REASON_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExclusionReason(String);

/// Error for a text that is not a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a reason of 1 to {MAX_REASON_BYTES} bytes in one line")]
pub struct ExclusionReasonError;

impl Exclusion {
    pub fn is_removed(&self) -> bool {
        self.kind == ExclusionKind::Removed
    }
}

impl ExclusionKind {
    /// Name of the kind in messages and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for ExclusionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ExclusionReason {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExclusionReason {
    type Err = ExclusionReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_line = !text.trim().is_empty() && !text.contains(char::is_control);
        if is_line && text.len() <= MAX_REASON_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(ExclusionReasonError)
        }
    }
}

impl TryFrom<String> for ExclusionReason {
    type Error = ExclusionReasonError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ExclusionReason> for String {
    fn from(reason: ExclusionReason) -> Self {
        reason.0
    }
}

/// Reply to the PROLOG of an excluded device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcludedInstruction {
    /// The agent stops its download process. If it is also asked for an inventory, the reply to
    /// the inventory must be empty.
    Stop { ask_inventory: bool },
    /// The agent drops its packages.
    Drop,
}

/// Decides the reply to the PROLOG of an excluded device with an OCS agent.
///
/// - A blocked agent stops its download process. It would fork the next one, without a
///   connection, as [`command`](crate::command) describes, so it is also asked for an inventory
///   if it has packages.
/// - A removed Unix agent drops its packages. Otherwise it would resume them if the device is ever
///   unblocked, although nothing assigns them any more. A removed agent of another kind stops,
///   because only the Unix agent is known to drop packages at once.
///
/// `agent` is the name and version of the agent, as the request names it.
pub fn instruct_excluded(
    exclusion: &Exclusion,
    device: &DeviceId,
    agent: Option<&str>,
    tasks: &[OpenTask],
) -> ExcludedInstruction {
    match exclusion.kind {
        ExclusionKind::Blocked => ExcludedInstruction::Stop {
            ask_inventory: tasks
                .iter()
                .any(|task| !matches!(task.state, TaskState::Pending)),
        },
        ExclusionKind::Removed => match accepts_commands(device, agent.unwrap_or_default()) {
            Ok(()) => ExcludedInstruction::Drop,
            Err(_) => ExcludedInstruction::Stop {
                ask_inventory: false,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::task;

    const UNIX: Option<&str> = Some("OCS-NG_unified_unix_agent_v2.10.0");
    const WINDOWS: Option<&str> = Some("OCS-NG_WINDOWS_AGENT_v2.11.0.1");

    fn excluded(kind: ExclusionKind) -> Exclusion {
        Exclusion {
            kind,
            since: UnixTime(1_795_000_000),
            reason: None,
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        for good in ["stolen", " a reason ", &"x".repeat(MAX_REASON_BYTES)] {
            assert_eq!(good.parse::<ExclusionReason>().unwrap().as_str(), good);
        }
        for bad in ["", "  ", "two\nlines", &"x".repeat(MAX_REASON_BYTES + 1)] {
            assert!(bad.parse::<ExclusionReason>().is_err(), "{bad:?}");
        }
        insta::assert_snapshot!(ExclusionReasonError, @"expected a reason of 1 to 120 bytes in one line");
    }

    #[test]
    fn a_blocked_agent_stops_and_a_removed_unix_agent_drops() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let mut announced = task(1, 5);
        announced.state = TaskState::Announced {
            announced_at: UnixTime(1_795_000_000),
        };
        let instructed = |kind, agent, tasks: &[OpenTask]| {
            instruct_excluded(&excluded(kind), &device, agent, tasks)
        };
        let stop = |ask_inventory| ExcludedInstruction::Stop { ask_inventory };
        let blocked = |tasks: &[_]| instructed(ExclusionKind::Blocked, UNIX, tasks);
        assert_eq!(blocked(&[]), stop(false));
        assert_eq!(blocked(&[task(1, 5)]), stop(false));
        assert_eq!(blocked(&[announced]), stop(true));
        let removed = |agent| instructed(ExclusionKind::Removed, agent, &[]);
        assert_eq!(removed(UNIX), ExcludedInstruction::Drop);
        assert_eq!(removed(WINDOWS), stop(false));
        assert_eq!(removed(None), stop(false));
    }
}

//! The machine of a device: its platform, its ids, and the difference of its clock.

use packcast_protocol::UnixTime;
use packcast_protocol::api::BoundedText;
use packcast_protocol::state::exchange::MachineFacts;
use serde::{Deserialize, Serialize};

const MINUTE_S: u64 = 60;
const DAY_S: u64 = 24 * 3600;

/// Largest difference of a clock that counts as right, in minutes.
pub const MAX_CLOCK_DIFFERENCE_MIN: u64 = 5;

/// Time after which another machine with the same identity is forgotten, in days.
const OTHER_MACHINE_DAYS: u64 = 30;

/// Largest number of ids on record. Agents know two kinds: `hardware` and `system`.
const MAX_IDS: usize = 2;

/// Platform, ids and clock of the machine of a Packcast agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Operating system and architecture, such as `linux-x86_64`.
    pub platform: BoundedText<32>,
    /// Kinds and ids of the machine: the first that the agent has reported of each kind, at most two.
    /// An agent reports another kind of id while it cannot read the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<BoundedText<64>>,
    /// Another machine with the same identity. `None` if no other was seen for 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<OtherMachine>,
    /// Error of the machine's clock. `None` if the clock is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockError>,
}

/// A machine that uses the identity of another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherMachine {
    /// Kind and id of the machine.
    pub id: BoundedText<64>,
    /// Time of the latest check-in of this machine; written at most daily.
    pub last_seen: UnixTime,
}

/// Direction in which a machine's clock differs from the function's clock by more than
/// [`MAX_CLOCK_DIFFERENCE_MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockError {
    Ahead,
    Behind,
}

impl MachineRecord {
    /// Returns the id on record that has the same kind as another id.
    pub fn same_kind(&self, id: &BoundedText<64>) -> Option<&BoundedText<64>> {
        same_kind(&self.ids, id)
    }

    /// Compares the ids of two machines. `None` if the ids show nothing.
    ///
    /// The id of the hardware decides. Without one, equal ids of the system show one machine;
    /// different ones show nothing, because a new installation changes the id of the system.
    pub fn is_same_machine(&self, other: &Self) -> Option<bool> {
        let is_same = |wanted: &str| {
            let id = self.ids.iter().find(|id| kind(id) == wanted)?;
            Some(other.same_kind(id)? == id)
        };
        is_same("hardware").or_else(|| is_same("system").filter(|is_same| *is_same))
    }

    /// Returns the record after a check-in, or the same record if nothing has changed.
    pub fn after_check_in(known: Option<&Self>, facts: &MachineFacts, now: UnixTime) -> Self {
        let mut ids = known.map_or_else(Vec::new, |known| known.ids.clone());
        let mut other = recent(known.and_then(|known| known.other.as_ref()), now);
        if let Some(id) = &facts.machine {
            // Ids of different kinds show nothing about each other.
            match same_kind(&ids, id) {
                Some(known) if known != id => other = Some(seen(other, id, now)),
                None if ids.len() < MAX_IDS => ids.push(id.clone()),
                Some(_) | None => {}
            }
        }
        Self {
            platform: facts.platform.clone(),
            ids,
            other,
            clock: clock_error(known.and_then(|known| known.clock), facts.clock(), now),
        }
    }
}

fn same_kind<'a>(ids: &'a [BoundedText<64>], id: &BoundedText<64>) -> Option<&'a BoundedText<64>> {
    ids.iter().find(|known| kind(known) == kind(id))
}

/// Returns the kind of a machine id, such as `hardware`.
fn kind(id: &BoundedText<64>) -> &str {
    id.as_str().split(':').next().unwrap_or_default()
}

fn recent(other: Option<&OtherMachine>, now: UnixTime) -> Option<OtherMachine> {
    other
        .filter(|other| now.since(other.last_seen) < OTHER_MACHINE_DAYS * DAY_S)
        .cloned()
}

/// Returns the other machine with the time of a check-in. Within a day, the time stays, so that two
/// machines by turns cause no writes.
fn seen(known: Option<OtherMachine>, id: &BoundedText<64>, now: UnixTime) -> OtherMachine {
    match known {
        Some(other) if now.since(other.last_seen) < DAY_S => other,
        _ => OtherMachine {
            id: id.clone(),
            last_seen: now,
        },
    }
}

/// Compares a machine's clock, known to the minute, with the function's clock.
///
/// At the limit itself the known error stays, so that a clock near the limit causes no writes.
fn clock_error(known: Option<ClockError>, clock: UnixTime, now: UnixTime) -> Option<ClockError> {
    let (clock, now) = (clock.0 / MINUTE_S, now.0 / MINUTE_S);
    let error = if clock > now {
        ClockError::Ahead
    } else {
        ClockError::Behind
    };
    match clock.abs_diff(now) {
        0..MAX_CLOCK_DIFFERENCE_MIN => None,
        MAX_CLOCK_DIFFERENCE_MIN => known.filter(|known| *known == error),
        _ => Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const DESK: &str = "hardware:4c4c4544-0042-3510-8051-b4c04f4b3732";
    const COPY: &str = "hardware:11111111-0042-3510-8051-b4c04f4b3732";
    const SYSTEM: &str = "system:bc541fda11cb41ee9dfa15bc7fee0e2c";

    fn facts(machine: Option<&str>, clock: UnixTime) -> MachineFacts {
        MachineFacts::new("linux-x86_64", machine, None, clock)
    }

    fn after(known: Option<&MachineRecord>, machine: &str, now: UnixTime) -> MachineRecord {
        MachineRecord::after_check_in(known, &facts(Some(machine), now), now)
    }

    fn other(record: &MachineRecord) -> Option<(&str, UnixTime)> {
        let other = record.other.as_ref()?;
        Some((other.id.as_str(), other.last_seen))
    }

    #[test]
    fn another_machine_with_the_same_identity_is_a_conflict() {
        let first = after(None, DESK, NOW);
        assert_eq!(first.other, None);
        assert_eq!(after(Some(&first), DESK, NOW), first);
        let both = after(Some(&first), COPY, NOW);
        assert_eq!(other(&both), Some((COPY, NOW)));
        // Check-ins of both machines by turns are no change within a day.
        let soon = NOW.plus(DAY_S - 1);
        for machine in [DESK, COPY, DESK] {
            assert_eq!(after(Some(&both), machine, soon), both);
        }
        let later = after(Some(&both), COPY, NOW.plus(DAY_S));
        assert_eq!(other(&later), Some((COPY, NOW.plus(DAY_S))));
        assert_eq!(later.ids, first.ids);
    }

    #[test]
    fn another_machine_is_forgotten_after_a_month() {
        let both = after(Some(&after(None, DESK, NOW)), COPY, NOW);
        let month = NOW.plus(OTHER_MACHINE_DAYS * DAY_S);
        assert_eq!(after(Some(&both), DESK, UnixTime(month.0 - 1)), both);
        assert_eq!(after(Some(&both), DESK, month), after(None, DESK, month));
    }

    #[test]
    fn ids_of_different_kinds_are_no_conflict_and_stay_on_record() {
        let both = after(Some(&after(None, SYSTEM, NOW)), DESK, NOW);
        let ids: Vec<&str> = both.ids.iter().map(BoundedText::as_str).collect();
        assert_eq!(
            (ids.as_slice(), other(&both)),
            ([SYSTEM, DESK].as_slice(), None)
        );
        // Two machines that show different kinds by turns cause no writes.
        for machine in [
            Some(SYSTEM),
            Some(DESK),
            None,
            Some("later:1"),
            Some(SYSTEM),
        ] {
            let record = MachineRecord::after_check_in(Some(&both), &facts(machine, NOW), NOW);
            assert_eq!(record, both, "{machine:?}");
        }
        let copy = after(Some(&both), COPY, NOW);
        assert_eq!((other(&copy), &copy.ids), (Some((COPY, NOW)), &both.ids));
    }

    #[test]
    fn a_clock_is_wrong_from_six_minutes() {
        let start = UnixTime(NOW.0 / MINUTE_S * MINUTE_S);
        let check = |known, minutes: i64, expected: Option<ClockError>| {
            let clock = start.0.checked_add_signed(minutes * 60).unwrap();
            let found = clock_error(known, UnixTime(clock), start.plus(59));
            assert_eq!(found, expected, "{minutes} minutes, {known:?} before");
        };
        let (ahead, behind) = (Some(ClockError::Ahead), Some(ClockError::Behind));
        for known in [None, ahead, behind] {
            for minutes in -4..=4 {
                check(known, minutes, None);
            }
            check(known, 6, ahead);
            check(known, -6, behind);
        }
        // A clock at the limit keeps its error.
        for (minutes, same) in [(5, ahead), (-5, behind)] {
            for known in [None, ahead, behind] {
                check(known, minutes, known.filter(|_| known == same));
            }
        }
        check(None, -i64::try_from(start.0 / 60).unwrap(), behind);
        let far = clock_error(None, UnixTime(u64::MAX), start);
        assert_eq!(far, ahead);
    }
}

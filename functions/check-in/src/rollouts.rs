//! Rollouts: a device is told, and begins, by the calendar and the gate of its rollout.
//!
//! The calendar is the signed document, from the cache of the signed state. The gate is a record. A
//! package without a rollout costs no request here.

use std::collections::{BTreeSet, HashMap, HashSet};

use packcast_protocol::api::{BoundedText, HoldWord};
use packcast_protocol::state::document::Waves;
use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::reconcile::announcing_group;
use packcast_rollout::rollout::{
    BeginDecision, Closed, Gate, GateChange, GateRead, Place, again_s, begin, is_halt_recent,
    is_quiet, next_wave,
};
use packcast_rollout::{Memberships, OpenTask, TaskState};
use packcast_store::RecordsError;
use packcast_store::records::{DeviceState, PlaceTaken};

use crate::gates::KnownGate;
use crate::reconcile::Reconciled;
use crate::{CheckInFunction, answer};

/// Number of tries to take a place: one by a cached gate, and one by a gate that was just read.
const TRIES: usize = 2;

/// Shortest time to the next check-in of a device that settles, in seconds.
const LEAST_CHECK_IN_S: u64 = 60;

/// The tasks of a device that are not told yet, by the rollouts of their packages.
#[derive(Debug, Default)]
pub(crate) struct Gated {
    /// The rollouts whose gates were asked.
    pub(crate) asked: HashMap<PackageId, RolloutId>,
    /// Packages that are not announced now.
    pub(crate) closed: HashSet<PackageId>,
    /// Places that an OCS agent takes when it is told.
    pub(crate) places: HashMap<PackageId, (Place, GateChange)>,
}

/// Reason for which a device waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reason: HoldWord,
    /// Time in which the device does not ask again, in seconds. `None` if it asks again after its
    /// next check-in.
    pub(crate) again_s: Option<u32>,
}

impl From<HoldWord> for Held {
    fn from(reason: HoldWord) -> Self {
        Self {
            reason,
            again_s: None,
        }
    }
}

impl Gated {
    /// Notes the packages of rollouts that a Packcast agent was told of.
    pub(crate) fn told(
        &self,
        function: &CheckInFunction,
        device: &DeviceId,
        on_record: &HashSet<PackageId>,
        now: UnixTime,
    ) {
        if matches!(device, DeviceId::Ocs(_)) {
            return;
        }
        for (_, rollout) in self.asked.iter().filter(|(id, _)| on_record.contains(id)) {
            function.gates.told(*rollout, now);
        }
    }
}

/// A device in a rollout.
struct Rolled<'a> {
    device: &'a DeviceId,
    rollout: RolloutId,
    waves: Waves,
    /// The wave of the device.
    wave: WaveNumber,
}

/// Decides on the tasks that would be announced for the first time.
///
/// For a Packcast agent, a cached gate is enough, because the agent asks before it begins. The gate
/// must have a free place for which the function has told no other device.
pub(crate) async fn gated(
    function: &CheckInFunction,
    device: &DeviceId,
    reconciled: &Reconciled,
    now: UnixTime,
) -> Result<Gated, RecordsError> {
    let mut gated = Gated::default();
    let memberships = &reconciled.device_state.memberships;
    let new = reconciled.device_state.tasks.iter();
    for task in new.filter(|task| task.state == TaskState::Pending && !task.direct) {
        let group = announcing_group(memberships, &reconciled.groups, task.package);
        let Some((_, Some(rollout))) = group else {
            continue;
        };
        gated.asked.insert(task.package, rollout);
        // Boxed, because few check-ins need it, and the futures of all handlers contain it.
        let decision = Box::pin(announcing(
            function,
            device,
            memberships,
            rollout,
            task,
            now,
        ));
        match decision.await? {
            BeginDecision::Wait(_) => {
                gated.closed.insert(task.package);
            }
            BeginDecision::Take { place, change } => {
                if matches!(device, DeviceId::Ocs(_)) {
                    gated.places.insert(task.package, (place, change));
                }
            }
            BeginDecision::Begin | BeginDecision::ReadAgain => {}
        }
    }
    Ok(gated)
}

/// Decides on a task that would be announced for the first time, and opens the next wave if it is
/// time.
async fn announcing(
    function: &CheckInFunction,
    device: &DeviceId,
    memberships: &Memberships,
    rollout: RolloutId,
    task: &OpenTask,
    now: UnixTime,
) -> Result<BeginDecision, RecordsError> {
    let Some(rolled) = rolled(function, device, memberships, rollout, false, now).await? else {
        return Ok(BeginDecision::Wait(Closed::Ended));
    };
    let (gates, records) = (&function.gates, &function.records);
    let mut known = gates.one(records, rollout, now).await?;
    if let Some(gate) = known.gate.as_ref().filter(|gate| rolled.wave > gate.wave)
        && let Ok(change) = next_wave(gate, records.table(), &rolled.waves, now)
    {
        match records.change_gate(rollout, &change).await {
            // The next check-in of any device that waits tries again.
            Err(error @ RecordsError::Conflict { .. }) => answer::log_records_error(&error),
            changed => {
                if changed? {
                    tracing::info!(%device, %rollout, "opened the next wave of a rollout");
                }
            }
        }
        // By this change, or by another one.
        known = gates.one_within(records, rollout, 0, now).await?;
    }
    rolled.watch(function, &known, task, now);
    let decision = rolled.decide(function, &known, task, now);
    // A Packcast agent takes its place later, so other devices may be on the way.
    let is_ahead =
        matches!(device, DeviceId::Agent(_)) && matches!(decision, BeginDecision::Take { .. });
    let free = known.gate.map_or(0, |gate| gate.free);
    if is_ahead && !gates.has_room(rollout, free, now) {
        return Ok(BeginDecision::Wait(Closed::Full));
    }
    Ok(decision)
}

/// Takes a place in a rollout for a device that is about to begin. Returns the reason for which the
/// device waits; `None` if it may begin.
pub(crate) async fn hold(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &DeviceState,
    task: &OpenTask,
    rollout: RolloutId,
    now: UnixTime,
) -> Result<Option<Held>, RecordsError> {
    let memberships = &device_state.memberships;
    let Some(rolled) = rolled(function, device, memberships, rollout, true, now).await? else {
        return Ok(Some(word(Closed::Ended).into()));
    };
    let (gates, records) = (&function.gates, &function.records);
    let mut known = gates.one(records, rollout, now).await?;
    let mut closed = Closed::Full;
    for _ in 0..TRIES {
        let mut max_age_s = 0;
        match rolled.decide(function, &known, task, now) {
            BeginDecision::Begin => return Ok(None),
            BeginDecision::ReadAgain => {}
            BeginDecision::Take { place, change } => {
                let taken = records.take_place(device, task, place, &change).await?;
                if taken == PlaceTaken::Taken {
                    gates.apply(rollout, &change);
                    gates.begun(rollout);
                    return Ok(None);
                }
            }
            BeginDecision::Wait(reason) => {
                rolled.watch(function, &known, task, now);
                closed = reason;
                // At most one more read of each gate in a second: a device asks as often as it
                // likes.
                max_age_s = 1;
            }
        }
        if known.is_fresh {
            break;
        }
        known = gates.one_within(records, rollout, max_age_s, now).await?;
        if !known.is_fresh {
            break;
        }
    }
    let held = task.place.as_ref();
    let again = |gate| again_s(closed, gate, held, fastrand::u32(..));
    Ok(Some(Held {
        reason: word(closed),
        again_s: known.gate.as_ref().and_then(again),
    }))
}

/// Returns the calendar of a rollout and the wave of a device. `None` if the signed state has no such
/// rollout, or if the device is in none of its groups.
///
/// If `is_asking` is set, the state is read again for an unknown rollout: another instance of the
/// function may have announced by a later state.
async fn rolled<'a>(
    function: &CheckInFunction,
    device: &'a DeviceId,
    memberships: &Memberships,
    rollout: RolloutId,
    is_asking: bool,
    now: UnixTime,
) -> Result<Option<Rolled<'a>>, RecordsError> {
    let read = function
        .state
        .calendar(&function.records, rollout, is_asking, now)
        .await;
    let document = match read {
        Err(error @ RecordsError::Corrupt { .. }) => {
            answer::log_records_error(&error);
            None
        }
        document => document?,
    };
    let groups: BTreeSet<GroupName> = memberships.groups().collect();
    Ok(document.and_then(|document| {
        let wave = document.wave_of(device, &groups)?;
        Some(Rolled {
            device,
            rollout,
            wave,
            waves: document.waves,
        })
    }))
}

impl Rolled<'_> {
    /// Counts a full gate without news, and a gate that was halted lately. A cached gate is enough.
    fn watch(&self, function: &CheckInFunction, known: &KnownGate, task: &OpenTask, now: UnixTime) {
        let table = function.records.table();
        let Some(gate) = &known.gate else {
            return;
        };
        if is_quiet(gate, table, now) {
            let mut counts = function.rollout_counts();
            counts.count_full(self.rollout, task.package);
        } else if is_halt_recent(gate, now) {
            let mut counts = function.rollout_counts();
            counts.count_still_halted(self.rollout, task.package);
        }
    }

    fn decide(
        &self,
        function: &CheckInFunction,
        known: &KnownGate,
        task: &OpenTask,
        now: UnixTime,
    ) -> BeginDecision {
        let Some(gate) = &known.gate else {
            tracing::warn!(device = %self.device, rollout = %self.rollout, "the rollout has no gate");
            return BeginDecision::Wait(Closed::Ended);
        };
        let read = GateRead {
            gate,
            is_fresh: known.is_fresh,
        };
        let (table, held) = (function.records.table(), task.place.as_ref());
        begin(read, table, &self.waves, self.wave, held, now)
    }
}

/// Records the health of a device that has settled, and removes what has settled from its state.
///
/// A conflict is left to the next check-in.
pub(crate) async fn settle(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &mut DeviceState,
    boot: Option<&BoundedText<64>>,
    now: UnixTime,
) -> Result<(), RecordsError> {
    let (over, left) = std::mem::take(&mut device_state.settling)
        .into_iter()
        .partition(|settling| settling.is_over(boot, now));
    device_state.settling = left;
    for settling in over {
        let rollout = settling.place.rollout;
        let (gates, records) = (&function.gates, &function.records);
        let known = gates.one(records, rollout, now).await?;
        let recorded = records.record_healthy(device, &settling, known.gate.as_ref(), now);
        match recorded.await {
            Err(error @ RecordsError::Conflict { .. }) => answer::log_records_error(&error),
            recorded => {
                recorded?;
                tracing::info!(%device, %rollout, package = %settling.package, "the device is healthy");
            }
        }
        // There are more free places now.
        gates.invalidate(rollout);
    }
    Ok(())
}

/// Returns the time to the next check-in of a Packcast agent, in seconds: earlier than usual if the
/// device is to show that it is healthy.
pub(crate) fn next_check_in_s(
    function: &CheckInFunction,
    device_state: &DeviceState,
    now: UnixTime,
) -> u32 {
    let usual_s = function.settings.check_in_interval_s;
    let settling = device_state.settling.iter();
    let settles = settling.map(|settling| settling.until.since(now));
    // A restart that was asked for has no time.
    let settles = settles.filter(|left_s| *left_s > 0);
    let begun = device_state.tasks.iter().filter_map(|task| task.place);
    let of_gate = |gate: Gate| gate.limits.settle_s(gate.wave);
    let begun = begun.filter_map(|place| function.gates.last(place.rollout).map(of_gate));
    let earliest_s = settles.chain(begun).min().unwrap_or(u64::MAX);
    let earliest_s = u32::try_from(earliest_s.max(LEAST_CHECK_IN_S)).unwrap_or(u32::MAX);
    usual_s.min(earliest_s)
}

const fn word(closed: Closed) -> HoldWord {
    match closed {
        Closed::Wave => HoldWord::WaveClosed,
        Closed::Full => HoldWord::RolloutFull,
        Closed::Paused => HoldWord::RolloutPaused,
        Closed::Restored => HoldWord::RolloutRestored,
        Closed::Halted => HoldWord::RolloutHalted,
        Closed::Ended => HoldWord::RolloutEnded,
    }
}

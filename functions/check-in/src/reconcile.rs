//! Brings a device's tasks in line with its groups, before anything is announced.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assign::PackageOnDevice;
use packcast_rollout::reconcile::{
    Reconciling, Step, candidates, is_reconciled, reconcile, withdraws,
};
use packcast_rollout::{DeviceSystem, FinishedTask, GroupState, Pacing, PackageRecord};
use packcast_store::RecordsError;
use packcast_store::records::DeviceState;

use crate::device_access::{DeviceError, admitted_state};
use crate::{CheckInFunction, answer, log_name};

/// A device whose tasks are in line with its groups.
#[derive(Debug)]
pub(crate) struct Reconciled {
    pub(crate) device_state: DeviceState,
    pub(crate) groups: Vec<GroupState>,
}

impl Reconciled {
    /// Returns the pacing of the device, given the pacing of the target.
    pub(crate) fn pacing(&self, target: Pacing) -> Pacing {
        let groups = self.groups.iter().map(|state| &state.pace);
        target.in_force(groups, &self.device_state.pace)
    }
}

/// Reconciles a device with all its groups. Nothing is written if nothing has changed.
pub(crate) async fn reconciled(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: DeviceState,
    now: UnixTime,
) -> Result<Reconciled, DeviceError> {
    let attempt = |device_state: DeviceState| async move {
        let mut groups = groups(function, device, &device_state, now).await?;
        if is_reconciled(&reconciling(device, &device_state, &groups, &[])) {
            return Ok(ControlFlow::Break(Reconciled {
                device_state,
                groups,
            }));
        }
        let mut paused = paused(function, &device_state, &groups, now).await?;
        if !paused.is_empty() {
            // The cached states of the groups may be older than the head.
            groups = current_groups(function, &device_state, now).await?;
            paused = self::paused(function, &device_state, &groups, now).await?;
        }
        let reconciling = reconciling(device, &device_state, &groups, &paused);
        if is_reconciled(&reconciling) {
            return Ok(ControlFlow::Break(Reconciled {
                device_state,
                groups,
            }));
        }
        let steps = steps(function, &reconciling, now).await?;
        if !write(function, device, &device_state, &steps).await? {
            // The conflict may come from a stale state of a group, so the next attempt reads
            // them.
            function
                .groups
                .invalidate(groups.iter().map(|state| &state.group));
        }
        let device_state = admitted_state(function, device).await?;
        Ok(ControlFlow::Continue(device_state))
    };
    function
        .records
        .retry_on_conflict(device_state, attempt)
        .await
}

/// Returns the states of the device's groups, from the cache unless they would withdraw a task.
async fn groups(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &DeviceState,
    now: UnixTime,
) -> Result<Vec<GroupState>, RecordsError> {
    let (records, memberships) = (&function.records, &device_state.memberships);
    let cached = function.groups.states(records, memberships, now).await?;
    // A stale state must not withdraw a task, so withdrawals are decided on a fresh read.
    if withdraws(&reconciling(device, device_state, &cached, &[])) {
        return current_groups(function, device_state, now).await;
    }
    Ok(cached)
}

async fn current_groups(
    function: &CheckInFunction,
    device_state: &DeviceState,
    now: UnixTime,
) -> Result<Vec<GroupState>, RecordsError> {
    let (records, memberships) = (&function.records, &device_state.memberships);
    let current = function.groups.current_states(records, memberships, now);
    current.await
}

/// Returns those of a device's groups whose records may be incomplete.
///
/// If the state is invalid, all groups are paused: the rest of the reply does not depend on it.
pub(crate) async fn paused(
    function: &CheckInFunction,
    device_state: &DeviceState,
    groups: &[GroupState],
    now: UnixTime,
) -> Result<Vec<GroupName>, RecordsError> {
    let names: Vec<GroupName> = device_state.memberships.groups().collect();
    let paused = function
        .state
        .paused(&function.records, &names, groups, now)
        .await;
    // A later change may have the same revision as such a group, and would then not be read.
    if let Some(order) = function.state.last_order() {
        let above = groups.iter().filter(|state| state.revision > order);
        function.groups.invalidate(above.map(|state| &state.group));
    }
    match paused {
        Err(error @ RecordsError::Corrupt { .. }) => {
            answer::log_records_error(&error);
            Ok(names)
        }
        paused => paused,
    }
}

fn reconciling<'a>(
    device: &'a DeviceId,
    device_state: &'a DeviceState,
    groups: &'a [GroupState],
    paused: &'a [GroupName],
) -> Reconciling<'a> {
    Reconciling {
        device,
        memberships: &device_state.memberships,
        tasks: &device_state.tasks,
        states: groups,
        paused,
    }
}

async fn steps(
    function: &CheckInFunction,
    reconciling: &Reconciling<'_>,
    now: UnixTime,
) -> Result<Vec<Step>, RecordsError> {
    let candidates = candidates(reconciling);
    let ids: Vec<PackageId> = candidates.iter().copied().collect();
    let packages = function
        .packages
        .records(&function.records, &ids, now)
        .await?;
    let package_history = PackageHistory::read(function, reconciling.device, &candidates).await?;
    let situation = |package: PackageId| {
        let open = reconciling
            .tasks
            .iter()
            .find(|task| task.package == package);
        PackageOnDevice {
            is_known: true,
            // Only an assignment to the device itself depends on the system.
            system: DeviceSystem::Unknown,
            open: open.cloned(),
            finished: package_history.finished.get(&package).cloned(),
            in_history: package_history.history.contains(&package),
        }
    };
    let package = |id: PackageId| -> Option<&PackageRecord> { packages.get(&id).map(|it| &**it) };
    Ok(reconcile(reconciling, situation, package, now))
}

async fn write(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &DeviceState,
    steps: &[Step],
) -> Result<bool, RecordsError> {
    let (mut round, host) = (device_state.round, log_name::host(device_state));
    for step in steps {
        if !function.records.write_step(device, round, step).await? {
            return Ok(false);
        }
        round = round.next();
        tracing::info!(%host, %device, changes = step.changes.len(), "reconciled the device with its groups");
    }
    Ok(true)
}

/// Earlier results and the package history of a device.
#[derive(Default)]
struct PackageHistory {
    finished: HashMap<PackageId, FinishedTask>,
    history: Vec<PackageId>,
}

impl PackageHistory {
    async fn read(
        function: &CheckInFunction,
        device: &DeviceId,
        packages: &BTreeSet<PackageId>,
    ) -> Result<Self, RecordsError> {
        if packages.is_empty() {
            return Ok(Self::default());
        }
        let finished = function.records.finished_of(device, packages).await?;
        let history = match device {
            DeviceId::Ocs(_) => function.records.history(device).await?,
            DeviceId::Agent(_) => Vec::new(),
        };
        Ok(Self { finished, history })
    }
}

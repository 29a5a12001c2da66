//! Results that devices report, applied to the records.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use packcast_protocol::api::BoundedText;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{DeviceId, Excerpt, Outcome, PackageId, ResultCode, UnixTime};
use packcast_rollout::apply::{next_attempt, used_mandates};
use packcast_rollout::command::outcome;
use packcast_rollout::reconcile::announcing_group;
use packcast_rollout::rollout::{DeviceFailure, RolloutResult, asks_restart, faults_package};
use packcast_rollout::{
    FinishedTask, OpenTask, ReportDecision, ReportedBy, WriteBudget, apply_report,
};
use packcast_store::RecordsError;
use packcast_store::records::{DeviceState, Recorded, RolloutRecorded};

use crate::device_access::{DeviceError, admitted_state};
use crate::{CheckInFunction, answer, log_name};

/// A reported result, from either kind of agent.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    pub(crate) package: PackageId,
    pub(crate) by: ReportedBy,
    pub(crate) code: ResultCode,
    pub(crate) detail: Option<String>,
    pub(crate) output_tail: Option<String>,
    /// The mandates that the attempt has used up; OCS agents report none.
    pub(crate) mandates: UsedMandates,
    /// The boot in which the attempt ended; OCS agents report none.
    pub(crate) boot: Option<BoundedText<64>>,
    /// Time of the result by the device's clock; for OCS agents, the time of the report.
    pub(crate) finished_at: UnixTime,
}

/// Applies a result to the records. Returns true if the result has ended a task.
///
/// The device always learns that the result arrived, even if the result changes nothing.
pub(crate) async fn record(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: DeviceState,
    reported: &Reported,
    now: UnixTime,
) -> Result<bool, DeviceError> {
    let attempt = |device_state: DeviceState| async move {
        let open = device_state
            .tasks
            .iter()
            .find(|task| task.package == reported.package);
        let finished = match open {
            Some(_) => None,
            None => function.records.finished(device, reported.package).await?,
        };
        let host = log_name::host(&device_state);
        match apply_report(open, finished.as_ref(), reported.by) {
            ReportDecision::Ignore(reason) => {
                let code = shown(&reported.code);
                let name = log_name::package(function, reported.package);
                match reported.by {
                    ReportedBy::Ocs => {
                        tracing::info!(%host, %name, %device, package = %reported.package, %code, ?reason, "ignored a report that changes nothing");
                    }
                    // A request of a Packcast agent can have 64 of these reports.
                    ReportedBy::Agent { .. } => {
                        tracing::debug!(%host, %name, %device, package = %reported.package, %code, ?reason, "ignored a report that changes nothing");
                    }
                }
                return Ok(ControlFlow::Break(false));
            }
            ReportDecision::Record(open) => {
                let result = finished_task(function, open, reported, now).await?;
                let records = &function.records;
                let next = next_attempt(open, &result, now);
                let ends_task = next.is_none();
                let recorded = if let Some(change) = next {
                    let record = device_state.device.as_ref();
                    let before = record.map_or_else(WriteBudget::default, |one| one.budget);
                    // A device could cancel the same package again and again.
                    let after = before.spend(now).ok_or(DeviceError::OverBudget)?;
                    records
                        .begin_next_attempt(device, &change, before, after, now)
                        .await?
                } else {
                    let tries = Box::pin(write(
                        function,
                        device,
                        &device_state,
                        open,
                        &result,
                        reported,
                        now,
                    ));
                    tries.await?
                };
                if recorded == Recorded::Written {
                    let name = log_name::package(function, result.package);
                    tracing::info!(%host, %name, %device, package = %result.package, attempt = result.attempt, code = %shown(&result.code), "recorded a result");
                    return Ok(ControlFlow::Break(ends_task));
                }
            }
        }
        let device_state = admitted_state(function, device).await?;
        Ok(ControlFlow::Continue(device_state))
    };
    function
        .records
        .retry_on_conflict(device_state, attempt)
        .await
}

/// Records a result together with its effect on the rollout of its package, if there is one.
async fn write(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &DeviceState,
    open: &OpenTask,
    result: &FinishedTask,
    reported: &Reported,
    now: UnixTime,
) -> Result<Recorded, RecordsError> {
    let records = &function.records;
    let failure = DeviceFailure {
        device: device.clone(),
        code: result.code.clone(),
    };
    // A device without a place can show a fault of the package only.
    let is_fault = result.outcome == Outcome::Failed && faults_package(&result.code);
    let rollout = match open.place {
        Some(place) => Some(place.rollout),
        None if is_fault && !open.direct => {
            let memberships = &device_state.memberships;
            let groups = function.groups.states(records, memberships, now).await?;
            let group = announcing_group(memberships, &groups, open.package);
            group.and_then(|(_, rollout)| rollout)
        }
        None => None,
    };
    let Some(rollout) = rollout else {
        return records.record_result(device, open, result).await;
    };
    let package = function.packages.one(records, open.package, now).await?;
    let asks = package.is_some_and(|it| asks_restart(&result.code, &it.reboot_codes));
    let of_rollout = RolloutResult {
        rollout,
        package: open.package,
        reported: failure,
        outcome: result.outcome,
        place: open.place,
        restart_after: reported.boot.clone().filter(|_| asks),
    };
    if !of_rollout.needs_gate() {
        return records.record_result(device, open, result).await;
    }
    let known = function.gates.one(records, rollout, now).await?;
    let cached = known.gate.as_ref();
    let recorded = records.record_rollout_result(device, open, result, &of_rollout, cached, now);
    let RolloutRecorded {
        recorded,
        has_halted,
    } = recorded.await?;
    if has_halted {
        tracing::warn!(%device, %rollout, package = %open.package, "a failure has halted the rollout");
        function
            .rollout_counts()
            .count_halted(rollout, open.package);
    }
    if result.outcome == Outcome::Failed {
        // Perhaps the rollout is halted.
        function.gates.invalidate(rollout);
    }
    Ok(recorded)
}

/// Records that a device was seen, after a result of its request has ended a task. So a device cannot
/// cause such writes at will. `last_seen` is the time on record; `None` for an unknown device.
///
/// A failure only goes to the log, because the result is on record already.
pub(crate) async fn mark_seen(
    function: &CheckInFunction,
    device: &DeviceId,
    last_seen: Option<UnixTime>,
    now: UnixTime,
) {
    if last_seen.is_none_or(|last_seen| last_seen >= now) {
        return;
    }
    if let Err(error) = function.records.mark_seen(device, now).await {
        answer::log_records_error(&error);
    }
}

/// Returns an excerpt of a code for the log, so that a hostile agent cannot fill the log.
fn shown(code: &ResultCode) -> Excerpt {
    Excerpt::within(&code.to_string(), 40)
}

async fn finished_task(
    function: &CheckInFunction,
    open: &OpenTask,
    reported: &Reported,
    now: UnixTime,
) -> Result<FinishedTask, RecordsError> {
    let package = function
        .packages
        .one(&function.records, open.package, now)
        .await?;
    let success_codes =
        // The success codes of a package without a record are unknown.
        package.map_or_else(|| BTreeSet::from([0]), |package| package.success_codes.clone());
    let outcome = outcome(open, &reported.code, &success_codes);
    Ok(FinishedTask {
        package: open.package,
        attempt: open.attempt,
        code: reported.code.clone(),
        outcome,
        detail: reported.detail.clone(),
        output_tail: reported.output_tail.clone(),
        mandate: open.mandate,
        used: used_mandates(open, outcome, reported.mandates.as_slice()),
        finished_at: reported.finished_at,
    })
}

//! DOWNLOAD: an OCS agent reports the result of a deployment.

use std::ops::ControlFlow;

use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{DeviceId, Excerpt, OcsDeviceId, PackageId, ResultCode, UnixTime};
use packcast_rollout::ReportedBy;
use packcast_rollout::command::reopen;
use packcast_store::records::Recorded;

use crate::device_access::{DeviceError, admitted_state};
use crate::{CheckInFunction, log_name, result};

/// Records the result in a DOWNLOAD.
pub(super) async fn record(
    function: &CheckInFunction,
    id: OcsDeviceId,
    package: Option<PackageId>,
    code: ResultCode,
    now: UnixTime,
) -> Result<(), DeviceError> {
    let device = DeviceId::Ocs(id);
    let Some(package) = package else {
        let code = Excerpt::within(&code.to_string(), 40);
        tracing::info!(%device, %code, "ignored a report on an unknown package");
        return Ok(());
    };
    let reported = result::Reported {
        package,
        by: ReportedBy::Ocs,
        code,
        detail: None,
        output_tail: None,
        mandates: UsedMandates::default(),
        boot: None,
        finished_at: now,
    };
    let (device, reported) = (&device, &reported);
    let attempt = |()| async move {
        let device_state = admitted_state(function, device).await?;
        let mut tasks = device_state.tasks.iter();
        let open = tasks.find(|task| task.package == package);
        // A package that the agent dropped because of a device command has not failed: its task
        // becomes pending again, with the same attempt.
        let back = open.and_then(|task| reopen(&device_state.commands, task, &reported.code));
        let Some(back) = back else {
            let last_seen = device_state.device.as_ref().map(|record| record.last_seen);
            if result::record(function, device, device_state, reported, now).await? {
                result::mark_seen(function, device, last_seen, now).await;
            }
            return Ok(ControlFlow::Break(()));
        };
        if function.records.reopen(device, &back).await? == Recorded::Written {
            let host = log_name::host(&device_state);
            let name = log_name::package(function, package);
            tracing::info!(%host, %name, %device, %package, "the agent dropped the package on command: the task is pending again");
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    };
    function.records.retry_on_conflict((), attempt).await
}

//! DOWNLOAD: an OCS agent reports how a deployment went.

use packcast_protocol::{DeviceId, OcsDeviceId, PackageId, ResultCode, UnixTime};
use packcast_rollout::ReportedBy;
use packcast_rollout::command::reopen;
use packcast_store::RecordsError;
use packcast_store::records::Recorded;

use crate::{CheckIn, result};

/// Records the result that a DOWNLOAD reports.
pub(super) async fn record(
    function: &CheckIn,
    id: OcsDeviceId,
    package: Option<PackageId>,
    code: ResultCode,
    now: UnixTime,
) -> Result<(), RecordsError> {
    let device = DeviceId::Ocs(id);
    let Some(package) = package else {
        tracing::info!(%device, %code, "report of an unknown package");
        return Ok(());
    };
    let reported = result::Reported {
        package,
        by: ReportedBy::Ocs,
        code,
        detail: None,
        output_tail: None,
        finished_at: now,
    };
    for _ in 0..result::TRIES {
        let standing = function.records.standing(&device).await?;
        let mut tasks = standing.tasks.iter();
        let open = tasks.find(|task| task.package == package);
        let back = open.and_then(|task| reopen(&standing.orders, task, &reported.code));
        let Some(back) = back else {
            return result::record(function, &device, standing.tasks, &reported, now).await;
        };
        if function.records.reopen(&device, &back).await? == Recorded::Written {
            tracing::info!(%device, %package, "dropped by order, and held again");
            return Ok(());
        }
    }
    Err(function.records.conflict())
}

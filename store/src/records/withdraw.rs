//! Withdrawing the tasks of a package that nobody is assigned any more.

use std::ops::ControlFlow;

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::OpenTask;
use packcast_rollout::reconcile::group_with;
use packcast_rollout::unassign::unassign;

use super::commit::Commit;
use super::key::Range;
use super::{Records, RecordsError};

impl Records {
    /// Drops or withdraws the open task of a package on a device, unless a group of the device has
    /// the package. The signed state does not assign the package to the device itself any more.
    ///
    /// A device that is only in groups without the package would lose the task at its next check-in.
    /// This call does not wait for it.
    pub async fn withdraw_task(
        &self,
        device: &DeviceId,
        package: PackageId,
    ) -> Result<(), RecordsError> {
        self.retry_on_conflict((), |()| async move {
            // The tasks are read after the count of reconciliations, on which the change depends.
            let Some(joining) = self.joining(device).await? else {
                return Ok(ControlFlow::Break(()));
            };
            let tasks: Vec<OpenTask> = self.all(&Range::open_tasks(device)).await?;
            let names: Vec<_> = joining.groups.groups().collect();
            let states = self.group_states(&names).await?;
            if group_with(&joining.groups, &states, package).is_some() {
                return Ok(ControlFlow::Break(()));
            }
            let finished = self.finished_of(device, &[package].into()).await?;
            let open = tasks.iter().find(|task| task.package == package);
            let (_, change) = unassign(open, finished.get(&package), None);
            let Some(change) = change else {
                return Ok(ControlFlow::Break(()));
            };
            let mut writes = self.changing(device, &change);
            writes.push(self.counting_reconciliation(device, joining.round, &[]));
            Ok(match self.commit(writes).await? {
                Commit::Done => ControlFlow::Break(()),
                Commit::Refused(_) => ControlFlow::Continue(()),
            })
        })
        .await
    }
}

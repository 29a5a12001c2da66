//! States of a package of the group `all` on devices whose records are loaded.

use std::collections::BTreeSet;

use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::reconcile::{ObservedRevision, Step};
use packcast_rollout::{
    DeviceRecord, FinishedTask, OpenTask, PackageRecord, ReconcileCount, TaskChange, TaskState,
};
use packcast_store::Records;
use packcast_store::records::{Announcing, Recorded};
use packcast_testing::table::result;
use tokio::runtime::Runtime;

use crate::world::World;

/// A package of the group `all`.
#[derive(Debug)]
pub(crate) struct Deployed {
    package: PackageRecord,
    /// The revision of the group.
    revision: u64,
}

/// The state of the package on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    ToCome,
    Waiting,
    Announced,
    Finished { code: &'static str, output: String },
}

impl Deployed {
    /// Reads a package. `all` has it, or another one.
    pub(crate) fn of(world: &World, package: PackageId) -> Self {
        let runtime = Runtime::new().expect("a runtime can be created");
        runtime.block_on(async {
            let records = world.records().await;
            let package = records.package(package).await;
            let group = records.group(&GroupName::all()).await;
            let group = group.expect("a group can be read");
            Self {
                package: package
                    .expect("a package can be read")
                    .expect("the package is published"),
                revision: group.expect("the group has the package").revision,
            }
        })
    }

    /// Lets a device check in, and brings the package into a state. All times are those of the
    /// device's last check-in.
    pub(crate) async fn load(&self, records: &Records, device: &DeviceRecord, to: &Deployment) {
        let written = records.write_check_in(device, None).await;
        written.expect("a device can check in");
        if *to == Deployment::ToCome {
            return;
        }
        match to {
            Deployment::Finished { code, output } => {
                self.finish(records, device, code, output).await;
            }
            Deployment::Announced => {
                let task = self.open(records, device).await;
                self.announce(records, device, &task).await;
            }
            Deployment::Waiting | Deployment::ToCome => drop(self.open(records, device).await),
        }
    }

    /// Records a result of the package on a device that has checked in.
    pub(crate) async fn finish(
        &self,
        records: &Records,
        device: &DeviceRecord,
        code: &str,
        output: &str,
    ) {
        let task = self.open(records, device).await;
        let result = FinishedTask {
            output_tail: Some(output.to_owned()),
            finished_at: device.last_seen,
            ..result(&task, code)
        };
        let recorded = records.record_result(&device.device, &task, &result).await;
        let recorded = recorded.expect("a result can be recorded");
        assert_eq!(recorded, Recorded::Written);
    }

    async fn open(&self, records: &Records, device: &DeviceRecord) -> OpenTask {
        let task = OpenTask {
            package: self.package.id,
            priority: self.package.priority,
            attempt: 1,
            state: TaskState::Pending,
            force: false,
            direct: false,
            mandate: None,
            group_mandate: None,
            used: BTreeSet::new(),
            place: None,
            assigned_at: device.last_seen,
        };
        let step = Step {
            changes: vec![TaskChange::Open {
                task: task.clone(),
                before: None,
            }],
            observed: vec![ObservedRevision {
                group: GroupName::all(),
                from: 0,
                to: self.revision,
            }],
        };
        let written = records.write_step(&device.device, ReconcileCount::FIRST, &step);
        assert!(written.await.expect("a task can be opened"));
        task
    }

    async fn announce(&self, records: &Records, device: &DeviceRecord, task: &OpenTask) {
        let all = GroupName::all();
        let announcing = [Announcing {
            task,
            by_group: Some((&all, self.revision)),
            place: None,
        }];
        let announced = records.announce(&device.device, 0, &announcing, device.last_seen);
        announced.await.expect("a task can be announced");
    }
}

//! Results: an open task becomes a finished one.

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::{FinishedTask, OpenTask};

use super::{Records, RecordsError};

/// What came of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Written,
    /// Another result, or another change of the task, came first; nothing was written.
    Superseded,
}

impl Records {
    /// Returns the result of a device's latest finished attempt at a package.
    pub async fn finished(
        &self,
        _device: &DeviceId,
        _package: PackageId,
    ) -> Result<Option<FinishedTask>, RecordsError> {
        unimplemented!()
    }

    /// Returns the results of all packages that a device has finished, by package id.
    pub async fn finished_tasks(
        &self,
        _device: &DeviceId,
    ) -> Result<Vec<FinishedTask>, RecordsError> {
        unimplemented!()
    }

    /// Ends an announced or withdrawn task with its result, and counts it once.
    pub async fn record_result(
        &self,
        _device: &DeviceId,
        _task: &OpenTask,
        _result: &FinishedTask,
    ) -> Result<Recorded, RecordsError> {
        unimplemented!()
    }
}

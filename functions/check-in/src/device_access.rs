//! Refusal of blocked and removed devices, at the one read of their records.

use bytes::Bytes;
use http::{Response, StatusCode};
use packcast_protocol::api::ProblemKind;
use packcast_protocol::ocs::reply::{DOWNLOAD_REPLY, INVENTORY_REFUSAL, INVENTORY_REPLY};
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::exclusion::ExclusionKind;
use packcast_rollout::{DeviceRecord, Exclusion, OpenTask};
use packcast_store::RecordsError;
use packcast_store::records::{CheckInItems, CheckInWritten, DeviceState};

use crate::{CheckInFunction, answer};

/// Errors from answering a device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("the device is excluded")]
    Excluded(Box<ExcludedState>),
    #[error("the device has spent its write budget")]
    OverBudget,
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// An excluded device with its open tasks.
#[derive(Debug)]
pub(crate) struct ExcludedState {
    pub(crate) exclusion: Exclusion,
    pub(crate) tasks: Vec<OpenTask>,
}

/// Reads the state of a device.
///
/// # Errors
/// The device is excluded. Nothing else is read then, and nothing is written.
pub(crate) async fn admitted_state(
    function: &CheckInFunction,
    device: &DeviceId,
) -> Result<DeviceState, DeviceError> {
    let mut device_state = function.records.device_state(device).await?;
    match device_state.excluded.take() {
        None => Ok(device_state),
        Some(exclusion) => {
            let kind = exclusion.kind;
            tracing::debug!(%device, %kind, "refused an excluded device");
            let tasks = device_state.tasks;
            Err(DeviceError::Excluded(Box::new(ExcludedState {
                exclusion,
                tasks,
            })))
        }
    }
}

/// Records a check-in, together with the items that have changed. Returns false if another write of
/// the device came first.
///
/// # Errors
/// The device was excluded after its state was read.
pub(crate) async fn record_check_in(
    function: &CheckInFunction,
    record: &DeviceRecord,
    known: Option<&DeviceRecord>,
    items: CheckInItems<'_>,
) -> Result<bool, DeviceError> {
    let records = &function.records;
    match records.write_check_in_with(record, known, items).await? {
        CheckInWritten::Written => Ok(true),
        CheckInWritten::Superseded => Ok(false),
        CheckInWritten::Excluded => {
            admitted_state(function, &record.device).await?;
            Ok(false)
        }
    }
}

impl ExcludedState {
    /// Refuses a request of a Packcast agent. The reply leaves out the reason.
    pub(crate) fn problem(&self, now: UnixTime) -> Response<Bytes> {
        let (kind, detail) = match self.exclusion.kind {
            ExclusionKind::Blocked => (
                ProblemKind::Blocked,
                "this device is blocked: ask the administrator of the target to unblock it",
            ),
            ExclusionKind::Removed => (
                ProblemKind::Removed,
                "this device was removed: ask the administrator of the target to unblock it",
            ),
        };
        answer::problem(kind, detail, now)
    }

    /// Returns the reply to an INVENTORY.
    ///
    /// The empty reply ends a blocked agent before it starts a download process. A removed agent
    /// starts one, which drops its packages.
    pub(crate) const fn inventory_reply(&self) -> &'static [u8] {
        match self.exclusion.kind {
            ExclusionKind::Blocked => INVENTORY_REFUSAL,
            ExclusionKind::Removed => INVENTORY_REPLY.as_bytes(),
        }
    }

    /// Answers a DOWNLOAD.
    ///
    /// A blocked agent keeps its result, because the status is not 200. A removed agent discards
    /// its result, because the status is 200.
    pub(crate) fn download_response(&self) -> Response<Bytes> {
        match self.exclusion.kind {
            ExclusionKind::Blocked => {
                answer::ocs_failure(StatusCode::FORBIDDEN, "this device is blocked")
            }
            ExclusionKind::Removed => answer::compressed(Bytes::from_static(DOWNLOAD_REPLY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        let exclusion = Exclusion {
            kind: ExclusionKind::Blocked,
            since: UnixTime(1_795_000_000),
            reason: None,
        };
        let tasks = Vec::new();
        let errors = [
            DeviceError::Excluded(Box::new(ExcludedState { exclusion, tasks })),
            DeviceError::OverBudget,
        ];
        let lines = errors.map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"), @"
        the device is excluded
        the device has spent its write budget
        ");
    }
}

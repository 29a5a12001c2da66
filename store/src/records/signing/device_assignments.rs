//! Device assignments: a signed item beside the record of a device with a Packcast agent.
//!
//! The record of the device has the revision and the time of issue of this item. The item itself
//! is outside the range that a check-in reads, because most devices hold the newest one already.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::assignments::{Assignee, Assignments, Held, SignedAssignments};
use packcast_protocol::{AgentId, DeviceId};
use packcast_rollout::assignments::{self, Change};

use super::{Signing, SigningError};
use crate::records::exclusion::{NOT_REMOVED, not_removed};
use crate::records::item;
use crate::records::key::Key;
use crate::records::names::{ISSUED, REVISION, SIGNED};
use crate::records::stored::{self, DeviceAssignmentsItem};
use crate::records::write::{self, ABSENT, PRESENT, Terms};
use crate::records::{Records, RecordsError};

/// Errors from changing device assignments.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// The device assignments before a change.
#[derive(Debug)]
pub(crate) enum DeviceAssignments<'a> {
    /// The device has an OCS agent, which has no signed assignments.
    Ocs,
    Agent {
        agent: &'a AgentId,
        before: Option<Assignments>,
    },
}

/// The next device assignments, with the write that records them.
#[derive(Debug)]
pub(crate) struct NextDeviceAssignments {
    recipient: Assignee,
    /// State to write into the device's record.
    pub(crate) held: Held,
    write: TransactWriteItem,
}

impl NextDeviceAssignments {
    pub(crate) fn write(&self) -> TransactWriteItem {
        self.write.clone()
    }
}

impl Signing<'_> {
    /// Remembers that these device assignments are on record now.
    pub(crate) fn remember_assignments(self, next: Option<&NextDeviceAssignments>) {
        if let Some(NextDeviceAssignments {
            recipient, held, ..
        }) = next
        {
            self.remember(recipient, Some(*held));
        }
    }
}

impl Records {
    /// Returns the signed device assignments of a device.
    pub async fn device_assignments(
        &self,
        device: &DeviceId,
    ) -> Result<Option<SignedAssignments>, RecordsError> {
        let item: Option<DeviceAssignmentsItem> =
            self.get(&Key::device_assignments(device)).await?;
        Ok(item.map(|item| item.signed))
    }

    /// Reads device assignments, which must be signed by the publisher.
    ///
    /// Read device assignments before the other inputs of a change. If the device assignments change
    /// after this read, the condition of the write fails, and the change is decided again.
    pub(crate) async fn read_assignments<'a>(
        &self,
        device: &'a DeviceId,
        signing: Signing<'_>,
    ) -> Result<DeviceAssignments<'a>, AssignError> {
        let DeviceId::Agent(agent) = device else {
            return Ok(DeviceAssignments::Ocs);
        };
        let recipient = Assignee::Device(agent.clone());
        let signed = self.device_assignments(device).await?;
        let before = signed.map(|signed| signing.verify_latest(&signed, &recipient));
        let before = before.transpose()?;
        Ok(DeviceAssignments::Agent { agent, before })
    }

    /// Checks that a publisher can sign the next assignments of a device: it has signed the recorded
    /// ones, and remembers no later ones.
    pub async fn check_assignments(
        &self,
        device: &DeviceId,
        signing: Signing<'_>,
    ) -> Result<(), AssignError> {
        self.read_assignments(device, signing).await.map(drop)
    }

    /// Signs the device assignments that result from a change, and returns them with the write that
    /// records them. Returns `None` if nothing changes.
    pub(crate) fn next_assignments(
        &self,
        assignments: &DeviceAssignments<'_>,
        change: Change<'_>,
        signing: Signing<'_>,
    ) -> Result<Option<NextDeviceAssignments>, SigningError> {
        let DeviceAssignments::Agent { agent, before } = assignments else {
            return Ok(None);
        };
        let next = assignments::change(agent, before.as_ref(), change, signing.now)?;
        let held = before.as_ref().map(Assignments::held);
        next.map(|next| self.write_of_assignments(agent, held, &next, signing))
            .transpose()
    }

    /// Returns the update that writes the signed state into the record of a device that is not
    /// removed. If nothing was signed, returns a check that there is such a record.
    pub(crate) fn known_device(
        &self,
        device: &DeviceId,
        next: Option<&NextDeviceAssignments>,
    ) -> TransactWriteItem {
        let key = Key::device(device);
        let terms = not_removed(Terms::default());
        let condition = format!("{PRESENT} AND {NOT_REMOVED}");
        if next.is_none() {
            return write::check(self.table(), &key, &condition, &terms);
        }
        let (expression, terms) = signed(next, "SET".to_owned(), " ", terms);
        write::update(self.table(), &key, &expression, Some(&condition), &terms)
    }

    /// Signs device assignments, and returns them with the write that replaces the previous ones.
    pub(crate) fn write_of_assignments(
        &self,
        agent: &AgentId,
        before: Option<Held>,
        next: &Assignments,
        signing: Signing<'_>,
    ) -> Result<NextDeviceAssignments, SigningError> {
        let held = next.held();
        let signed = signing.sign_assignments(next)?;
        let device = DeviceId::Agent(agent.clone());
        let item = stored::device_assignments(&device, &DeviceAssignmentsItem { held, signed });
        let write = match before {
            None => write::put(self.table(), item, ABSENT, &Terms::default()),
            Some(before) => {
                let terms = Terms::default()
                    .name(REVISION)
                    .name(ISSUED)
                    .value("revision", item::number(&before.revision))
                    .value("issued", item::number(&before.issued));
                let unchanged = "#revision = :revision AND #issued = :issued";
                write::put(self.table(), item, unchanged, &terms)
            }
        };
        Ok(NextDeviceAssignments {
            recipient: next.recipient().clone(),
            held,
            write,
        })
    }
}

/// Adds the signed state of the device assignments to the update of a device.
pub(crate) fn signed(
    next: Option<&NextDeviceAssignments>,
    expression: String,
    separator: &str,
    terms: Terms,
) -> (String, Terms) {
    match next {
        None => (expression, terms),
        Some(next) => (
            format!("{expression}{separator}#signed = :signed"),
            terms
                .name(SIGNED)
                .value("signed", item::attribute(&next.held)),
        ),
    }
}

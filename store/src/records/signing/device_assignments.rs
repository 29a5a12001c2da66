//! What our agents' devices are assigned themselves, signed: an item beside the device's record,
//! which says which state of it there is.
//!
//! It is outside of what a check-in reads, as a device that holds it does not ask for it.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::assignments::{Assignee, Assignments, Held, SignedAssignments};
use packcast_protocol::{AgentId, DeviceId};
use packcast_rollout::assignments::{self, Change};

use super::{Signing, SigningError};
use crate::records::item;
use crate::records::key::Key;
use crate::records::names::{ISSUED, REVISION, SIGNED};
use crate::records::stored::{self, DeviceAssignmentsItem};
use crate::records::write::{self, ABSENT, PRESENT, Terms};
use crate::records::{Records, RecordsError};

/// Why a device's own assignments were not changed.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// A device's own assignments as they were read, which the next are made from.
#[derive(Debug)]
pub(crate) enum DeviceAssignments<'a> {
    /// A stock agent checks none, and has none.
    Stock,
    Agent {
        agent: &'a AgentId,
        before: Option<Assignments>,
    },
}

/// The next assignments of a device.
#[derive(Debug)]
pub(crate) struct NextDeviceAssignments {
    recipient: Assignee,
    /// To be written with the device's record.
    pub(crate) held: Held,
    write: TransactWriteItem,
}

impl NextDeviceAssignments {
    pub(crate) fn write(&self) -> TransactWriteItem {
        self.write.clone()
    }
}

impl Signing<'_> {
    /// Remembers a device's assignments that are on record now.
    pub(crate) fn remember_assignments(self, next: Option<&NextDeviceAssignments>) {
        if let Some(NextDeviceAssignments {
            recipient, held, ..
        }) = next
        {
            self.written(recipient, Some(*held));
        }
    }
}

impl Records {
    /// Returns what a device is assigned itself, as it was signed.
    pub async fn device_assignments(
        &self,
        device: &DeviceId,
    ) -> Result<Option<SignedAssignments>, RecordsError> {
        let own: Option<DeviceAssignmentsItem> = self.get(&Key::device_assignments(device)).await?;
        Ok(own.map(|own| own.signed))
    }

    /// Reads what a device is assigned itself; it has to be the publisher's.
    ///
    /// To be read before what else the change is decided from: what is read later may be
    /// newer, and then the change does not hold.
    pub(crate) async fn read_assignments<'a>(
        &self,
        device: &'a DeviceId,
        signing: Signing<'_>,
    ) -> Result<DeviceAssignments<'a>, AssignError> {
        let DeviceId::Agent(agent) = device else {
            return Ok(DeviceAssignments::Stock);
        };
        let recipient = Assignee::Device(agent.clone());
        let signed = self.device_assignments(device).await?;
        let before = signed.map(|signed| signing.ours(&signed, &recipient));
        let before = before.transpose()?;
        Ok(DeviceAssignments::Agent { agent, before })
    }

    /// Signs what a change leads to, and returns how it is written; none if nothing changes.
    pub(crate) fn next_assignments(
        &self,
        own: &DeviceAssignments<'_>,
        change: Change<'_>,
        signing: Signing<'_>,
    ) -> Result<Option<NextDeviceAssignments>, SigningError> {
        let DeviceAssignments::Agent { agent, before } = own else {
            return Ok(None);
        };
        let next = assignments::change(agent, before.as_ref(), change, signing.now)?;
        let held = before.as_ref().map(Assignments::held);
        next.map(|next| self.writing_assignments(agent, held, &next, signing))
            .transpose()
    }

    /// Notes down beside a known device what was signed, if something was.
    pub(crate) fn known_device(
        &self,
        device: &DeviceId,
        next: Option<&NextDeviceAssignments>,
    ) -> TransactWriteItem {
        let key = Key::device(device);
        if next.is_none() {
            return write::check(self.table(), &key, PRESENT, &Terms::default());
        }
        let (expression, terms) = signed(next, "SET".to_owned(), " ", Terms::default());
        write::update(self.table(), &key, &expression, Some(PRESENT), &terms)
    }

    /// Signs a device's assignments, and returns how they take the place of those before.
    pub(crate) fn writing_assignments(
        &self,
        agent: &AgentId,
        before: Option<Held>,
        next: &Assignments,
        signing: Signing<'_>,
    ) -> Result<NextDeviceAssignments, SigningError> {
        let held = next.held();
        let signed = signing.signed(next)?;
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

/// Adds to the update of a device which state of its own assignments was signed.
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

//! Enrolment batches: the number of devices that each has enrolled, and these devices.

use packcast_protocol::DeviceId;
use packcast_protocol::enrolment::EnrolmentBatch;

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::names::ENROLLED;
use super::write::{self, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Counts the enrolment of a device with the token of a batch.
    ///
    /// A device counts once, however often it tries: a check-in may fail after its enrolment was
    /// counted. Returns false, and counts nothing, if the batch has enrolled all of its devices.
    pub async fn count_enrolment(
        &self,
        batch: &EnrolmentBatch,
        device: &DeviceId,
    ) -> Result<bool, RecordsError> {
        const HAS_ROOM: &str = "attribute_not_exists(#enrolled) OR #enrolled < :devices";
        let terms = Terms::default()
            .name(ENROLLED)
            .value("one", item::number(&1))
            .value("devices", item::number(&batch.devices()));
        let member = Key::batch_member(batch.id(), device).attributes();
        let count = Key::batch(batch.id());
        let writes = vec![
            write::create(self.table(), member),
            write::update(
                self.table(),
                &count,
                "ADD #enrolled :one",
                Some(HAS_ROOM),
                &terms,
            ),
        ];
        Ok(match self.commit(writes).await? {
            Commit::Done => true,
            // The first condition fails if the device was counted before, even in a full batch.
            Commit::Refused(refused) => refused.first() == Some(&true),
        })
    }
}

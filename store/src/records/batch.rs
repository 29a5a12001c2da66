//! Enrolment batches: the number of devices that each has enrolled.

use packcast_protocol::enrolment::EnrolmentBatch;

use super::item;
use super::key::Key;
use super::names::ENROLLED;
use super::write::Terms;
use super::{Records, RecordsError};

impl Records {
    /// Counts the enrolment of a device with the token of a batch.
    ///
    /// Returns false, and counts nothing, if the batch has enrolled all of its devices. If the
    /// reply of the table is lost, an enrolment may count twice.
    pub async fn count_enrolment(&self, batch: &EnrolmentBatch) -> Result<bool, RecordsError> {
        const HAS_ROOM: &str = "attribute_not_exists(#enrolled) OR #enrolled < :devices";
        let terms = Terms::default()
            .name(ENROLLED)
            .value("one", item::number(&1))
            .value("devices", item::number(&batch.devices()));
        let key = Key::batch(batch.id());
        let counted = self.change(&key, "ADD #enrolled :one", HAS_ROOM, &terms);
        Ok(counted.await?.is_some())
    }
}

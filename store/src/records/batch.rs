//! Enrolment batches: the number of devices that each has enrolled, and these devices.

use packcast_protocol::enrolment::{BatchId, EnrolmentBatch};
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::event::{ChangedBy, UnsignedChange};
use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::item;
use super::key::{Key, Range};
use super::names::{BATCH, ENROLLED, EXPIRES, LIMIT, REVOKED};
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// An enrolment batch on record. It is on record from its first enrolment, or its revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    pub batch: BatchId,
    /// Number of devices that the token has enrolled.
    #[serde(default)]
    pub enrolled: u32,
    /// Number of devices that the token enrols. `None` before the first enrolment.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Time from which the token enrols no device. `None` before the first enrolment.
    #[serde(default)]
    pub expires: Option<UnixTime>,
    /// Time at which an administrator revoked the token.
    #[serde(default)]
    pub revoked: Option<UnixTime>,
}

/// Outcome of an enrolment with the token of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The batch counts the device.
    Counted,
    /// The batch has enrolled all of its devices.
    Full,
    /// An administrator has revoked the token.
    Revoked,
}

impl Records {
    /// Counts the enrolment of a device with the token of a batch.
    ///
    /// A device counts once, however often it tries: a check-in may fail after its enrolment was
    /// counted. Counts nothing if the batch has enrolled all of its devices, or is revoked.
    pub async fn count_enrolment(
        &self,
        batch: &EnrolmentBatch,
        device: &DeviceId,
    ) -> Result<Enrolment, RecordsError> {
        const COUNT: &str =
            "ADD #enrolled :one SET #batch = :batch, #limit = :limit, #expires = :expires";
        const HAS_ROOM: &str = "attribute_not_exists(#revoked) AND (attribute_not_exists(#enrolled) OR #enrolled < :limit)";
        let terms = Terms::default()
            .name(BATCH)
            .name(ENROLLED)
            .name(EXPIRES)
            .name(LIMIT)
            .name(REVOKED)
            .value("one", item::number(&1))
            .value("batch", item::attribute(batch.id()))
            .value("limit", item::number(&batch.devices()))
            .value("expires", item::attribute(&batch.expires()));
        let member = Key::batch_member(batch.id(), device).attributes();
        let count = Key::batch(batch.id());
        let writes = vec![
            write::create(self.table(), member),
            write::update(self.table(), &count, COUNT, Some(HAS_ROOM), &terms),
        ];
        let refused = match self.commit(writes).await? {
            Commit::Done => return Ok(Enrolment::Counted),
            Commit::Refused(refused) => refused,
        };
        let recorded = self.batch_record(batch.id()).await?;
        Ok(if recorded.is_some_and(|batch| batch.revoked.is_some()) {
            Enrolment::Revoked
        } else if refused.first() == Some(&true) {
            // The first condition fails if the device was counted before, even in a full batch.
            Enrolment::Counted
        } else {
            Enrolment::Full
        })
    }

    /// Revokes the token of a batch: it enrols no further device. Returns false if it was revoked
    /// already.
    ///
    /// A batch that has enrolled no device yet can be revoked, too.
    pub async fn revoke_batch(
        &self,
        batch: &BatchId,
        by: &ChangedBy,
    ) -> Result<bool, RecordsError> {
        const NOT_REVOKED: &str = "attribute_not_exists(#revoked)";
        let terms = Terms::default()
            .name(BATCH)
            .name(REVOKED)
            .value("batch", item::attribute(batch))
            .value("now", item::attribute(&by.at.second()));
        let update = write::update(
            self.table(),
            &Key::batch(batch),
            "SET #batch = :batch, #revoked = :now",
            Some(NOT_REVOKED),
            &terms,
        );
        let event = UnsignedChange::TokenRevoked {
            batch: batch.clone(),
        };
        let writes = vec![update, self.event(by, event)];
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Returns the record of a batch. `None` before its first enrolment or revocation.
    pub async fn batch_record(&self, batch: &BatchId) -> Result<Option<BatchRecord>, RecordsError> {
        let item = self.get_item(&Key::batch(batch)).await?;
        item.map(|item| item::read_at(item, |record: &BatchRecord| Key::batch(&record.batch)))
            .transpose()
    }

    /// Returns the batches on record, in the order of their ids.
    pub async fn batches(&self) -> Result<Vec<BatchRecord>, RecordsError> {
        self.all(&Range::batches()).await
    }
}

//! The statement of the table up to which head all records are complete.

use packcast_store::records::RecordedHead;
use packcast_store::{Records, RecordsError};

/// The head up to which all records are complete, as the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordedUpTo {
    /// No records were completed so far.
    Nothing,
    Head(RecordedHead),
    /// The statement is unreadable.
    Unknown,
}

impl RecordedUpTo {
    pub(crate) async fn read(records: &Records) -> Result<Self, RecordsError> {
        match records.recorded_head().await {
            Ok(None) => Ok(Self::Nothing),
            Ok(Some(head)) => Ok(Self::Head(head)),
            Err(RecordsError::Corrupt { .. }) => Ok(Self::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of changes of the head. It is 0 if the statement is unreadable.
    pub(crate) const fn order(self) -> u64 {
        match self {
            Self::Head(head) => head.order,
            Self::Nothing | Self::Unknown => 0,
        }
    }

    /// Returns true if no command can have made the statement. `head` was read after it.
    pub(crate) fn is_forged(self, head: &RecordedHead) -> bool {
        match self {
            Self::Nothing => false,
            Self::Head(recorded) => recorded.order >= head.order && recorded != *head,
            Self::Unknown => true,
        }
    }
}

/// Records that all records up to a head are complete. `before` is the earlier statement.
pub(super) async fn record(
    records: &Records,
    head: &RecordedHead,
    before: RecordedUpTo,
) -> Result<(), RecordsError> {
    if before.is_forged(head) {
        records.replace_recorded_head(head).await
    } else {
        records.record_head(head).await
    }
}

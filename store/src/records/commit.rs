//! Writing several records at once, or none.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::{
    CancellationReason, ConsumedCapacity, ReturnConsumedCapacity, TransactWriteItem,
};

use super::error::TableFault;
use super::{Records, RecordsError};

/// Outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// All writes were made.
    Done,
    /// Nothing was written. For each write, in order, the value is true if the condition of the
    /// write did not hold. At least one is true.
    Refused(Vec<bool>),
}

impl Records {
    /// Writes all or nothing.
    ///
    /// Every try carries the same token, so that a transaction whose answer was lost is not
    /// repeated.
    pub(super) async fn commit(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Commit, RecordsError> {
        Ok(self.commit_metered(writes).await?.0)
    }

    /// Writes all or nothing, and returns the consumed write units.
    pub(super) async fn commit_metered(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(Commit, f64), RecordsError> {
        let token = &format!("{:032x}", fastrand::u128(..));
        let writes = &writes;
        self.persevere(|| async move {
            let sent = self
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .client_request_token(token)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match sent {
                Ok(output) => Ok((Commit::Done, consumed(&output))),
                Err(error) => Ok((self.refused(error)?, 0.0)),
            }
        })
        .await
    }

    fn refused(&self, error: SdkError<TransactWriteItemsError>) -> Result<Commit, RecordsError> {
        let cancelled = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled,
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => {
                return Err(self.conflict());
            }
            _ => return Err(self.failed(error)),
        };
        // A failed condition comes first, because it is final. A conflict is worth another try only
        // if all conditions hold.
        let reasons = cancelled.cancellation_reasons();
        if any(reasons, &["ConditionalCheckFailed"]) {
            let failed = |reason| any(std::slice::from_ref(reason), &["ConditionalCheckFailed"]);
            Ok(Commit::Refused(reasons.iter().map(failed).collect()))
        } else if any(reasons, &["TransactionConflict"]) {
            Err(self.conflict())
        } else if any(
            reasons,
            &["ThrottlingError", "ProvisionedThroughputExceeded"],
        ) {
            Err(self.fault(TableFault::Throttled, error))
        } else {
            Err(self.failed(error))
        }
    }
}

fn consumed(output: &TransactWriteItemsOutput) -> f64 {
    output
        .consumed_capacity()
        .iter()
        .filter_map(ConsumedCapacity::capacity_units)
        .sum()
}

fn any(reasons: &[CancellationReason], codes: &[&str]) -> bool {
    reasons
        .iter()
        .filter_map(CancellationReason::code)
        .any(|code| codes.contains(&code))
}

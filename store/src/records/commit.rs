//! Writing several records at once, or none.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::types::{
    CancellationReason, ConsumedCapacity, ReturnConsumedCapacity, TransactWriteItem,
};

use super::error::TableFault;
use super::{Records, RecordsError};

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// Nothing was written: tells for each write whether its condition did not hold. At
    /// least one did not.
    Refused(Vec<bool>),
}

/// The pauses between tries, each up to twice as long as the one before, with jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    const TRIES: u32 = 10;
    const FIRST_MS: u64 = 10;
    const LONGEST_MS: u64 = 1_000;

    /// Waits, unless there were enough tries; tells whether there may be another.
    pub(super) async fn pause(&mut self) -> bool {
        self.tries += 1;
        if self.tries >= Self::TRIES {
            return false;
        }
        let longest = Self::LONGEST_MS.min(Self::FIRST_MS << self.tries);
        let pause = Duration::from_millis(fastrand::u64(0..=longest));
        tokio::time::sleep(pause).await;
        true
    }
}

impl Records {
    /// Asks again, a bounded number of times, while others write the same records.
    ///
    /// The question is a plain closure that returns a future, not an async one: only of the
    /// former can a caller's runtime be told that it may move between threads.
    pub(super) async fn persevere<T, F>(&self, ask: impl Fn() -> F) -> Result<T, RecordsError>
    where
        F: Future<Output = Result<T, RecordsError>>,
    {
        let mut backoff = Backoff::default();
        loop {
            match ask().await {
                Err(error) if error.is_contention() => {
                    if !backoff.pause().await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// Writes all or nothing.
    ///
    /// Every try carries the same token, so that one whose answer was lost is not done again.
    pub(super) async fn commit(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Commit, RecordsError> {
        Ok(self.commit_metered(writes).await?.0)
    }

    /// Writes all or nothing, and returns the write units that it has cost.
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

//! Retrying a change after a conflict with another change.

use std::ops::ControlFlow;

use super::{Records, RecordsError};

/// Maximum number of attempts at one change.
const ATTEMPTS: u32 = 16;

impl Records {
    /// Attempts a change until it succeeds, at most 16 times.
    ///
    /// An attempt reads records, decides, and writes on the condition that these records have not
    /// changed. It returns `Break` with the result of the change, or, if another change came
    /// first, `Continue` with the state for the next attempt. There is no pause between attempts,
    /// because a conflict means that the other change is complete.
    ///
    /// `attempt` is a plain closure that returns a future, not an async closure. In generic code,
    /// the compiler cannot prove that the future of an async closure is `Send`, and callers on a
    /// multi-threaded runtime need a future that is `Send`.
    ///
    /// # Errors
    /// An attempt failed, or all attempts met other changes ([`RecordsError::Conflict`]).
    pub async fn retry_on_conflict<S, T, E, F>(
        &self,
        first: S,
        attempt: impl Fn(S) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<ControlFlow<T, S>, E>>,
        E: From<RecordsError>,
    {
        let mut state = first;
        for _ in 0..ATTEMPTS {
            match attempt(state).await? {
                ControlFlow::Break(done) => return Ok(done),
                ControlFlow::Continue(next) => state = next,
            }
        }
        Err(self.conflict().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let endpoint = Some("http://127.0.0.1:1");
        Records::connect_within_lambda("packcast", "eu-west-1".to_owned(), endpoint)
    }

    /// Runs attempts until the attempt with this number succeeds.
    async fn attempts(last: u32) -> Result<u32, RecordsError> {
        let attempt = |number: u32| async move {
            Ok(if number == last {
                ControlFlow::Break(number)
            } else {
                ControlFlow::Continue(number + 1)
            })
        };
        records().retry_on_conflict(1, attempt).await
    }

    #[tokio::test]
    async fn an_attempt_continues_from_the_state_of_the_previous_attempt() {
        assert_eq!(attempts(1).await.unwrap(), 1);
        assert_eq!(attempts(ATTEMPTS).await.unwrap(), ATTEMPTS);
    }

    #[tokio::test]
    async fn too_many_attempts_end_with_a_conflict() {
        let error = attempts(ATTEMPTS + 1).await.unwrap_err();
        assert!(matches!(error, RecordsError::Conflict { .. }));
    }
}

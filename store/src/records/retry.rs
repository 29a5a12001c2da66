//! Retrying a change that met another change of the same records.

use std::ops::ControlFlow;

use super::{Records, RecordsError};

/// The most attempts at one change.
const ATTEMPTS: u32 = 16;

impl Records {
    /// Runs attempts at a change until one ends it, at most 16 times.
    ///
    /// An attempt reads records, decides, and writes on the condition that those records have
    /// not changed. It breaks with the result of the change; if another change came first, it
    /// continues with the state for the next attempt. There is no pause in between: a conflict
    /// means that the other change is complete.
    ///
    /// The attempt is a plain closure that returns a future, not an async one: only of the
    /// former can a caller's runtime be told that it may move between threads.
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

    /// Ends with the attempt of this number.
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
    async fn an_attempt_goes_on_from_the_state_of_the_one_before() {
        assert_eq!(attempts(1).await.unwrap(), 1);
        assert_eq!(attempts(ATTEMPTS).await.unwrap(), ATTEMPTS);
    }

    #[tokio::test]
    async fn attempts_end_with_a_conflict() {
        let error = attempts(ATTEMPTS + 1).await.unwrap_err();
        assert!(matches!(error, RecordsError::Conflict { .. }));
    }
}

//! Repeating a request while others write the same records.

use std::time::Duration;

use super::{Records, RecordsError};

/// Pauses between tries, each up to twice as long as the previous one, with jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pauses: u32,
}

impl Backoff {
    const TRIES: u32 = 10;
    const FIRST_MS: u64 = 20;
    const LONGEST_MS: u64 = 1_000;

    /// Waits before the next try. Returns false, without waiting, if there were enough tries.
    pub(super) async fn pause(&mut self) -> bool {
        if self.pauses + 1 >= Self::TRIES {
            return false;
        }
        let pause = fastrand::u64(0..=Self::longest_ms(self.pauses));
        self.pauses += 1;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        true
    }

    /// Returns the limit of the next pause in milliseconds, after this number of pauses.
    fn longest_ms(pauses: u32) -> u64 {
        Self::LONGEST_MS.min(Self::FIRST_MS << pauses)
    }
}

impl Records {
    /// Repeats a request, at most ten times, while others write the same records.
    ///
    /// `send` is a plain closure that returns a future, not an async closure: only for the former
    /// can a caller promise its runtime that the future may move between threads.
    pub(super) async fn persevere<T, F>(&self, send: impl Fn() -> F) -> Result<T, RecordsError>
    where
        F: Future<Output = Result<T, RecordsError>>,
    {
        let mut backoff = Backoff::default();
        loop {
            match send().await {
                Err(error) if error.is_contention() => {
                    if !backoff.pause().await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let longest: Vec<u64> = (0..Backoff::TRIES - 1).map(Backoff::longest_ms).collect();
        assert_eq!(longest, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
    }
}

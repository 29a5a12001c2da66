//! A limit of the reads for differences, for pages that show the newest commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::StateError;

/// The number of pages and documents of 4 KiB that may still be read. Clones share it.
///
/// A read that would exceed the limit does not begin, so the rest of the limit is there for smaller
/// ones.
#[derive(Clone, Debug)]
pub(crate) struct ReadLimit(Arc<AtomicUsize>);

impl ReadLimit {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(most)))
    }

    /// Takes items before they are read.
    pub(super) fn take(limit: Option<&Self>, items: usize) -> Result<(), StateError> {
        let Some(Self(left)) = limit else {
            return Ok(());
        };
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(items)
        });
        taken.map(drop).map_err(|_| StateError::OverLimit)
    }

    /// Takes the lengths of items that were read, beyond the first 4 KiB of each.
    pub(super) fn spend(limit: Option<&Self>, lengths: impl Iterator<Item = usize>) {
        if let Some(Self(left)) = limit {
            let more: usize = lengths.map(|length| length >> 12).sum();
            let spent = |left: usize| Some(left.saturating_sub(more));
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_beyond_the_limit_takes_nothing() {
        let limit = ReadLimit::new(10);
        let take = |items| ReadLimit::take(Some(&limit), items).is_ok();
        assert!(take(4) && !take(7) && take(2));
        ReadLimit::spend(Some(&limit), [100, 4_096, 9_000].into_iter());
        assert!(!take(2) && take(1) && !take(1));
        assert!(ReadLimit::take(None, usize::MAX).is_ok());
    }
}

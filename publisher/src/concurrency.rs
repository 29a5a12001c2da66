//! The concurrency of operations on many devices or groups.

/// The number of requests that an operation has open at a time.
pub(crate) const AT_ONCE: usize = 16;

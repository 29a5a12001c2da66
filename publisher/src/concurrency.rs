//! The number of requests that an operation on many devices or groups has open at a time.

/// How many requests are open at a time.
pub(crate) const AT_ONCE: usize = 16;

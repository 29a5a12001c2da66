//! What every place of objects does, and what a directory and a bucket do besides.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod answers;
#[macro_use]
mod conformance;
mod bucket_faults;
mod directory;
mod s3;

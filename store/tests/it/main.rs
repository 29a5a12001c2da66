//! Objects in a directory and in a bucket, and records in a table.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot continue fails where it is"
)]

mod answers;
#[macro_use]
mod conformance;
mod bucket_faults;
mod directory;
mod records;
mod s3;

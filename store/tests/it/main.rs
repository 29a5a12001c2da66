//! What every place of objects does, and what a directory does besides.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

#[macro_use]
mod conformance;
mod directory;

//! The local system, tested over its sockets.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has to fail"
)]

mod edge;
mod restart;
mod system;

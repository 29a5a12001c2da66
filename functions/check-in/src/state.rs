//! The signed state of a target, sent to a device in parts of one commit.
//!
//! The function can sign nothing, and verifies no commit: devices do. So a commit that somebody forged
//! in the table costs a device one refused reply.

mod cache;
mod hold;
mod paused;
mod reply;
mod rollouts;
mod sending;

pub use cache::StateCache;
pub use reply::{StateFacts, StateQuestion, needs_state};

//! The life of a package on this device.
//!
//! [`step`](step::step) decides, and does nothing. [`Deployment`] does what was decided, one
//! effect at a time, and tells what came of it. What is on disk when the agent dies is all that
//! the next start has to go by.

mod attempt;
mod decide;
mod halt;
mod machine;
mod perform;
#[cfg(test)]
mod properties;
mod step;

pub(crate) use self::machine::{Event, State};
pub(crate) use self::perform::Deployment;

//! The life of a package on this device.
//!
//! [`step`](step::step) decides, and does nothing. [`Deployment`] does what was decided, one
//! effect at a time, and tells what came of it. What is on disk when the agent dies is all that
//! the next start has to go by.

mod attempt;
mod decide;
mod halt;
mod perform;
#[cfg(test)]
mod properties;
mod step;

pub(crate) use self::perform::Deployment;
pub(crate) use self::step::{Event, State};

//! The life of a package on this device.
//!
//! [`step`](step::step) is a pure function that decides. [`Deployment`] performs each effect and
//! passes its result to the next step. After a crash, the next start knows only the files on disk.

mod attempt;
mod attempt_error;
mod decide;
mod go;
mod later_questions;
mod machine;
mod perform;
#[cfg(test)]
mod properties;
mod step;

pub(crate) use self::later_questions::LaterQuestions;
pub(crate) use self::machine::{DeploymentState, ProgramFate, StepEvent};
pub(crate) use self::perform::Deployment;

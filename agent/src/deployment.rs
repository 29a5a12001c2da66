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
mod removals;
mod step;

pub(crate) use self::later_questions::LaterQuestions;
pub(crate) use self::machine::{DeploymentState, ProgramFate, StepEvent};
pub(crate) use self::perform::Deployment;
pub(crate) use self::removals::Removals;

/// Runs blocking work on a thread of its own, so that nothing else waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

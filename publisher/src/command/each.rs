//! Work on many devices or groups, one question for each.

use indicatif::ProgressBar;

use crate::failure::{Failure, Kind};

/// How many questions are asked at once.
pub(crate) const AT_ONCE: usize = 16;

/// Stops at Ctrl-C and says how far it has come; `what` names those that are counted.
pub(crate) async fn until_interrupted<T>(
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
    bar: &ProgressBar,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            let (done, of) = (bar.position(), bar.length().unwrap_or_default());
            bar.abandon();
            let why = format!("interrupted after {done} of {of} {what}");
            Err(Failure::new(Kind::TryLater, why)
                .hint("what was done stays done: run the same command again to go on"))
        }
    }
}

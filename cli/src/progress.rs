//! Progress bars, and operations that Ctrl-C interrupts.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use packcast_publisher::{Failure, Kind, Progress, Step, Work};

/// Shows the progress of an operation. Shows nothing if standard error is not a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    shown: ProgressBar,
    progress: Progress,
    /// The result of the operation is decided: only records are left.
    is_decided: Arc<AtomicBool>,
}

impl Bar {
    /// Creates a bar that stays hidden until its work begins.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let is_decided = Arc::new(AtomicBool::new(false));
        let (shown, decided) = (bar.clone(), Arc::clone(&is_decided));
        let progress = Progress::new(move |step| match step {
            Step::Begin { work, total } => {
                decided.store(work == Work::Recording, Ordering::Relaxed);
                begin(&shown, work, total);
            }
            Step::Advance(units) => shown.inc(units),
            Step::End => shown.finish_and_clear(),
        });
        Self {
            shown: bar,
            progress,
            is_decided,
        }
    }

    /// Returns the progress that moves this bar.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

fn begin(bar: &ProgressBar, work: Work, total: u64) {
    let template = if is_in_bytes(work) {
        "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
    } else {
        "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}"
    };
    let style = ProgressStyle::with_template(template).expect("the template has known keys only");
    bar.reset();
    bar.set_style(style);
    bar.set_message(name(work));
    bar.set_length(total);
    if is_in_bytes(work) {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
}

const fn is_in_bytes(work: Work) -> bool {
    matches!(
        work,
        Work::Packing | Work::Checking | Work::Publishing | Work::Verifying
    )
}

const fn name(work: Work) -> &'static str {
    match work {
        Work::Packing => "packing",
        Work::Checking => "checking",
        Work::Publishing => "publishing",
        Work::Verifying => "verifying",
        Work::Assigning => "assigning",
        Work::Unassigning => "unassigning",
        Work::Adding => "adding",
        Work::Removing => "removing",
        Work::Recording => "completing records",
        Work::Auditing => "auditing",
        Work::Importing => "importing",
    }
}

/// Runs an operation until it ends or Ctrl-C is pressed. `units` names the things that its bar
/// counts, such as `devices`.
///
/// If only records are left, Ctrl-C is no failure: the operation returns its result.
pub(crate) async fn until_interrupted<T>(
    units: &str,
    work: impl Future<Output = Result<T, Failure>>,
    bar: &Bar,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    // The first poll registers the handler, before the work begins.
    let registered = poll_fn(|context| Poll::Ready(interrupt.as_mut().poll(context))).await;
    if registered.is_pending() {
        tokio::select! {
            done = &mut work => return done,
            _ = interrupt => {}
        }
    }
    if bar.is_decided.load(Ordering::Relaxed) {
        bar.progress.stop();
        tokio::select! {
            done = &mut work => return done,
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    let interrupted = interrupted(bar.shown.position(), bar.shown.length(), units);
    // The bar stays on the terminal, so that a person sees the completed part.
    bar.shown.abandon();
    Err(interrupted)
}

fn interrupted(done: u64, of: Option<u64>, units: &str) -> Failure {
    let why = match of {
        Some(of) => format!("interrupted after {done} of {of} {units}"),
        None => "interrupted".to_owned(),
    };
    Failure::new(Kind::TryLater, why).hint("run the same command again to complete the rest")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn every_kind_of_work_has_a_name() {
        let all = [
            Work::Packing,
            Work::Checking,
            Work::Publishing,
            Work::Verifying,
            Work::Assigning,
            Work::Unassigning,
            Work::Adding,
            Work::Removing,
            Work::Recording,
            Work::Auditing,
            Work::Importing,
        ];
        assert_snapshot!(all.map(name).join("\n"), @"
        packing
        checking
        publishing
        verifying
        assigning
        unassigning
        adding
        removing
        completing records
        auditing
        importing
        ");
    }

    #[test]
    fn an_interruption_reports_the_completed_part() {
        assert_snapshot!(interrupted(5, Some(240), "devices"), @"
        interrupted after 5 of 240 devices
        hint: run the same command again to complete the rest
        ");
        assert_snapshot!(interrupted(0, None, "devices"), @"
        interrupted
        hint: run the same command again to complete the rest
        ");
    }
}

//! The progress of work in the background, for the pages that show it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maud::{Markup, html};
use packcast_publisher::Progress;
use packcast_publisher::progress::{Step, Work};

use crate::words::{bytes, grouped};

/// The progress of work, written by a thread and read by pages.
#[derive(Debug, Default)]
pub(crate) struct Gauge(Mutex<Level>);

/// The progress at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    work: Option<Work>,
    total: u64,
    done: u64,
}

impl Gauge {
    /// Returns a progress that moves the gauge.
    pub(crate) fn progress(self: &Arc<Self>) -> Progress {
        let gauge = Arc::clone(self);
        Progress::new(move |step| gauge.lock().apply(step))
    }

    pub(crate) fn level(&self) -> Level {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Level> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Level {
    const fn apply(&mut self, step: Step) {
        match step {
            Step::Begin { work, total } => {
                *self = Self {
                    work: Some(work),
                    total,
                    done: 0,
                };
            }
            Step::Advance(units) => self.done = self.done.saturating_add(units),
            Step::End => self.done = self.total,
        }
    }

    /// Writes the progress in words.
    pub(crate) fn text(self) -> String {
        let (work, number): (&str, fn(u64) -> String) = match self.work {
            None => return "Starting".to_owned(),
            Some(Work::Packing) => ("Packing", bytes),
            Some(Work::Checking) => ("Checking", bytes),
            Some(Work::Publishing) => ("Uploading", bytes),
            Some(Work::Verifying) => ("Fetching", bytes),
            Some(Work::Assigning) => ("Looking at devices", grouped),
            Some(Work::Unassigning) => ("Withdrawing the package from devices", grouped),
            Some(Work::Adding | Work::Removing) => ("Looking for devices", grouped),
            Some(Work::Recording) => ("Writing the records of devices", grouped),
            Some(Work::Auditing | Work::Importing) => ("Working", grouped),
        };
        let done = self.done.min(self.total);
        format!("{work}: {} of {}", number(done), number(self.total))
    }

    /// Writes the progress as a bar with its words.
    pub(crate) fn bar(self) -> Markup {
        let is_known = self.total > 0;
        html! {
            label for="gauge" { (self.text()) }
            progress.wide #gauge max="1000" value=[is_known.then(|| self.thousandths())] {}
        }
    }

    fn thousandths(self) -> u64 {
        let done = u128::from(self.done.min(self.total)) * 1_000;
        let share = done.checked_div(u128::from(self.total)).unwrap_or(0);
        u64::try_from(share).unwrap_or(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_shows_the_work_and_its_part_that_is_done() {
        let mut level = Level::default();
        let mut lines = vec![level.text()];
        let total = 10 << 20;
        for step in [
            Step::Begin {
                work: Work::Checking,
                total,
            },
            Step::Advance(5 << 20),
            Step::Advance(total),
            Step::Begin {
                work: Work::Publishing,
                total: 0,
            },
            Step::End,
            Step::Begin {
                work: Work::Recording,
                total: 100_000,
            },
            Step::Advance(25_000),
        ] {
            level.apply(step);
            lines.push(format!("{} {}", level.text(), level.thousandths()));
        }
        let lines = lines.join("\n").replace('\u{202F}', " ");
        insta::assert_snapshot!(lines, @"
        Starting
        Checking: 0 bytes of 10.0 MiB 0
        Checking: 5.0 MiB of 10.0 MiB 500
        Checking: 10.0 MiB of 10.0 MiB 1000
        Uploading: 0 bytes of 0 bytes 0
        Uploading: 0 bytes of 0 bytes 0
        Writing the records of devices: 0 of 100 000 0
        Writing the records of devices: 25 000 of 100 000 250
        ");
    }
}

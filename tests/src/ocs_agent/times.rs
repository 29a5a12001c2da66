//! Duration of stories with the OCS agent, compared with the pauses in the announced configuration.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use packcast_rollout::PackageRecord;
use packcast_rollout::pacing::{Announced, Pacing};

use super::OcsCheckIn;

/// The environment variable with the name of a file, to which each story adds its line.
const VARIABLE: &str = "PACKCAST_OCS_TIMES";

/// The times of one story; a line is written when they are dropped.
#[derive(Debug, Default)]
pub struct Times {
    measured: Cell<Duration>,
    pauses_s: Cell<u64>,
}

impl Times {
    /// Adds a check-in with its announced packages.
    pub fn add<'a>(
        &self,
        check_in: &OcsCheckIn,
        announced: impl IntoIterator<Item = &'a PackageRecord>,
    ) {
        let pace = Pacing {
            fragment_pause_s: check_in.announced_pause("FRAG_LATENCY"),
            cycle_pause_s: check_in.announced_pause("CYCLE_LATENCY"),
            period_pause_s: check_in.announced_pause("PERIOD_LATENCY"),
            ..Pacing::default()
        };
        let announced = announced.into_iter().map(|package| {
            let published = package
                .published()
                .expect("an announced package is published");
            (package.priority, published.fragments)
        });
        let announced: Vec<Announced> = announced.collect();
        let pauses_s = pace.longest_s(&announced);
        self.pauses_s.update(|sum| sum + pauses_s);
        self.measured.update(|sum| sum + check_in.took);
    }
}

impl Drop for Times {
    fn drop(&mut self) {
        let Some(file) = std::env::var_os(VARIABLE) else {
            return;
        };
        if self.pauses_s.get() == 0 || std::thread::panicking() {
            return;
        }
        let story = std::env::var("NEXTEST_TEST_NAME").unwrap_or_default();
        let rule = story.rsplit(':').next().unwrap_or_default();
        let rule = rule.replace('_', " ");
        let measured_s = self.measured.get().as_secs_f64();
        let pauses_s = self.pauses_s.get();
        let line = format!("{measured_s:5.1} s, pauses of at most {pauses_s:2} s: {rule}\n");
        let file = OpenOptions::new().create(true).append(true).open(file);
        let mut file = file.expect("the times can be written");
        let written = file.write_all(line.as_bytes());
        written.expect("the times can be written");
    }
}

//! How long stories with the stock agent take, beside the pauses that it is told to make.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use packcast_rollout::PackageRecord;
use packcast_rollout::pace::{Announced, Pacing};

use super::Contact;

/// The environment variable with the file that each story adds its line to.
const VARIABLE: &str = "PACKCAST_OCS_TIMES";

/// The times of one story; its line is written when they are dropped.
#[derive(Debug, Default)]
pub struct Times {
    measured: Cell<Duration>,
    pauses_s: Cell<u64>,
}

impl Times {
    /// Adds a contact and the packages that it was told.
    pub fn add<'a>(&self, contact: &Contact, told: impl IntoIterator<Item = &'a PackageRecord>) {
        let pace = Pacing {
            fragment_pause_s: contact.told_pause("FRAG_LATENCY"),
            cycle_pause_s: contact.told_pause("CYCLE_LATENCY"),
            period_pause_s: contact.told_pause("PERIOD_LATENCY"),
            ..Pacing::default()
        };
        let announced = told.into_iter().map(|package| {
            let published = package.published().expect("it was told");
            (package.priority, published.fragments)
        });
        let announced: Vec<Announced> = announced.collect();
        let pauses_s = pace.longest_s(&announced);
        self.pauses_s.update(|sum| sum + pauses_s);
        self.measured.update(|sum| sum + contact.took);
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

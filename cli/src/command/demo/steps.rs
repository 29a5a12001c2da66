//! The steps of the demo and how long each took.

use std::time::{Duration, Instant};

use crate::output;

/// Shows each step when it is done, and all of them at the end.
#[derive(Debug)]
pub(super) struct Steps {
    started: Instant,
    last: Instant,
    done: Vec<(String, Duration)>,
}

impl Steps {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            last: now,
            done: Vec::new(),
        }
    }

    /// Notes that a step is done, which began when the one before it was.
    pub(super) fn done(&mut self, step: &str, what: &str) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        output::data(&format!(
            "{:>9}  {step:<11}  {what}",
            seconds(now - self.started)
        ));
        match self.done.last_mut() {
            Some((last, sum)) if last == step => *sum += took,
            _ => self.done.push((step.to_owned(), took)),
        }
    }

    /// Returns a line a step, with its own time, and the sum. Repeated steps count as one.
    pub(super) fn table(&self) -> String {
        let total = self.last - self.started;
        let steps = self
            .done
            .iter()
            .map(|(step, took)| [step.clone(), seconds(*took)]);
        output::table(
            ["STEP", "TOOK"],
            steps.chain([["in all".to_owned(), seconds(total)]]),
        )
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

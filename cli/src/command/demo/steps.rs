//! The steps of the demo with their times.

use std::time::{Duration, Instant};

use crate::output;

/// Prints each step when it is done, and a table of all steps at the end.
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

    /// Prints a completed step, and records its duration: the time since the previous step ended.
    pub(super) fn done(&mut self, step: &str, detail: &str) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        output::data(&line(now - self.started, step, detail));
        match self.done.last_mut() {
            Some((last, sum)) if last == step => *sum += took,
            _ => self.done.push((step.to_owned(), took)),
        }
    }

    /// Returns a table with the duration of each step, and the sum. Consecutive repetitions of a
    /// step share one row.
    pub(super) fn table(&self) -> String {
        let total = self.last - self.started;
        let steps = self
            .done
            .iter()
            .map(|(step, took)| [step.clone(), seconds(*took)]);
        output::table(
            ["STEP", "TIME"],
            steps.chain([["total".to_owned(), seconds(total)]]),
        )
    }
}

/// Formats a step: the time since the start of the demo, the step, and its detail.
fn line(at: Duration, step: &str, detail: &str) -> String {
    format!("{:>9}  {step:<11}  {detail}", seconds(at))
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn the_table_has_a_row_for_each_step_and_the_sum() {
        let started = Instant::now();
        let done = [("built", 250), ("downloaded", 1_500)]
            .map(|(step, took)| (step.to_owned(), Duration::from_millis(took)));
        let steps = Steps {
            started,
            last: started + Duration::from_millis(1_750),
            done: done.to_vec(),
        };
        assert_snapshot!(on_terminals(|| steps.table()), @"
        80:
        STEP        TIME
        built       0.250 s
        downloaded  1.500 s
        total       1.750 s

        140:
        STEP        TIME
        built       0.250 s
        downloaded  1.500 s
        total       1.750 s
        ");
        assert_snapshot!(line(Duration::from_millis(250), "built", "a sample"), @"  0.250 s  built        a sample");
    }
}

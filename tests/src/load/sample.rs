//! The measurements of a part of a run.

use std::fmt;
use std::time::Duration;

/// The answers of one period.
#[derive(Clone, Debug, Default)]
pub struct LoadSample {
    /// Time since the start of the run. `None` for the whole run.
    pub from: Option<Duration>,
    pub duration: Duration,
    /// The latency of each answered request, in microseconds, in no order.
    pub latencies_us: Vec<u32>,
    /// Number of requests that were answered with 503.
    pub unavailable: u32,
    /// Number of requests with another status, or without an answer.
    pub failed: u32,
    /// Resident memory of the server's process at the end of the period.
    pub memory_kib: u64,
}

impl LoadSample {
    /// Returns the sample of all periods together.
    pub fn whole(samples: &[Self]) -> Self {
        let mut whole = Self::default();
        for sample in samples {
            whole.duration += sample.duration;
            whole.latencies_us.extend(&sample.latencies_us);
            whole.unavailable += sample.unavailable;
            whole.failed += sample.failed;
            whole.memory_kib = whole.memory_kib.max(sample.memory_kib);
        }
        whole
    }

    /// Returns the latency in milliseconds that this many hundredths of the requests do not exceed.
    pub fn latency_ms(&self, hundredths: usize) -> f64 {
        let mut latencies = self.latencies_us.clone();
        let last = latencies.len().saturating_sub(1);
        if latencies.is_empty() {
            return 0.0;
        }
        let (_, latency, _) = latencies.select_nth_unstable(last * hundredths / 100);
        f64::from(*latency) / 1e3
    }

    /// Returns true if each request was answered with success.
    pub const fn is_answered(&self) -> bool {
        !self.latencies_us.is_empty() && self.unavailable == 0 && self.failed == 0
    }
}

impl fmt::Display for LoadSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.map(|from| format!("{} s", from.as_secs()));
        let count = u32::try_from(self.latencies_us.len()).unwrap_or(u32::MAX);
        write!(
            f,
            "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {} | {} | {:.1} |",
            from.as_deref().unwrap_or("whole run"),
            f64::from(count) / self.duration.as_secs_f64(),
            self.latency_ms(50),
            self.latency_ms(99),
            self.latency_ms(100),
            self.unavailable,
            self.failed,
            f64::from(u32::try_from(self.memory_kib).unwrap_or(u32::MAX)) / 1024.0,
        )
    }
}

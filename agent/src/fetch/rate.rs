//! The rate limit of downloads.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The longest idle time for which later downloads may catch up.
const CREDIT: Duration = Duration::from_millis(250);

/// The lowest average rate that the agent accepts from a location, in bytes per second.
///
/// The value is below the rate of the slowest network connections, so that the agent abandons only
/// locations that stall.
pub(super) const LOWEST_RATE: u64 = 512;

/// The lowest rate limit that a configuration can set, in bytes per second.
const LOWEST: u64 = 1024;

/// A rate of at least 1 KiB per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Rate(NonZeroU64);

impl Rate {
    /// Returns the time that this many bytes take, rounded up to a nanosecond.
    fn time_for(self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.0.get()));
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

/// Parses a whole number with a unit.
///
/// Units are bytes (`B/s`, `KiB/s`, `MiB/s`, `GiB/s`, `kB/s`, `MB/s`, `GB/s`) or bits (`kbit/s`,
/// `Mbit/s`, `Gbit/s`), in upper or lower case.
impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).map(Self).ok_or_else(|| {
            format!("{text:?} is not a rate of at least 1KiB/s: write 2MiB/s, 500kB/s or 10Mbit/s")
        })
    }
}

fn parse(text: &str) -> Option<NonZeroU64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (factor, per_byte) = match unit.trim_start().to_ascii_lowercase().as_str() {
        "b/s" => (1, 1),
        "kib/s" => (1 << 10, 1),
        "mib/s" => (1 << 20, 1),
        "gib/s" => (1 << 30, 1),
        "kb/s" => (1_000, 1),
        "mb/s" => (1_000_000, 1),
        "gb/s" => (1_000_000_000, 1),
        "kbit/s" => (1_000, 8),
        "mbit/s" => (1_000_000, 8),
        "gbit/s" => (1_000_000_000, 8),
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)? / per_byte;
    NonZeroU64::new(bytes).filter(|bytes| bytes.get() >= LOWEST)
}

/// A token bucket that may go into debt.
///
/// A download that takes more than the bucket contains waits until the debt is paid, and later
/// downloads wait for the same debt. All times count from the creation of the [`Throttle`].
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    /// The time at which everything taken is paid for.
    paid: Duration,
}

impl Bucket {
    const fn full(rate: Rate) -> Self {
        Self {
            rate,
            paid: Duration::ZERO,
        }
    }

    /// Takes bytes that have arrived, and returns the pause before the next bytes may be read.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        // An idle time counts only up to `CREDIT`, which bounds the burst after a long pause.
        let start = self.paid.max(now.saturating_sub(CREDIT));
        self.paid = start.saturating_add(self.rate.time_for(bytes));
        self.paid.saturating_sub(now)
    }
}

/// Limits the rate of all downloads together, if there is a limit.
#[derive(Debug)]
pub(crate) struct Throttle(Option<(Instant, Mutex<Bucket>)>);

impl Throttle {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| (Instant::now(), Mutex::new(Bucket::full(rate)))))
    }

    /// Waits until the bytes that have just arrived are within the rate.
    pub(crate) async fn pay(&self, bytes: usize) {
        let wait = self.take(bytes as u64);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn take(&self, bytes: u64) -> Duration {
        let Some((start, bucket)) = &self.0 else {
            return Duration::ZERO;
        };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(bytes, start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn a_rate_may_have_any_usual_unit() {
        let check = |text, bytes| assert_eq!(rate(text).0.get(), bytes, "{text}");
        check("2MiB/s", 2 << 20);
        check("2 MiB/s", 2 << 20);
        check("1024B/s", 1024);
        check("500kB/s", 500_000);
        check("500KB/s", 500_000);
        check("10Mbit/s", 1_250_000);
        check("1gbit/s", 125_000_000);
    }

    #[test]
    fn invalid_rates_are_refused_with_an_example() {
        for text in [
            "",
            "0MiB/s",
            "1023B/s",
            "-1MiB/s",
            "1.5MiB/s",
            "2MiB",
            "2",
            "MiB/s",
            "2 M/s",
            "99999999999GiB/s",
        ] {
            let error = Rate::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("write 2MiB/s"), "{error}");
        }
    }

    #[test]
    fn a_download_waits_for_the_debt_of_earlier_downloads() {
        let mut bucket = Bucket::full(rate("1024B/s"));
        let ms = Duration::from_millis;
        assert_eq!(bucket.take(2048, ms(10_000)), ms(1_750));
        assert_eq!(bucket.take(1024, ms(10_000)), ms(2_750));
        assert_eq!(bucket.take(1024, ms(12_000)), ms(1_750));
        assert_eq!(bucket.take(1, ms(1_000_000)), ms(0), "the debt is paid");
    }

    proptest! {
        #[test]
        fn no_period_exceeds_the_rate(takes in proptest::collection::vec((1_u64..50_000, 0_u64..2_000), 1..50)) {
            let rate = rate("10kB/s");
            let mut bucket = Bucket::full(rate);
            let (mut now, mut taken) = (Duration::from_secs(9), 0);
            let start = now;
            for (bytes, idle_ms) in takes {
                now += bucket.take(bytes, now);
                taken += bytes;
                prop_assert!(now + CREDIT >= start + rate.time_for(taken));
                now += Duration::from_millis(idle_ms);
            }
        }
    }
}

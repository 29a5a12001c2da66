//! The only place of this crate that reads the clock.

use std::time::SystemTime;

use packcast_protocol::UnixTime;
use packcast_rollout::EventTime;

/// A time before this version of the program was built.
///
/// A constant keeps builds reproducible. Each release raises it.
pub(crate) const BEFORE_BUILD: UnixTime = UnixTime(1_793_491_200); // 2026-11-01

/// Returns the current time.
pub fn now() -> UnixTime {
    SystemTime::now().into()
}

/// Returns the current time of an event, or of a change of the head.
pub(crate) fn event_time() -> EventTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let microseconds = since.map_or(0, |since| since.as_micros());
    EventTime::of_microseconds(microseconds.try_into().unwrap_or(u64::MAX))
}

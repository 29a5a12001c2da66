//! The only place of this crate that reads the clock.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// A time before this version of the program was built.
///
/// A constant keeps builds reproducible. Each release raises it.
pub(crate) const BEFORE_BUILD: UnixTime = UnixTime(1_793_491_200); // 2026-11-01

/// Returns the current time.
pub fn now() -> UnixTime {
    SystemTime::now().into()
}

//! The device's clock. Only this module reads it.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// A time before this version of the agent was built.
///
/// A constant keeps builds reproducible. Each release raises it.
pub(crate) const BEFORE_BUILD: UnixTime = UnixTime(1_793_491_200); // 2026-11-01

/// Returns the time of the device's clock.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

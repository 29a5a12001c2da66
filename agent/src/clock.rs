//! The device's clock. Only this module reads it.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// Returns the time of the device's clock.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

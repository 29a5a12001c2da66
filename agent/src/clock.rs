//! The one place that asks what time it is.

use std::time::SystemTime;

use packcast_protocol::UnixTime;

/// Returns what the device's clock says.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

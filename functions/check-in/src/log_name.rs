//! Names for the log, so that people recognise devices and packages.

use packcast_protocol::{Excerpt, PackageId};
use packcast_store::records::DeviceState;

use crate::CheckInFunction;

/// Largest length of a name in a line of the log, in bytes.
const MAX_BYTES: usize = 64;

/// Returns the host name that a device reports; empty before its first check-in.
pub(crate) fn host(device_state: &DeviceState) -> Excerpt {
    let record = device_state.device.as_ref();
    let name = record.map_or("", |device| device.host_name.as_str());
    Excerpt::within(name, MAX_BYTES)
}

/// Returns the name and version of a package, or its id if the function has not read the package.
pub(crate) fn package(function: &CheckInFunction, id: PackageId) -> Excerpt {
    let name = function.packages.cached(id).map_or_else(
        || id.to_string(),
        |package| format!("{}@{}", package.name, package.version),
    );
    Excerpt::within(&name, MAX_BYTES)
}

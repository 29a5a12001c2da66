//! Deactivates a package: from then on the check-in function announces it to no further
//! device.

use packcast_protocol::PackageRef;
use packcast_rollout::PackageRecord;

use crate::failure::Failure;
use crate::package::find;
use crate::target::Target;

/// Deactivates a package.
///
/// Once this function has returned, the package is announced to no more devices.
pub async fn deactivate(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    Ok(target.records.deactivate(package.id).await?)
}

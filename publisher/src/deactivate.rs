//! Deactivation: from then on no more devices are told of a package.

use packcast_protocol::PackageRef;
use packcast_rollout::PackageRecord;

use crate::failure::Failure;
use crate::package::find;
use crate::target::Target;

/// Deactivates a package. Once this has returned, no device is told of the package that was not
/// told before.
pub async fn deactivate(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    Ok(target.records.deactivate(package.id).await?)
}

//! Packages of a target, as people name them.

use packcast_protocol::PackageRef;
use packcast_rollout::{PackageRecord, Published};

use crate::failure::Failure;
use crate::target::Target;

/// How many packages are read by default: the number that takes about a second.
pub const NEWEST: usize = 100;

/// Finds the package with this id or `name@version`.
pub async fn find(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    target.records.find(reference).await?.ok_or_else(|| {
        Failure::failed(format!(
            "there is no package {reference} in target {}",
            target.name
        ))
        .hint("'packcast list' shows what there is")
    })
}

/// Finds the package with this id or `name@version`; a deleted one is a conflict.
pub async fn find_kept(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    if package.is_deleted() {
        let why = format!("package {} {} was deleted", package.id, named(&package));
        return Err(Failure::conflict(why).hint("publish it under another version"));
    }
    Ok(package)
}

/// Returns the published part of a package; a draft is a conflict.
pub fn published(package: &PackageRecord) -> Result<&Published, Failure> {
    package.published().ok_or_else(|| {
        let why = format!(
            "package {} {} is not published yet",
            package.id,
            named(package)
        );
        Failure::conflict(why).hint("the same 'packcast publish' command completes it")
    })
}

/// Returns `name@version`.
pub fn named(package: &PackageRecord) -> String {
    format!("{}@{}", package.name, package.version)
}

/// Returns the state of a package in one word.
pub fn state(package: &PackageRecord) -> &'static str {
    match (package.published(), package.active) {
        _ if package.is_deleted() => "deleted",
        (None, _) => "draft",
        (Some(_), false) => "published",
        (Some(_), true) => "active",
    }
}

/// Returns the newest packages, at most `limit`, the newest last.
pub async fn newest(target: &Target, limit: usize) -> Result<Vec<PackageRecord>, Failure> {
    Ok(target.records.packages(limit).await?)
}

/// Returns the packages that were deleted.
pub async fn deleted(target: &Target) -> Result<Vec<PackageRecord>, Failure> {
    Ok(target.records.deleted_packages().await?)
}

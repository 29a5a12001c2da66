//! Finds packages of a target, and writes their names and states.

mod warnings;

use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_rollout::{PackageRecord, Published};

pub(crate) use self::warnings::{refuse_expired, warn_of_expiry, warn_of_packages};
use crate::failure::Failure;
use crate::target::Target;

/// The default number of packages in a list. Reading so many takes about a second.
pub const NEWEST: usize = 100;

/// The next step if a package cannot be deployed any more.
pub(crate) const PUBLISH_AGAIN_HINT: &str = "publish its content under another version, and assign that version: devices deploy it as a new package";

/// Finds a package for display, deleted packages included. Warns if the package or the signed state
/// expires soon, or if the key of the package is no longer a publisher key.
pub async fn show(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    Ok(package)
}

/// Finds the package with this id or `name@version`, deleted packages included.
pub async fn find(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let found = target.records.find(reference).await?;
    found.ok_or_else(|| not_found(reference, &target.name))
}

fn not_found(reference: &PackageRef, target: &str) -> Failure {
    Failure::failed(format!(
        "cannot find package {reference} in target {target}"
    ))
    .hint("run 'packcast list' to see the packages")
}

/// Finds the package with this id or `name@version`. A deleted package is a conflict.
pub async fn find_kept(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    if package.is_deleted() {
        return Err(deleted_package(package.id, &named(&package)));
    }
    Ok(package)
}

fn deleted_package(id: PackageId, name: &str) -> Failure {
    Failure::conflict(format!("package {id} {name} was deleted"))
        .hint("publish the package under another version")
}

/// Returns the published part of a package. A draft is a conflict.
pub fn published(package: &PackageRecord) -> Result<&Published, Failure> {
    let published = package.published();
    published.ok_or_else(|| not_published(package.id, &named(package)))
}

fn not_published(id: PackageId, name: &str) -> Failure {
    Failure::conflict(format!("package {id} {name} is not published yet"))
        .hint("run the same 'packcast publish' command again to complete the publication")
}

/// Returns `name@version`.
pub fn named(package: &PackageRecord) -> String {
    format!("{}@{}", package.name, package.version)
}

/// Returns the state of a package in one word.
///
/// An expired package is neither announced nor assigned, so its activation does not matter.
pub fn state(package: &PackageRecord, now: UnixTime) -> &'static str {
    match (package.published(), package.active) {
        _ if package.is_deleted() => "deleted",
        (None, _) => "draft",
        (Some(published), _) if published.expired(now).is_some() => "expired",
        (Some(_), false) => "published",
        (Some(_), true) => "active",
    }
}

/// Returns at most `limit` of the newest packages, the newest last.
///
/// Warns as [`show`] does.
pub async fn newest(target: &Target, limit: usize) -> Result<Vec<PackageRecord>, Failure> {
    let packages = target.records.packages(limit).await?;
    warn_of_packages(target, &packages).await?;
    Ok(packages)
}

/// Returns the deleted packages.
pub async fn deleted(target: &Target) -> Result<Vec<PackageRecord>, Failure> {
    Ok(target.records.deleted_packages().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{expiring, failures};

    #[test]
    fn an_expired_package_is_neither_active_nor_published() {
        let now = UnixTime(1_795_000_000);
        let in_state = |expires, active| {
            let package = PackageRecord {
                active,
                ..expiring(expires)
            };
            state(&package, now)
        };
        assert_eq!(in_state(None, true), "active");
        assert_eq!(in_state(Some(now.plus(1)), false), "published");
        assert_eq!(in_state(Some(now), true), "expired");
        assert_eq!(in_state(Some(now), false), "expired");
    }

    #[test]
    fn errors_of_packages_have_next_steps() {
        let (reference, id) = ("tool@1".parse().unwrap(), "1795000000".parse().unwrap());
        let errors = [
            not_found(&reference, "prod"),
            deleted_package(id, "tool@1"),
            not_published(id, "tool@1"),
        ];
        insta::assert_snapshot!(failures(errors), @r"
        Failed: cannot find package tool@1 in target prod
        hint: run 'packcast list' to see the packages
        Conflict: package 1795000000 tool@1 was deleted
        hint: publish the package under another version
        Conflict: package 1795000000 tool@1 is not published yet
        hint: run the same 'packcast publish' command again to complete the publication
        ");
    }
}

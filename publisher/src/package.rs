//! Finds packages of a target, and writes their names and states.

use packcast_protocol::{PackageId, PackageRef};
use packcast_rollout::{PackageRecord, Published};

use crate::failure::Failure;
use crate::target::Target;

/// The default number of packages in a list. Reading so many takes about a second.
pub const NEWEST: usize = 100;

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
pub fn state(package: &PackageRecord) -> &'static str {
    match (package.published(), package.active) {
        _ if package.is_deleted() => "deleted",
        (None, _) => "draft",
        (Some(_), false) => "published",
        (Some(_), true) => "active",
    }
}

/// Returns at most `limit` of the newest packages, the newest last.
pub async fn newest(target: &Target, limit: usize) -> Result<Vec<PackageRecord>, Failure> {
    Ok(target.records.packages(limit).await?)
}

/// Returns the deleted packages.
pub async fn deleted(target: &Target) -> Result<Vec<PackageRecord>, Failure> {
    Ok(target.records.deleted_packages().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

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

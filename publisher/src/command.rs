//! One file a command: its arguments, and its few steps.

pub(crate) mod activate;
pub(crate) mod assign;
pub(crate) mod completions;
pub(crate) mod deactivate;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod device;
mod each;
pub(crate) mod explain;
pub(crate) mod group;
pub(crate) mod keys;
pub(crate) mod list;
pub(crate) mod local;
pub(crate) mod location;
pub(crate) mod man;
mod pace;
pub(crate) mod publish;
mod recipients;
pub(crate) mod show;
pub(crate) mod sign;
mod signer;
pub(crate) mod status;
pub(crate) mod unassign;
pub(crate) mod verify;
mod vouch;

use packcast_protocol::PackageRef;
use packcast_rollout::{PackageRecord, Published};

use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// Finds the package that an operator named.
async fn find(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    target.records.find(reference).await?.ok_or_else(|| {
        Failure::failed(format!(
            "there is no package {reference} in target {}",
            target.name
        ))
        .hint("'packcast list' shows what there is")
    })
}

/// Finds the package that an operator named, if it was not deleted.
async fn find_kept(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    if package.is_deleted() {
        let why = format!("package {} {} was deleted", package.id, named(&package));
        return Err(Failure::conflict(why).hint("publish it under another version"));
    }
    Ok(package)
}

/// Returns what was published of a package; a draft is a conflict.
fn published(package: &PackageRecord) -> Result<&Published, Failure> {
    package.published().ok_or_else(|| {
        let why = format!(
            "package {} {} is not published yet",
            package.id,
            named(package)
        );
        Failure::conflict(why).hint("the same 'packcast publish' command completes it")
    })
}

/// Names a package as people do.
fn named(package: &PackageRecord) -> String {
    format!("{}@{}", package.name, package.version)
}

/// How many packages are looked at unless an operator asks for more: what takes a second.
pub(crate) const NEWEST: usize = 100;

/// Reads the newest packages, and says so if there are as many as asked for.
async fn newest(target: &Target, limit: usize) -> Result<Vec<PackageRecord>, Failure> {
    let packages = target.records.packages(limit).await?;
    if packages.len() == limit {
        output::note(&format!("the newest {limit} packages; --limit shows more"));
    }
    Ok(packages)
}

/// Says in a word how far a package has come.
fn state(package: &PackageRecord) -> &'static str {
    match (package.published(), package.active) {
        _ if package.is_deleted() => "deleted",
        (None, _) => "draft",
        (Some(_), false) => "published",
        (Some(_), true) => "active",
    }
}

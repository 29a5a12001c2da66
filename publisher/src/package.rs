//! Finds packages of a target, and writes their names and states.

pub mod space;
mod warnings;

use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_rollout::{PackageRecord, Published};
use packcast_store::records::ImportedPackage;

pub(crate) use self::warnings::{refuse_expired, warn_of_expiry, warn_of_packages};
use crate::failure::{Failure, NameKind};
use crate::target::Target;

/// The default number of packages in a list. Reading so many takes about a second.
pub const NEWEST: usize = 100;

/// The next step if a package cannot be deployed any more.
pub(crate) const PUBLISH_AGAIN_HINT: &str = "publish its content under another version, and assign that version: devices deploy it as a new package";

/// The number of the newest packages among which a suggestion is searched.
const SUGGESTED_FROM: usize = 1_000;

/// The least similarity of a suggested name, from 0 to 1.
const SIMILAR: f64 = 0.6;

/// Finds a package for display, deleted packages included. Warns if the package or the signed state
/// expires soon, or if the key of the package is no longer a publisher key.
pub async fn show(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    Ok(package)
}

/// Returns the package of an OCS server from which a package was imported. `None` for other packages,
/// and if the policy of an older stack does not allow the read.
pub async fn imported(target: &Target, package: &PackageRecord) -> Option<ImportedPackage> {
    let imported = target.records.imported_package(package.id).await;
    imported.unwrap_or_default()
}

/// Finds the package with this id, `name@version`, or name with one version. Deleted packages are
/// found by id and by `name@version`.
pub async fn find(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    if let Some(found) = target.records.find(reference).await? {
        return Ok(found);
    }
    let known = target.records.packages(SUGGESTED_FROM).await?;
    let known: Vec<(String, String)> = known
        .iter()
        .filter(|package| !package.is_deleted())
        .map(|package| (package.name.to_string(), package.version.to_string()))
        .collect();
    Err(not_found(reference, &target.name, &known).refuses(NameKind::Package, reference))
}

/// Returns the error for an unknown package, with the most similar of the known names and versions.
fn not_found(reference: &PackageRef, target: &str, known: &[(String, String)]) -> Failure {
    let name = match reference {
        PackageRef::Id(_) => String::new(),
        PackageRef::Named(name, _) | PackageRef::Name(name) => name.to_string(),
    };
    let versions = known.iter().filter(|(known, _)| *known == name);
    let versions: Vec<&str> = versions.map(|(_, version)| version.as_str()).collect();
    let failure = match (reference, versions.len()) {
        (PackageRef::Name(_), 2..) => Failure::usage(format!(
            "cannot choose a version of package {name} in target {target}: it has several"
        )),
        _ => Failure::failed(format!(
            "cannot find package {reference} in target {target}"
        )),
    };
    let similar = known
        .iter()
        .map(|(known, version)| {
            (
                strsim::normalized_damerau_levenshtein(known, &name),
                known,
                version,
            )
        })
        .filter(|(similarity, ..)| *similarity >= SIMILAR)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match (versions.last(), similar) {
        (Some(_), _) => {
            let versions: Vec<String> = versions
                .iter()
                .rev()
                .take(5)
                .map(|version| format!("{name}@{version}"))
                .collect();
            failure.hint(format!("name one of {}", versions.join(", ")))
        }
        (None, Some((_, name, version))) => failure
            .hint(format!("a package with a similar name is {name}@{version}"))
            .hint("run 'packcast list' to see the packages"),
        (None, None) => failure.hint("run 'packcast list' to see the packages"),
    }
}

/// Finds the package with this id or `name@version`. A deleted package is a conflict.
pub async fn find_kept(target: &Target, reference: &PackageRef) -> Result<PackageRecord, Failure> {
    let package = find(target, reference).await?;
    if package.is_deleted() {
        let deleted = deleted_package(package.id, &named(&package));
        return Err(deleted.refuses(NameKind::Package, reference));
    }
    Ok(package)
}

pub(crate) fn deleted_package(id: PackageId, name: &str) -> Failure {
    Failure::conflict(format!("package {id} {name} was deleted"))
        .hint("publish the package under another version")
}

/// Returns the published part of a package. A draft is a conflict.
pub fn published(package: &PackageRecord) -> Result<&Published, Failure> {
    let published = package.published();
    published.ok_or_else(|| refuse(package, not_published(package.id, &named(package))))
}

fn not_published(id: PackageId, name: &str) -> Failure {
    Failure::conflict(format!("package {id} {name} is not published yet"))
        .hint("run the same 'packcast publish' command again to complete the publication")
}

/// Adds all names of a package to a failure that refuses the package.
pub(crate) fn refuse(package: &PackageRecord, failure: Failure) -> Failure {
    let names = [
        package.id.to_string(),
        named(package),
        package.name.to_string(),
    ];
    names.into_iter().fold(failure, |failure, name| {
        failure.refuses(NameKind::Package, name)
    })
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
    use crate::test_target::TestTarget;

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
    fn an_unknown_package_has_a_suggestion() {
        let known = [("vlc", "3.0.20"), ("vlc", "3.0.21"), ("firefox", "140")];
        let known = known.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let missing = [
            "vlc",
            "vlc@4",
            "firefix@140",
            "firefox-esr",
            "vcl",
            "7zip",
            "1795327754",
        ];
        let errors = missing.map(|text| not_found(&text.parse().unwrap(), "prod", &known));
        insta::assert_snapshot!(failures(errors), @"
        Usage: cannot choose a version of package vlc in target prod: it has several
        hint: name one of vlc@3.0.21, vlc@3.0.20
        Failed: cannot find package vlc@4 in target prod
        hint: name one of vlc@3.0.21, vlc@3.0.20
        Failed: cannot find package firefix@140 in target prod
        hint: a package with a similar name is firefox@140
        hint: run 'packcast list' to see the packages
        Failed: cannot find package firefox-esr in target prod
        hint: a package with a similar name is firefox@140
        hint: run 'packcast list' to see the packages
        Failed: cannot find package vcl in target prod
        hint: a package with a similar name is vlc@3.0.21
        hint: run 'packcast list' to see the packages
        Failed: cannot find package 7zip in target prod
        hint: run 'packcast list' to see the packages
        Failed: cannot find package 1795327754 in target prod
        hint: run 'packcast list' to see the packages
        ");
    }

    #[tokio::test]
    async fn a_name_with_one_version_is_enough() {
        let target = TestTarget::start(361).await;
        let tool = target.publish("tool").await;
        let found = find(&target.target, &"tool".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(found.id, tool.id);
        let missing = find(&target.target, &"tol".parse().unwrap()).await;
        assert!(missing.unwrap_err().to_string().contains("tool@1"));
    }

    #[test]
    fn errors_of_packages_have_next_steps() {
        let (reference, id) = ("tool@1".parse().unwrap(), "1795000000".parse().unwrap());
        let errors = [
            not_found(&reference, "prod", &[]),
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

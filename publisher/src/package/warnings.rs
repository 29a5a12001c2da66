//! Packages that cannot be assigned any more, or not for long: they expire, or their key is no
//! longer a publisher key.
//!
//! Nobody can renew a package that expires: the signed state names its manifest by digest, and the
//! expiry is in the manifest. Its content is published again under another version.

use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_rollout::PackageRecord;

use super::{PUBLISH_AGAIN_HINT, named};
use crate::clock::now;
use crate::failure::Failure;
use crate::state::warn_of_head;
use crate::target::Target;
use crate::text::{for_target, time};
use crate::warning::Warning;

/// Remaining validity below which commands warn, in seconds: 30 days.
const WARNED_BEFORE_S: u64 = 30 * 86_400;

/// Refuses a package that has expired.
pub(crate) fn refuse_expired(package: &PackageRecord, now: UnixTime) -> Result<(), Failure> {
    let Some(expired_at) = package.expired(now) else {
        return Ok(());
    };
    Err(Failure::conflict(format!(
        "package {} {} expired {}",
        package.id,
        named(package),
        time(expired_at)
    ))
    .hint(PUBLISH_AGAIN_HINT))
}

/// Warns a command that only shows packages: of packages that expire soon, of packages by keys that
/// are no longer publisher keys, and of the signed state, see [`warn_of_head`].
pub(crate) async fn warn_of_packages(
    target: &Target,
    packages: &[PackageRecord],
) -> Result<(), Failure> {
    warn_of_expiry(target, packages);
    if let Some(state) = warn_of_head(target).await? {
        // Before the first commit, the target has no publisher keys.
        let keys = state.keys();
        if !keys.is_empty() {
            for warning in removed_keys(packages, &keys, &target.name) {
                target.warnings.push(warning);
            }
        }
    }
    Ok(())
}

/// Warns of packages that expire within 30 days. An expired package has a state of its own, so there
/// is no warning of it.
pub(crate) fn warn_of_expiry(target: &Target, packages: &[PackageRecord]) {
    for warning in warnings(packages, now()) {
        target.warnings.push(warning);
    }
}

fn warnings(packages: &[PackageRecord], now: UnixTime) -> Vec<Warning> {
    let expiring = packages.iter().filter_map(|package| {
        let expires = package.published()?.expires?;
        let is_soon = expires > now && expires.since(now) < WARNED_BEFORE_S;
        is_soon.then(|| {
            Warning::new(format!("{} expires {}", named(package), time(expires)))
                .hint(PUBLISH_AGAIN_HINT)
        })
    });
    expiring.collect()
}

/// Returns a warning for each published package by a key that is not a publisher key.
fn removed_keys(packages: &[PackageRecord], keys: &[PublicKey], target: &str) -> Vec<Warning> {
    let by_others = packages.iter().filter_map(|package| {
        let signer = &package.published()?.signer;
        let name = named(package);
        (!keys.contains(signer)).then(|| {
            Warning::new(format!(
                "{name} was signed with {signer}, which is not a publisher key of the target: the package cannot be assigned, and devices to which it is assigned still deploy it"
            ))
            .hint(for_target(
                &format!(
                    "run 'packcast deactivate {name}' to stop the package, or publish its content under another version"
                ),
                target,
            ))
        })
    });
    by_others.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{expiring, failures, key};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn an_expired_package_is_refused() {
        assert!(refuse_expired(&expiring(None), NOW).is_ok());
        assert!(refuse_expired(&expiring(Some(NOW.plus(1))), NOW).is_ok());
        let expired = refuse_expired(&expiring(Some(NOW)), NOW).unwrap_err();
        insta::assert_snapshot!(failures([expired]), @"
        Conflict: package 1795000000 tool@1 expired 2026-11-18 11:06:40 UTC
        hint: publish its content under another version, and assign that version: devices deploy it as a new package
        ");
    }

    #[test]
    fn a_package_by_a_removed_key_is_a_warning() {
        let package = [expiring(None)];
        assert_eq!(removed_keys(&package, &[key()], "prod"), []);
        let other = "RWTg6JXWzv6GDtDphRQ/x7eg0LaWBcTxPZ7i49xEeiqXVcR+r79OZRWM";
        let warned = removed_keys(&package, &[other.parse().unwrap()], "prod");
        let warned: Vec<String> = warned.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(warned.join("\n"), @"
        warning: tool@1 was signed with RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3, which is not a publisher key of the target: the package cannot be assigned, and devices to which it is assigned still deploy it
        hint: run 'packcast --target prod deactivate tool@1' to stop the package, or publish its content under another version
        ");
    }

    #[test]
    fn a_package_that_expires_within_30_days_is_a_warning() {
        let warned = |expires| warnings(&[expiring(expires)], NOW);
        assert_eq!(warned(None), []);
        assert_eq!(warned(Some(NOW)), []);
        assert_eq!(warned(Some(NOW.plus(WARNED_BEFORE_S))), []);
        let soon = warned(Some(NOW.plus(WARNED_BEFORE_S - 1)));
        let soon: Vec<String> = soon.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(soon.join("\n"), @"
        warning: tool@1 expires 2026-12-18 11:06:39 UTC
        hint: publish its content under another version, and assign that version: devices deploy it as a new package
        ");
    }
}

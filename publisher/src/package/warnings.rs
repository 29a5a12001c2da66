//! Packages that cannot be assigned any more, or not for long: they expire, or their key is no
//! longer a publisher key.
//!
//! Nobody can renew a package that expires: the signed state names its manifest by digest, and the
//! expiry is in the manifest. Its content is published again under another version.

use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_rollout::PackageRecord;

use super::{PUBLISH_AGAIN_HINT, named, refuse};
use crate::clock::now;
use crate::failure::Failure;
use crate::state::{TargetState, WARNED_BEFORE_S, warn_of_head};
use crate::target::Target;
use crate::text::{count, for_target, time};
use crate::warning::Warning;

/// Refuses a package that has expired.
pub(crate) fn refuse_expired(package: &PackageRecord, now: UnixTime) -> Result<(), Failure> {
    let Some(expired_at) = package.expired(now) else {
        return Ok(());
    };
    let failure = Failure::conflict(format!(
        "package {} {} expired {}",
        package.id,
        named(package),
        time(expired_at)
    ));
    Err(refuse(package, failure.hint(PUBLISH_AGAIN_HINT)))
}

/// Warns a command that only shows packages: of packages that expire soon, of packages by keys that
/// are no longer publisher keys, and of the signed state, see [`warn_of_head`]. Returns the signed
/// state, as [`warn_of_head`] does.
pub(crate) async fn warn_of_packages(
    target: &Target,
    packages: &[PackageRecord],
) -> Result<Option<TargetState>, Failure> {
    warn_of_expiry(target, packages);
    let state = warn_of_head(target).await?;
    if let Some(state) = &state {
        // Before the first commit, the target has no publisher keys.
        let keys = state.keys();
        if !keys.is_empty()
            && let Some(warning) = removed_keys(packages, &keys, &target.name, now())
        {
            target.warnings.push(warning);
        }
    }
    Ok(state)
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

/// The number of packages that a warning names.
const NAMED: usize = 3;

/// Returns a warning of packages that are not signed with a publisher key. Devices deploy no expired
/// package, so there is no warning of one.
fn removed_keys(
    packages: &[PackageRecord],
    keys: &[PublicKey],
    target: &str,
    now: UnixTime,
) -> Option<Warning> {
    let is_by_other = |package: &&PackageRecord| {
        let published = package.published();
        package.expired(now).is_none() && published.is_some_and(|it| !keys.contains(&it.signer))
    };
    let by_others: Vec<&PackageRecord> = packages.iter().filter(is_by_other).collect();
    let (text, hint) = match by_others[..] {
        [] => return None,
        [package] => {
            let (name, signer) = (named(package), &package.published()?.signer);
            (
                format!(
                    "{name} was signed with {signer}, which is not a publisher key of the target: the package cannot be assigned, and devices to which it is assigned still deploy it"
                ),
                format!(
                    "run 'packcast deactivate {name}' to stop the package, or publish its content under another version"
                ),
            )
        }
        [..] => {
            let names = by_others.iter().take(NAMED).map(|package| named(package));
            let names = names.collect::<Vec<_>>().join(", ");
            let number = count(by_others.len() as u64, "package");
            (
                format!(
                    "{number}, such as {names}, were not signed with a publisher key of the target: they cannot be assigned, and devices to which they are assigned still deploy them"
                ),
                "run 'packcast deactivate PACKAGE' to stop a package, or publish its content under another version".to_owned(),
            )
        }
    };
    Some(Warning::new(text).hint(for_target(&hint, target)))
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
        let warned = |packages: &[PackageRecord], key: &PublicKey| {
            let keys = std::slice::from_ref(key);
            removed_keys(packages, keys, "prod", NOW).map(|it| it.to_string())
        };
        let package = [expiring(None)];
        assert_eq!(warned(&package, &key()), None);
        let other = "RWTg6JXWzv6GDtDphRQ/x7eg0LaWBcTxPZ7i49xEeiqXVcR+r79OZRWM";
        let other = other.parse().unwrap();
        assert_eq!(warned(&[expiring(Some(NOW))], &other), None);
        insta::assert_snapshot!(warned(&package, &other).unwrap(), @"
        warning: tool@1 was signed with RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3, which is not a publisher key of the target: the package cannot be assigned, and devices to which it is assigned still deploy it
        hint: run 'packcast --target prod deactivate tool@1' to stop the package, or publish its content under another version
        ");
        let many = [(); 5].map(|()| expiring(None));
        insta::assert_snapshot!(warned(&many, &other).unwrap(), @"
        warning: 5 packages, such as tool@1, tool@1, tool@1, were not signed with a publisher key of the target: they cannot be assigned, and devices to which they are assigned still deploy them
        hint: run 'packcast --target prod deactivate PACKAGE' to stop a package, or publish its content under another version
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

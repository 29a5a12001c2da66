//! Warns of a state that expires soon.

use packcast_protocol::UnixTime;

use super::commit::Validity;
use crate::text;
use crate::warning::Warning;

/// Remaining validity below which commands warn, in seconds: 30 days.
pub(crate) const WARNED_BEFORE_S: u64 = 30 * 86_400;

/// Returns the warnings of a head or a key list that has expired, or expires soon.
pub(super) fn warnings(validity: Validity, target: &str, now: UnixTime) -> Vec<Warning> {
    let soon = |expires: Option<UnixTime>| expires.filter(|at| at.since(now) < WARNED_BEFORE_S);
    let commit = soon(validity.commit).map(|expires| {
        Warning::new(if expires <= now {
            format!(
                "the signed state of the target expired {}: Packcast agents begin no package",
                text::time(expires)
            )
        } else {
            format!(
                "the signed state of the target expires {}: Packcast agents act on it only until then",
                text::time(expires)
            )
        })
        .hint(text::for_target("run 'packcast sign' to renew it", target))
    });
    let keys = soon(validity.keys).map(|expires| {
        Warning::new(if expires <= now {
            format!(
                "the key list of the target expired {}: Packcast agents begin no package",
                text::time(expires)
            )
        } else {
            format!(
                "the key list of the target expires {}: Packcast agents act on commits only until then",
                text::time(expires)
            )
        })
        .hint(text::for_target(
            "run 'packcast sign' with a root key, or 'packcast sign --root-key FILE', to renew it",
            target,
        ))
    });
    commit.into_iter().chain(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_expires_within_30_days_is_a_warning() {
        let now = UnixTime(1_795_000_000);
        let (far, near) = (now.plus(WARNED_BEFORE_S), now.plus(WARNED_BEFORE_S - 1));
        let warned = |commit, keys| warnings(Validity { commit, keys }, "prod", now);
        assert_eq!(warned(None, None), []);
        assert_eq!(warned(Some(far), Some(far)), []);
        assert_eq!(warned(Some(near), Some(far)).len(), 1);
        let mut all = warned(Some(near), Some(near));
        all.extend(warned(Some(now), Some(now)));
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(all.join("\n"), @"
        warning: the signed state of the target expires 2026-12-18 11:06:39 UTC: Packcast agents act on it only until then
        hint: run 'packcast --target prod sign' to renew it
        warning: the key list of the target expires 2026-12-18 11:06:39 UTC: Packcast agents act on commits only until then
        hint: run 'packcast --target prod sign' with a root key, or 'packcast --target prod sign --root-key FILE', to renew it
        warning: the signed state of the target expired 2026-11-18 11:06:40 UTC: Packcast agents begin no package
        hint: run 'packcast --target prod sign' to renew it
        warning: the key list of the target expired 2026-11-18 11:06:40 UTC: Packcast agents begin no package
        hint: run 'packcast --target prod sign' with a root key, or 'packcast --target prod sign --root-key FILE', to renew it
        ");
    }
}

//! Warns of signed assignments that expire soon.

use packcast_protocol::UnixTime;
use packcast_rollout::validity::WARNED_BEFORE_S;

use crate::clock::now;
use crate::text;
use crate::warning::Warning;

/// Returns a warning if the signed assignments of `assignee` expire soon; `None` if the assignments
/// are not signed.
///
/// The function does not verify the signature: agents do so.
pub(crate) fn warning(assignee: &str, expires: Option<UnixTime>, target: &str) -> Option<Warning> {
    let expires = expires?;
    let ends_soon = expires.since(now()) < WARNED_BEFORE_S;
    ends_soon.then(|| expires_soon(assignee, expires, target))
}

fn expires_soon(assignee: &str, expires: UnixTime, target: &str) -> Warning {
    let until = text::time(expires);
    Warning::new(format!(
        "the signature over the assignments of {assignee} expires {until}: Packcast agents act on the assignments only until then"
    ))
    .hint(text::for_target(
        "run 'packcast sign' to sign all assignments that expire soon",
        target,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_assignments_that_expire_soon() {
        let warning = expires_soon("group lab", UnixTime(1_795_000_000), "prod");
        insta::assert_snapshot!(warning, @r"
        warning: the signature over the assignments of group lab expires 2026-11-18 11:06:40 UTC: Packcast agents act on the assignments only until then
        hint: run 'packcast --target prod sign' to sign all assignments that expire soon
        ");
    }
}

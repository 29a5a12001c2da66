//! Warns of signatures over assignments that end soon.

use packcast_protocol::UnixTime;
use packcast_rollout::validity::WARNED_BEFORE_S;

use crate::clock::now;
use crate::text;
use crate::warning::Warning;

/// Returns a warning if the signature over the assignments of `assignee` ends soon; `None` for
/// assignments that are not signed.
///
/// The signature is not verified: agents do that.
pub(crate) fn warning(assignee: &str, expires: Option<UnixTime>) -> Option<Warning> {
    let expires = expires?;
    let ends_soon = expires.since(now()) < WARNED_BEFORE_S;
    ends_soon.then(|| {
        let until = text::time(expires);
        Warning::new(format!(
            "our agents act on what {assignee} is assigned until {until} only"
        ))
        .hint("'packcast sign' signs what ends soon")
    })
}

//! Reasons why devices do not begin with announced packages, in words.

use packcast_protocol::UnixTime;
use packcast_protocol::state::exchange::{WaitWord, WaitingPackage};

use crate::text;

/// Writes the reason of a waiting package, such as `the state of the device has expired`.
pub fn words(waiting: &WaitingPackage) -> String {
    reason(waiting.reason, waiting.until)
}

/// Writes a reason, with the time from which the device may begin.
pub(crate) fn reason(word: WaitWord, until: Option<UnixTime>) -> String {
    let reason = match word {
        WaitWord::NoKeyList => "the device follows no key list",
        WaitWord::KeyListExpired => "the key list of the device has expired",
        WaitWord::NoCommit => "the device holds no commit",
        WaitWord::CommitExpired => "the state of the device has expired",
        WaitWord::Incomplete => "the device lacks parts of its state",
        WaitWord::Unreadable => "the device cannot read a document of its state",
        WaitWord::NotAssigned => "the state of the device does not assign the package",
        WaitWord::Used => "the device has used up every assignment of the package",
        WaitWord::OtherManifest => "the announced manifest is not the assigned one",
        WaitWord::UnknownTerm => "the assignment has a term that the device does not know",
        WaitWord::Term => "a term of the assignment is not met yet",
        WaitWord::WaveNotOpen => "the wave of the device in its rollout is not open yet",
        WaitWord::WaveClosed => {
            "the wave of the device in its rollout stays closed until an administrator opens it"
        }
        WaitWord::NoRollout => "the state of the device has no calendar for the rollout",
        WaitWord::Downgrade => "a later package of the same name is deployed on the device",
        WaitWord::OtherAudience => "the package is for other devices",
        WaitWord::Unreachable => "no location delivers the package",
        WaitWord::Behind => "a package of higher priority waits for its locations",
        WaitWord::Clock => "the package has expired by the clock of the device, which is wrong",
        WaitWord::Held => "the function does not let the device begin the package",
        WaitWord::Unanswered => "the function has not answered the device's question",
        WaitWord::Other => "the device reports a reason of a later version",
    };
    match until {
        Some(opens) if word == WaitWord::WaveNotOpen => {
            format!(
                "the wave of the device in its rollout opens {}",
                text::time(opens)
            )
        }
        None => reason.to_owned(),
        Some(until) => format!("{reason}, until {}", text::time(until)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_have_an_end() {
        let waiting = WaitingPackage {
            package: 1_795_000_001.try_into().unwrap(),
            attempt: 1,
            reason: WaitWord::Term,
            until: Some(UnixTime(1_795_000_000)),
        };
        insta::assert_snapshot!(words(&waiting), @"a term of the assignment is not met yet, until 2026-11-18 11:06:40 UTC");
        let waiting = WaitingPackage {
            reason: WaitWord::WaveNotOpen,
            ..waiting
        };
        insta::assert_snapshot!(words(&waiting), @"the wave of the device in its rollout opens 2026-11-18 11:06:40 UTC");
    }
}

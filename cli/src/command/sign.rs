//! `packcast sign`: signs the state and the assignments again before they expire.

use packcast_protocol::GroupName;
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::signing::sign::{self, SignResult, ToSign};
use packcast_publisher::state::renew::{RenewedState, renew};
use serde::Serialize;

use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

const DAY_S: u64 = 24 * 3600;

/// The number of refused groups and devices that are named.
const NAMED: usize = 10;

/// Sign the state of the target again before it expires
///
/// A Packcast agent begins nothing under a signed state that has expired: 90 days after the last
/// change. This command signs the state again, and renews the list of publisher keys if it expires
/// within 60 days and your key is a root key. Run it once a month. It also signs assignments for
/// agents that check each assignment alone: without options, those that expire within 90 days. It
/// refuses assignments that your key has not signed: check these assignments with 'packcast group
/// show' or 'packcast device show', then pass --group or --device to sign them as they are on
/// record.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
  packcast sign --state-valid-for 14
  packcast sign --all
  packcast sign --restored
  packcast sign --group lab --device web01")]
pub(crate) struct Args {
    /// Sign the recorded assignments of this group, even if another key signed them (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// Sign the recorded assignments of this device, even if another key signed them (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// Also sign assignments that do not expire soon
    #[arg(long, conflicts_with_all = ["group", "device"])]
    all: bool,
    /// Sign all assignments of a table that was restored from a backup
    ///
    /// Signs the restored assignments even if this machine has signed later ones.
    #[arg(long, conflicts_with_all = ["group", "device", "all"])]
    restored: bool,
    /// Let the signed state expire after this many days
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=90), conflicts_with_all = ["group", "device"])]
    state_valid_for: u64,
    /// Sign although nothing confirms the clock of this machine
    ///
    /// For a table on the same machine, which was not changed for more than 90 days. A clock that
    /// differs from the table's is never accepted.
    #[arg(long, conflicts_with_all = ["group", "device"])]
    accept_clock: bool,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let bar = Bar::new();
        let mut signer = self.key.signer(&target).accepting_clock(self.accept_clock);
        let valid_for_s = self.state_valid_for * DAY_S;
        let to_sign = self.request();
        let progress = bar.progress();
        let state = match &to_sign {
            ToSign::AsRecorded { .. } => None,
            _ => Some(renew(&target, &mut signer, valid_for_s, &progress).await?),
        };
        let work = Box::pin(sign::sign(&target, &to_sign, signer, &progress));
        let assignments = until_interrupted("groups and devices", work, &bar).await?;
        let result = Signed { state, assignments };
        output::result(globals.format, &result, signed_text);
        complete(&result.assignments)
    }

    fn request(self) -> ToSign {
        if !self.group.is_empty() || !self.device.is_empty() {
            ToSign::AsRecorded {
                groups: self.group,
                devices: self.device,
                also_accept: self.accept.also_accept(),
            }
        } else if self.restored {
            ToSign::Restored
        } else if self.all {
            ToSign::Everything
        } else {
            ToSign::Due
        }
    }
}

/// The signed state, and the assignments that are signed alone.
#[derive(Serialize)]
struct Signed {
    /// `None` if only named assignments were signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<RenewedState>,
    #[serde(flatten)]
    assignments: SignResult,
}

fn signed_text(signed: &Signed) -> String {
    let assignments = text(&signed.assignments);
    match &signed.state {
        None => assignments,
        Some(state) => format!("{}\n{assignments}", state_text(state)),
    }
}

fn state_text(state: &RenewedState) -> String {
    output::fields([
        ("commit", state.commit.to_string()),
        ("state valid until", output::time(state.expires)),
        ("keys valid until", output::time(state.keys_expire)),
    ])
}

fn text(result: &SignResult) -> String {
    output::table(
        ["SIGNED", "ALREADY VALID", "REFUSED", "VALID UNTIL"],
        [[
            result.signed.to_string(),
            result.good.to_string(),
            result.refused.len().to_string(),
            result.good_until.map_or_else(String::new, output::time),
        ]],
    )
}

/// Prints the errors of some refused groups and devices, and returns an error if there are any.
pub(super) fn complete(result: &SignResult) -> Result<(), Failure> {
    for refused in result.refused.iter().take(NAMED) {
        output::note(refused);
    }
    result.complete()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::CommitId;
    use packcast_protocol::{Sha256Digest, UnixTime};

    use super::*;
    use crate::fixtures::{NOON, plain};

    #[test]
    fn signed_and_refused_assignments_are_counted() {
        let mut result = SignResult::default();
        result.signed = 240;
        result.good = 12;
        result.refused = vec!["device 1".to_owned()];
        result.good_until = Some(UnixTime(NOON));
        let signed = Signed {
            state: Some(RenewedState {
                commit: CommitId {
                    number: 1_795_000_000,
                    digest: Sha256Digest::of(b"commit"),
                },
                expires: UnixTime(NOON + 90 * DAY_S),
                keys_expire: UnixTime(NOON + 100 * DAY_S),
            }),
            assignments: result,
        };
        assert_snapshot!(plain(&signed_text(&signed)), @"
        commit             1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        state valid until  2027-02-16 11:06:40 UTC
        keys valid until   2027-02-26 11:06:40 UTC

        SIGNED  ALREADY VALID  REFUSED  VALID UNTIL
        240     12             1        2026-11-18 11:06:40 UTC
        ");
        let signed = Signed {
            state: None,
            ..signed
        };
        assert_snapshot!(plain(&signed_text(&signed)), @"
        SIGNED  ALREADY VALID  REFUSED  VALID UNTIL
        240     12             1        2026-11-18 11:06:40 UTC
        ");
    }
}

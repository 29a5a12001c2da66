//! `packcast sign`: signs assignments again before they expire.

use packcast_protocol::GroupName;
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::signing::sign::{self, SignResult, ToSign};

use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// The number of refused groups and devices that are named.
const NAMED: usize = 10;

/// Sign assignments again before they expire
///
/// A Packcast agent refuses assignments 180 days after they were signed. Without options, this
/// command signs all assignments that expire within 90 days; run it once a month. The command
/// refuses assignments that your key has not signed: check these assignments with 'packcast group
/// show' or 'packcast device show', then pass --group or --device to sign them as they are on
/// record.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
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
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let to_sign = self.request();
        let progress = bar.progress();
        let work = Box::pin(sign::sign(&target, &to_sign, signer, &progress));
        let result = until_interrupted("groups and devices", work, &bar).await?;
        output::result(globals.format, &result, text);
        complete(&result)
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
    use packcast_protocol::UnixTime;

    use super::*;
    use crate::fixtures::{NOON, plain};

    #[test]
    fn signed_and_refused_assignments_are_counted() {
        let mut result = SignResult::default();
        result.signed = 240;
        result.good = 12;
        result.refused = vec!["device 1".to_owned()];
        result.good_until = Some(UnixTime(NOON));
        assert_snapshot!(plain(&text(&result)), @"
        SIGNED  ALREADY VALID  REFUSED  VALID UNTIL
        240     12             1        2026-11-18 11:06:40 UTC
        ");
    }
}

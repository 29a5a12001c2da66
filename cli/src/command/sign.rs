//! `packcast sign`: assignments are signed again, before they expire.

use packcast_protocol::GroupName;
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::signing::sign::{self, SignResult, ToSign};

use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// How many refused groups and devices are named.
const NAMED: usize = 10;

/// Sign again what groups and devices are assigned
///
/// Our agents act on assignments for 180 days after they were signed. Without arguments, this
/// signs those that end within 90 days, and those that another key has signed: give the command
/// once a month. What no key of yours has signed is refused, unless it is named: then what is on
/// record is signed, so look at it first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
  packcast sign --all
  packcast sign --restored
  packcast sign --group lab --device web01")]
pub(crate) struct Args {
    /// What this group has on record, whoever has put it there (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// What this device has on record itself, whoever has put it there (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// Sign what is good for long, too
    #[arg(long, conflicts_with_all = ["group", "device"])]
    all: bool,
    /// Sign everything, also where a later state was signed: for a table that was restored
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
        ["SIGNED", "GOOD BEFORE", "REFUSED", "ALL GOOD UNTIL"],
        [[
            result.signed.to_string(),
            result.good.to_string(),
            result.refused.len().to_string(),
            result.good_until.map_or_else(String::new, output::time),
        ]],
    )
}

/// Names some of the refused groups and devices, and ends with an error if there are any.
pub(super) fn complete(result: &SignResult) -> Result<(), Failure> {
    for why in result.refused.iter().take(NAMED) {
        output::note(why);
    }
    result.complete()
}

//! `packcast device remove`: removes devices, after a question if there are several.

use packcast_publisher::device::removal::{self, ToRemove};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::ExclusionReason;
use packcast_rollout::pacing::TimeoutDays;

use super::block;
use crate::command::key_arg::KeyArg;
use crate::command::pacing;
use crate::confirm::declined;
use crate::output::{self, Format, is_interactive};
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no other device has
    #[arg(required_unless_present = "not_seen", conflicts_with = "not_seen")]
    device: Vec<DeviceName>,
    /// Remove the devices that have not checked in for this time, such as 90d
    ///
    /// Blocked devices are left out. The command lists the devices and asks before it removes them.
    #[arg(long, value_name = "DURATION", value_parser = pacing::days)]
    not_seen: Option<TimeoutDays>,
    /// Only list the devices that would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove several devices without a question
    #[arg(long)]
    yes: bool,
    /// Reason to show to administrators: at most 120 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<ExclusionReason>,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let to_remove = match self.not_seen {
            None => removal::named(target, &self.device).await?,
            Some(days) => removal::unseen(target, days.get()).await?,
        };
        if let Some(days) = self.not_seen.filter(|_| to_remove.is_empty()) {
            output::note(&none_unseen(days.get()));
        }
        if self.dry_run {
            output::result(format, &to_remove, |to_remove| list(to_remove));
            return removal::check(target, &to_remove).await;
        }
        let are_named = self.not_seen.is_none() && (to_remove.len() < 2 || !is_interactive());
        let asks = !self.yes && !are_named && !to_remove.is_empty();
        if asks && !confirm(&to_remove)? {
            return Err(declined());
        }
        let (signer, bar) = (self.key.signer(target), Bar::new());
        let progress = bar.progress();
        let reason = self.reason.as_ref();
        let work = Box::pin(removal::remove(
            target, to_remove, reason, signer, &progress,
        ));
        let changed = until_interrupted("devices", work, &bar).await?;
        output::result(format, &changed, block::text);
        changed.complete()
    }
}

/// Shows the devices to a person, and asks whether to remove them.
fn confirm(to_remove: &[ToRemove]) -> Result<bool, Failure> {
    if !is_interactive() {
        return Err(nobody_to_ask());
    }
    output::note(&list(to_remove));
    prompt::confirm(&question(to_remove.len()))
}

fn nobody_to_ask() -> Failure {
    Failure::usage("cannot ask for a confirmation: there is no terminal")
        .hint("pass --dry-run to see the devices, and --yes to remove them without a question")
}

fn none_unseen(days: u16) -> String {
    format!("no device to remove: each device is blocked or has checked in within {days} days")
}

fn question(devices: usize) -> String {
    match devices {
        1 => "Remove this device?".to_owned(),
        _ => format!("Remove these {devices} devices?"),
    }
}

fn list(to_remove: &[ToRemove]) -> String {
    let rows = to_remove.iter().map(|found| {
        [
            found.device.to_string(),
            found.host_name.clone().unwrap_or_default(),
            found.last_seen.map_or_else(String::new, output::when),
        ]
    });
    output::table(["DEVICE", "HOST", "LAST SEEN"], rows)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::UnixTime;

    use super::*;
    use crate::fixtures::{AGENT, NOON, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn devices_are_listed_before_the_question() {
        let unseen = ToRemove {
            device: OCS.parse().unwrap(),
            host_name: Some("web01".to_owned()),
            last_seen: Some(UnixTime(NOON)),
        };
        let named = ToRemove {
            device: AGENT.parse().unwrap(),
            host_name: None,
            last_seen: None,
        };
        let shown = [unseen, named];
        assert_snapshot!(on_terminals(|| list(&shown)), @"
        80:
        DEVICE                          HOST   LAST SEEN
        ocs:web01-2026-03-04-05-06-07   web01  2026-11-18 11:06:40 UTC
        key:abcdefghijklmnopqrstuvwxya

        140:
        DEVICE                          HOST   LAST SEEN
        ocs:web01-2026-03-04-05-06-07   web01  2026-11-18 11:06:40 UTC
        key:abcdefghijklmnopqrstuvwxya
        ");
        assert_snapshot!(plain(&list(&shown)), @"
        DEVICE                          HOST   LAST SEEN
        ocs:web01-2026-03-04-05-06-07   web01  2026-11-18 11:06:40 UTC
        key:abcdefghijklmnopqrstuvwxya
        ");
        assert_snapshot!(none_unseen(90), @"no device to remove: each device is blocked or has checked in within 90 days");
        assert_snapshot!(question(1), @"Remove this device?");
        assert_snapshot!(question(2), @"Remove these 2 devices?");
        assert_snapshot!(nobody_to_ask(), @"
        cannot ask for a confirmation: there is no terminal
        hint: pass --dry-run to see the devices, and --yes to remove them without a question
        ");
    }
}

//! `packcast group add` and `remove`: change the devices of a group.

use std::path::PathBuf;

use packcast_protocol::GroupName;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::group::{self, MembersChanged};
use packcast_publisher::{Failure, Target};

use crate::command::device_list;
use crate::command::key_arg::KeyArg;
use crate::confirm::{self, ConfirmArgs};
use crate::globals::Globals;
use crate::output::{self, Format};
use crate::progress::{Bar, until_interrupted};

/// The number of refused devices that are named, for each reason.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the group
    group: GroupName,
    #[command(flatten)]
    devices: Devices,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Devices {
    /// Device, by its id or host name (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// File with one device per line; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn add(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        let (names, bar) = (self.devices.names()?, Bar::new());
        let progress = bar.progress();
        let group = &self.group;
        let finding = Box::pin(group::plan_addition(target, group, &names, &progress));
        let plan = until_interrupted("devices", finding, &bar).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return plan.check();
        }
        let work = Box::pin(plan.perform(self.key.signer(target), &progress));
        let changed = until_interrupted("devices", work, &bar).await?;
        print(globals.format, &changed, ADDED);
        changed.complete(group)
    }

    pub(crate) async fn remove(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        let (names, bar) = (self.devices.names()?, Bar::new());
        let progress = bar.progress();
        let group = &self.group;
        let finding = Box::pin(group::plan_removal(target, group, &names, &progress));
        let plan = until_interrupted("devices", finding, &bar).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return plan.check();
        }
        let work = Box::pin(plan.perform(self.key.signer(target), &progress));
        let changed = until_interrupted("devices", work, &bar).await?;
        print(globals.format, &changed, REMOVED);
        changed.complete(group)
    }
}

impl Devices {
    fn names(self) -> Result<Vec<DeviceName>, Failure> {
        match &self.from {
            Some(path) => device_list::read(path),
            None => Ok(self.device),
        }
    }
}

const ADDED: [&str; 3] = ["ADDED", "ALREADY MEMBERS", "REFUSED"];
const REMOVED: [&str; 3] = ["REMOVED", "NOT MEMBERS", "REFUSED"];

/// Prints the counts, and names some of the refused devices.
fn print(format: Format, changed: &MembersChanged, heading: [&str; 3]) {
    output::result(format, changed, |changed| text(changed, heading));
    if let Some(names) = named(changed) {
        output::note(&names);
    }
    for note in refused(changed) {
        output::note(&note);
    }
}

fn text(changed: &MembersChanged, heading: [&str; 3]) -> String {
    let counts = [changed.changed, changed.unchanged, changed.refused()];
    output::table(heading, [counts.map(|count| count.to_string())])
}

/// Names some of the devices; `None` if there are none.
fn named(changed: &MembersChanged) -> Option<String> {
    let names = confirm::names(&changed.examples);
    let all = changed.changed + changed.unchanged;
    if names.is_empty() {
        None
    } else if changed.examples.len() == all {
        Some(format!("devices: {names}"))
    } else {
        Some(format!("devices, such as {names}"))
    }
}

/// Returns the notes about refused devices.
fn refused(changed: &MembersChanged) -> Vec<String> {
    let refusals = changed.refusals().into_iter();
    refusals
        .flat_map(|(reason, names)| name_some(reason, &names))
        .collect()
}

fn name_some(reason: &str, names: &[String]) -> Vec<String> {
    let mut notes: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("{}: {reason}", output::printable(name)))
        .collect();
    if names.len() > NAMED {
        let more = names.len() - NAMED;
        notes.push(format!("and {more} more: {reason}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::status::ExampleDevice;

    use super::*;
    use crate::fixtures::{AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn changes_are_counted_and_refused_devices_named() {
        let changed = MembersChanged {
            changed: 98,
            unchanged: 3,
            unknown: (1..=12).map(|n| format!("pc{n}")).collect(),
            ambiguous: vec!["laptop".to_owned()],
            in_too_many: vec![AGENT.parse().unwrap()],
            commit: None,
            examples: vec![ExampleDevice {
                device: OCS.parse().unwrap(),
                host_name: "web01".to_owned(),
            }],
        };
        assert_snapshot!(on_terminals(|| text(&changed, ADDED)), @"
        80:
        ADDED  ALREADY MEMBERS  REFUSED
        98     3                14

        140:
        ADDED  ALREADY MEMBERS  REFUSED
        98     3                14
        ");
        assert_snapshot!(plain(&text(&changed, ADDED)), @"
        ADDED  ALREADY MEMBERS  REFUSED
        98     3                14
        ");
        assert_snapshot!(on_terminals(|| text(&changed, REMOVED)), @"
        80:
        REMOVED  NOT MEMBERS  REFUSED
        98       3            14

        140:
        REMOVED  NOT MEMBERS  REFUSED
        98       3            14
        ");
        assert_snapshot!(plain(&text(&changed, REMOVED)), @"
        REMOVED  NOT MEMBERS  REFUSED
        98       3            14
        ");
        assert_snapshot!(named(&changed).unwrap(), @"devices, such as web01");
        let one = MembersChanged {
            changed: 1,
            examples: changed.examples.clone(),
            ..MembersChanged::default()
        };
        assert_snapshot!(named(&one).unwrap(), @"devices: web01");
        assert_eq!(named(&MembersChanged::default()), None);
        assert_snapshot!(refused(&changed).join("\n"), @"
        pc1: the device has never checked in, or was removed
        pc2: the device has never checked in, or was removed
        pc3: the device has never checked in, or was removed
        pc4: the device has never checked in, or was removed
        pc5: the device has never checked in, or was removed
        pc6: the device has never checked in, or was removed
        pc7: the device has never checked in, or was removed
        pc8: the device has never checked in, or was removed
        pc9: the device has never checked in, or was removed
        pc10: the device has never checked in, or was removed
        and 2 more: the device has never checked in, or was removed
        laptop: several devices have this host name
        key:abcdefghijklmnopqrstuvwxya: the device is in 40 groups, the limit
        ");
    }
}

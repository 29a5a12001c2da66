//! `packcast device list`: lists the devices, or the excluded devices.

use clap::ValueEnum;
use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::device::exclusion;
use packcast_publisher::device::list::{
    self, DeviceFilter, DeviceOrder, ListedDevice, RecordFilter,
};
use packcast_publisher::{Failure, Target};
use packcast_rollout::pacing::TimeoutDays;
use packcast_rollout::{DeviceRecord, Exclusion};
use packcast_store::records::ExcludedDevice;

use crate::Globals;
use crate::command::pacing;
use crate::command::publish::PlatformChoice;
use crate::command::status::StateChoice;
use crate::output::{self, Format};

/// The default number of devices in a list for people.
const FOR_PEOPLE: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List at most this many devices
    ///
    /// The default is 100 for text; JSON and CSV have all devices.
    #[arg(long, value_name = "COUNT", conflicts_with = "excluded")]
    limit: Option<usize>,
    /// List all blocked and removed devices instead
    #[arg(long)]
    excluded: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Sort the devices by this
    #[arg(
        long,
        value_enum,
        default_value_t,
        conflicts_with = "excluded",
        help_heading = "Filters and order"
    )]
    sort: OrderChoice,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters and order")]
#[group(id = "filters", multiple = true, conflicts_with = "excluded")]
struct FilterArgs {
    /// List only devices on which this package succeeded
    #[arg(long, value_name = "PACKAGE")]
    has: Option<PackageRef>,
    /// List only devices on which this package has not succeeded
    #[arg(long, value_name = "PACKAGE")]
    lacks: Option<PackageRef>,
    /// List only devices that have been assigned this package
    ///
    /// Devices of its groups that have not checked in since the assignment are listed, too. Changes
    /// from the last few seconds may be missing.
    #[arg(long, value_name = "PACKAGE")]
    package: Option<PackageRef>,

    /// List only devices on which the package is in this state
    #[arg(long, value_enum, requires = "package")]
    state: Option<StateChoice>,

    /// List only devices of this group
    #[arg(long)]
    group: Option<GroupName>,
    /// List only devices that were not seen for this time, such as 30d
    ///
    /// A device is seen at each report and, at least once a day, at a check-in.
    #[arg(long, value_name = "DURATION", value_parser = pacing::days)]
    not_seen: Option<TimeoutDays>,
    /// List only devices that may run packages for this platform
    ///
    /// A device whose system is unknown is listed.
    #[arg(long, value_enum)]
    platform: Option<PlatformChoice>,
    /// List only devices whose agent has this text in its name or version
    #[arg(long, value_name = "TEXT")]
    agent: Option<String>,
    /// List only devices whose system has this text in its name or version
    #[arg(long, value_name = "TEXT")]
    os: Option<String>,
    /// List only devices of this site
    ///
    /// The site is a label in the configuration of the Packcast agent.
    #[arg(long)]
    site: Option<String>,
}

/// The orders of a list of devices.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum OrderChoice {
    #[default]
    Id,
    Host,
    System,
    Agent,
    /// The device that was seen least recently first
    LastSeen,
}

impl From<OrderChoice> for DeviceOrder {
    fn from(choice: OrderChoice) -> Self {
        match choice {
            OrderChoice::Id => Self::Id,
            OrderChoice::Host => Self::Host,
            OrderChoice::System => Self::System,
            OrderChoice::Agent => Self::Agent,
            OrderChoice::LastSeen => Self::LastSeen,
        }
    }
}

impl From<FilterArgs> for DeviceFilter {
    fn from(args: FilterArgs) -> Self {
        Self {
            has: args.has,
            lacks: args.lacks,
            package: args.package,
            state: args.state.map(Into::into),
            group: args.group,
            record: RecordFilter {
                not_seen: args.not_seen,
                platform: args.platform.map(Into::into),
                agent: args.agent,
                os: args.os,
                site: args.site,
            },
        }
    }
}

impl Args {
    pub(super) async fn run(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        if self.excluded {
            return print_excluded(target, globals.format).await;
        }
        let limit = globals.limit(self.limit, FOR_PEOPLE);
        let found = list::list(target, &self.filter.into(), self.sort.into(), limit).await?;
        print(&found, globals.format);
        Ok(())
    }
}

/// Prints the first devices of a list, with a note if there are more.
fn print(first: &list::Devices, format: Format) {
    output::result(format, first, |first| text(&first.devices));
    let (shown, known) = (first.devices.len(), first.known);
    if known > shown as u64 {
        output::note(&limited(shown, known));
    }
}

/// Prints all blocked and removed devices.
async fn print_excluded(target: &Target, format: Format) -> Result<(), Failure> {
    let excluded = exclusion::excluded(target).await?;
    output::result(format, &excluded, |excluded| list_excluded(excluded));
    Ok(())
}

/// Returns the note for a list of `shown` devices out of `known`.
fn limited(shown: usize, known: u64) -> String {
    format!("showing {shown} of {known} devices; pass a higher --limit for more")
}

fn text(devices: &[ListedDevice]) -> String {
    output::table(
        [
            "DEVICE",
            "HOST",
            "SITE",
            "SYSTEM",
            "AGENT",
            "LAST SEEN",
            "EXCLUDED",
        ],
        devices.iter().map(|listed| {
            let device = &listed.record;
            [
                device.device.to_string(),
                device.host_name.clone(),
                site(device),
                device.os.clone(),
                device.agent.clone(),
                output::when(device.last_seen),
                words(listed.excluded.as_ref()),
            ]
        }),
    )
}

/// Writes the site of a device; nothing if its agent has stated none.
fn site(device: &DeviceRecord) -> String {
    let site = device.facts.as_ref().and_then(|facts| facts.site.as_ref());
    site.map_or_else(String::new, ToString::to_string)
}

fn list_excluded(devices: &[ExcludedDevice]) -> String {
    output::table(
        ["DEVICE", "HOST", "EXCLUDED"],
        devices.iter().map(|excluded| {
            [
                excluded.device.to_string(),
                excluded.host_name.clone(),
                exclusion::words(&excluded.exclusion),
            ]
        }),
    )
}

/// Writes the exclusion of a device; nothing if there is none.
pub(crate) fn words(excluded: Option<&Exclusion>) -> String {
    excluded.map_or_else(String::new, exclusion::words)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn devices_are_listed_with_their_last_check_in() {
        let devices =
            [(AGENT, None), (OCS, Some(fixtures::blocked()))].map(|(id, excluded)| ListedDevice {
                record: fixtures::device(id),
                excluded,
            });
        assert_snapshot!(on_terminals(|| text(&devices)), @"
        80:
        DEVICE                          HOST   SYSTEM         LAST SEEN     EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Debian         2026-11-18
                                               GNU/Linux 12   11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01  Debian         2026-11-18    blocked
                                               GNU/Linux 12   11:06:40 UTC  since
                                                                            2026-11-18
                                                                            11:06:40
                                                                            UTC: stolen

        140:
        DEVICE                          HOST   SITE    SYSTEM               AGENT                    LAST SEEN                EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Zürich  Debian GNU/Linux 12  packcast-agent 0.1.0     2026-11-18 11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01          Debian GNU/Linux 12  OCS-NG_unified_unix_age  2026-11-18 11:06:40 UTC  blocked since
                                                                            nt_v2.10.0                                        2026-11-18 11:06:40
                                                                                                                              UTC: stolen
        ");
        assert_snapshot!(plain(&text(&devices)), @"
        DEVICE                          HOST   SITE    SYSTEM               AGENT                              LAST SEEN                EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  web01  Zürich  Debian GNU/Linux 12  packcast-agent 0.1.0               2026-11-18 11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01          Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  2026-11-18 11:06:40 UTC  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
        assert_snapshot!(limited(100, 240), @"showing 100 of 240 devices; pass a higher --limit for more");
    }

    #[test]
    fn excluded_devices_are_listed_with_their_reason() {
        let excluded = ExcludedDevice {
            device: OCS.parse().unwrap(),
            host_name: "web01".to_owned(),
            exclusion: fixtures::blocked(),
        };
        let shown = [excluded];
        assert_snapshot!(on_terminals(|| list_excluded(&shown)), @"
        80:
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC:
                                              stolen

        140:
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
        assert_snapshot!(plain(&list_excluded(&shown)), @"
        DEVICE                         HOST   EXCLUDED
        ocs:web01-2026-03-04-05-06-07  web01  blocked since 2026-11-18 11:06:40 UTC: stolen
        ");
    }
}

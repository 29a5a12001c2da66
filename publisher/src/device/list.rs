//! Lists of devices, with filters.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::manifest::Platform;
use packcast_protocol::{DeviceId, GroupName, PackageRef, UnixTime};
use packcast_rollout::check_in::is_unseen_for;
use packcast_rollout::pacing::TimeoutDays;
use packcast_rollout::{DeviceRecord, DeviceSystem, Exclusion};
use packcast_store::records::DeploymentState;
use serde::Serialize;

use crate::clock::now;
use crate::failure::Failure;
use crate::known_group::devices_of;
use crate::package::find;
use crate::status::states;
use crate::target::Target;

/// The number of records in one read.
const BATCH: usize = 1_000;

/// The number of these reads at a time.
const READS_AT_ONCE: usize = 4;

/// The first devices of a list. It serializes as the list of their records.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Devices {
    /// In the order of the list.
    pub devices: Vec<ListedDevice>,
    /// The number of devices in the whole list.
    #[serde(skip)]
    pub known: u64,
}

/// The record of a device, with its exclusion.
#[derive(Clone, Debug, Serialize)]
pub struct ListedDevice {
    #[serde(flatten)]
    pub record: DeviceRecord,
    /// The device is blocked, or its removal is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
}

/// Conditions for devices in a list. A device must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// The latest attempt at this package succeeded.
    pub has: Option<PackageRef>,
    /// The device has not succeeded with this package.
    pub lacks: Option<PackageRef>,
    /// The device has this package, perhaps without a check-in since the assignment of a group.
    pub package: Option<PackageRef>,
    /// The state of [`DeviceFilter::package`]; any state if absent.
    pub state: Option<DeploymentState>,
    pub group: Option<GroupName>,
    pub record: RecordFilter,
}

/// Conditions for the record of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// The device has certainly not checked in for this time.
    pub not_seen: Option<TimeoutDays>,
    /// The device may run packages for this platform, as far as its record tells.
    pub platform: Option<Platform>,
    /// A part of the agent's name and version, in any case.
    pub agent: Option<String>,
    /// A part of the name and version of the operating system, in any case.
    pub os: Option<String>,
    /// The label of the site, in any case.
    pub site: Option<String>,
}

/// The order of a list of devices. Devices that are equal are in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceOrder {
    #[default]
    Id,
    Host,
    System,
    Agent,
    /// The device that was seen least recently first.
    LastSeen,
}

impl RecordFilter {
    /// Returns true if a record meets the conditions.
    pub fn includes(&self, record: &DeviceRecord, now: UnixTime) -> bool {
        let is_unseen = |days: TimeoutDays| is_unseen_for(record, days.get(), now);
        let has = |text: &str, part: &Option<String>| {
            let text = text.to_lowercase();
            part.as_ref()
                .is_none_or(|part| text.contains(&part.to_lowercase()))
        };
        let site = record.facts.as_ref().and_then(|facts| facts.site.as_ref());
        let site = site.map(|site| site.as_str().to_lowercase());
        self.not_seen.is_none_or(is_unseen)
            && self
                .platform
                .is_none_or(|platform| !DeviceSystem::of(record).is_other_than(platform))
            && has(&record.agent, &self.agent)
            && has(&record.os, &self.os)
            && self
                .site
                .as_ref()
                .is_none_or(|wanted| site == Some(wanted.to_lowercase()))
    }
}

impl DeviceOrder {
    /// Sorts devices, which are in the order of their ids.
    fn sort(self, devices: &mut [ListedDevice]) {
        match self {
            Self::Id => {}
            Self::Host => devices.sort_by_cached_key(|at| at.record.host_name.to_lowercase()),
            Self::System => devices.sort_by_cached_key(|at| at.record.os.to_lowercase()),
            Self::Agent => devices.sort_by_cached_key(|at| at.record.agent.to_lowercase()),
            Self::LastSeen => devices.sort_by_key(|at| at.record.last_seen),
        }
    }
}

/// Returns the first `limit` devices of a list.
///
/// A list of all devices in the order of their ids reads only the devices that it returns. Filters by
/// package and by group read ids; filters and orders by attributes of the devices read the record of
/// each device that is left.
pub async fn list(
    target: &Target,
    filter: &DeviceFilter,
    order: DeviceOrder,
    limit: usize,
) -> Result<Devices, Failure> {
    let reads_all = filter.record != RecordFilter::default() || order != DeviceOrder::Id;
    if *filter == DeviceFilter::default() && !reads_all {
        let devices = target.records.devices(limit).await?;
        return Ok(Devices {
            devices: devices.into_iter().map(listed).collect(),
            known: target.records.size(&GroupName::all()).await?,
        });
    }
    let mut ids = candidates(target, filter).await?;
    let mut known = ids.len();
    if !reads_all {
        ids.truncate(limit);
    }
    let mut devices = read(target, &ids, &filter.record).await?;
    if reads_all {
        known = devices.len();
        order.sort(&mut devices);
        devices.truncate(limit);
    }
    Ok(Devices {
        devices,
        known: known as u64,
    })
}

/// Returns the devices that meet the conditions on packages and groups, in the order of their ids.
async fn candidates(target: &Target, filter: &DeviceFilter) -> Result<Vec<DeviceId>, Failure> {
    let mut sets: Vec<BTreeSet<DeviceId>> = Vec::new();
    if let Some(package) = &filter.has {
        sets.push(succeeded(target, package).await?);
    }
    if let Some(package) = &filter.package {
        let package = find(target, package).await?;
        let states = states(target, &package, filter.state).await?;
        sets.push(states.into_keys().collect());
    }
    // The devices of a package are enough: the catalogue is not read.
    let mut ids: Vec<DeviceId> = match (&filter.group, sets.pop()) {
        (None, Some(set)) => set.into_iter().collect(),
        (group, set) => {
            sets.extend(set);
            let all = GroupName::all();
            devices_of(target, group.as_ref().unwrap_or(&all)).await?
        }
    };
    ids.retain(|device| sets.iter().all(|set| set.contains(device)));
    if let Some(package) = &filter.lacks {
        let have = succeeded(target, package).await?;
        ids.retain(|device| !have.contains(device));
    }
    Ok(ids)
}

async fn succeeded(target: &Target, package: &PackageRef) -> Result<BTreeSet<DeviceId>, Failure> {
    let package = find(target, package).await?;
    let state = DeploymentState::Succeeded;
    Ok(target.records.devices_in(package.id, state).await?)
}

/// Reads the records of devices, and returns those that meet the conditions, in the given order.
async fn read(
    target: &Target,
    ids: &[DeviceId],
    filter: &RecordFilter,
) -> Result<Vec<ListedDevice>, Failure> {
    let now = now();
    let batches = stream::iter(ids.chunks(BATCH)).map(|ids| async move {
        let found = target.records.device_records(ids).await?.into_iter();
        let included = found.filter(|(record, _)| filter.includes(record, now));
        Ok::<_, Failure>(included.map(listed).collect::<Vec<_>>())
    });
    batches.buffered(READS_AT_ONCE).try_concat().await
}

pub(crate) fn listed((record, excluded): (DeviceRecord, Option<Exclusion>)) -> ListedDevice {
    ListedDevice { record, excluded }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::{DailyFacts, SiteLabel};
    use packcast_rollout::FactsMark;
    use packcast_rollout::state::EntryOwner;
    use packcast_testing::table::device;

    use super::*;
    use crate::rendered::failures;
    use crate::test_target::{TestTarget, assign_published, create_lab, join, lab};

    /// Returns the numbers of the devices in a list.
    async fn numbers(target: &TestTarget, filter: &DeviceFilter, order: DeviceOrder) -> String {
        let found = list(&target.target, filter, order, usize::MAX).await;
        let found = found.unwrap();
        assert_eq!(found.known, found.devices.len() as u64);
        let hosts = found.devices.iter().map(|at| at.record.host_name.as_str());
        hosts.collect::<Vec<_>>().join(" ")
    }

    /// Writes six devices: the first has the package, and the last two are in a group that got it after
    /// their check-ins.
    async fn six_devices(target: &TestTarget) -> PackageRef {
        let tool = target.publish("tool").await;
        for number in 0..6 {
            let mut record = device(number);
            if number == 3 {
                record.agent = "OCS-NG_WINDOWS_AGENT_v2.9.2.0".to_owned();
                record.os = "Microsoft Windows 11".to_owned();
            }
            if number == 2 {
                record.facts = Some(FactsMark {
                    digest: DailyFacts::default().digest(),
                    at: now(),
                    site: Some(SiteLabel::shortened("Zürich")),
                });
            }
            let age_s = u64::from(number) * 20 * 86_400;
            record.last_seen = UnixTime(now().0 - age_s);
            let written = target.table.records.write_check_in(&record, None).await;
            written.unwrap();
        }
        let first = [device(0).device];
        target.deploy(&first, &tool, "SUCCESS_0", "").await;
        let members = [4, 5].map(|number| device(number).device);
        target.change_all(&[create_lab(), join(members)]).await;
        let to_lab = assign_published(EntryOwner::Group(lab()), &tool);
        target.change_all(&[to_lab]).await;
        PackageRef::Id(tool.id)
    }

    #[tokio::test]
    async fn every_filter_selects_its_devices() {
        let target = TestTarget::start(381).await;
        let tool = six_devices(&target).await;
        let by_record = |record| DeviceFilter {
            record,
            ..DeviceFilter::default()
        };
        let in_state = |state| DeviceFilter {
            package: Some(tool.clone()),
            state,
            ..DeviceFilter::default()
        };
        let filters = [
            DeviceFilter::default(),
            DeviceFilter {
                has: Some(tool.clone()),
                ..DeviceFilter::default()
            },
            DeviceFilter {
                lacks: Some(tool.clone()),
                ..DeviceFilter::default()
            },
            DeviceFilter {
                group: Some("lab".parse().unwrap()),
                ..DeviceFilter::default()
            },
            DeviceFilter {
                has: Some(tool.clone()),
                group: Some("lab".parse().unwrap()),
                ..DeviceFilter::default()
            },
            in_state(None),
            in_state(Some(DeploymentState::Succeeded)),
            in_state(Some(DeploymentState::Unreached)),
            DeviceFilter {
                lacks: Some(tool.clone()),
                ..in_state(None)
            },
            DeviceFilter {
                group: Some("lab".parse().unwrap()),
                record: RecordFilter {
                    agent: Some("v2.10".to_owned()),
                    ..RecordFilter::default()
                },
                ..in_state(Some(DeploymentState::Unreached))
            },
            by_record(RecordFilter {
                not_seen: Some(TimeoutDays::new(30).unwrap()),
                ..RecordFilter::default()
            }),
            by_record(RecordFilter {
                platform: Some(Platform::Windows),
                ..RecordFilter::default()
            }),
            by_record(RecordFilter {
                agent: Some("v2.9".to_owned()),
                ..RecordFilter::default()
            }),
            by_record(RecordFilter {
                os: Some("windows 11".to_owned()),
                ..RecordFilter::default()
            }),
            by_record(RecordFilter {
                site: Some("zÜrich".to_owned()),
                ..RecordFilter::default()
            }),
            by_record(RecordFilter {
                site: Some("Zür".to_owned()),
                ..RecordFilter::default()
            }),
        ];
        let mut lines = Vec::new();
        for filter in filters {
            lines.push(numbers(&target, &filter, DeviceOrder::Id).await);
        }
        insta::assert_snapshot!(lines.join("\n"), @"
        pc0 pc1 pc2 pc3 pc4 pc5
        pc0
        pc1 pc2 pc3 pc4 pc5
        pc4 pc5

        pc0 pc4 pc5
        pc0
        pc4 pc5
        pc4 pc5
        pc4 pc5
        pc2 pc3 pc4 pc5
        pc3
        pc3
        pc3
        pc2

        ");
    }

    #[tokio::test]
    async fn a_list_of_an_unknown_group_is_refused() {
        let target = TestTarget::start(384).await;
        let filter = DeviceFilter {
            group: Some("lab".parse().unwrap()),
            ..DeviceFilter::default()
        };
        let refused = list(&target.target, &filter, DeviceOrder::Id, usize::MAX).await;
        insta::assert_snapshot!(failures([refused.unwrap_err()]), @"
        Failed: group lab does not exist
        hint: run 'packcast group list' to see the groups
        ");
    }

    #[tokio::test]
    async fn a_list_is_sorted_before_it_is_cut() {
        let target = TestTarget::start(382).await;
        six_devices(&target).await;
        let all = DeviceFilter::default();
        let sorted = [
            numbers(&target, &all, DeviceOrder::Host).await,
            numbers(&target, &all, DeviceOrder::System).await,
            numbers(&target, &all, DeviceOrder::Agent).await,
            numbers(&target, &all, DeviceOrder::LastSeen).await,
        ];
        insta::assert_snapshot!(sorted.join("\n"), @"
        pc0 pc1 pc2 pc3 pc4 pc5
        pc0 pc1 pc2 pc4 pc5 pc3
        pc0 pc1 pc2 pc4 pc5 pc3
        pc5 pc4 pc3 pc2 pc1 pc0
        ");
        let first = list(&target.target, &all, DeviceOrder::LastSeen, 1).await;
        let first = first.unwrap();
        assert_eq!(first.known, 6);
        assert_eq!(first.devices[0].record.host_name, "pc5");
    }

    #[tokio::test]
    async fn filters_by_package_read_the_records_of_shown_devices_only() {
        let target = TestTarget::start(383).await;
        let tool = target.publish("tool").await;
        for number in 0..50 {
            target.table.device(number).await;
        }
        let lacks = DeviceFilter {
            lacks: Some(PackageRef::Id(tool.id)),
            ..DeviceFilter::default()
        };
        let units = async |limit| {
            target.table.meter.take();
            let found = list(&target.target, &lacks, DeviceOrder::Id, limit).await;
            assert_eq!(found.unwrap().known, 50);
            target.table.meter.take().read_units
        };
        let (few, all) = (units(5).await, units(usize::MAX).await);
        assert!((all - few - 45.0).abs() < 1.0, "{few} and {all} read units");
    }
}

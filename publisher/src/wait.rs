//! Waiting until a package has ended on its devices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef};
use packcast_store::records::{DeploymentState, Tally};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::device_name::DeviceName;
use crate::failure::{Failure, Kind};
use crate::known_group::devices_of;
use crate::package::{find, named};
use crate::status::states;
use crate::target::{LOCAL, Target};

/// Time between two reads of the counts of a package.
const PAUSE: Duration = Duration::from_secs(5);

/// Time between two reads of the states of devices, if no count has changed.
const QUIET: Duration = Duration::from_mins(1);

/// Time for which the index of a table in the cloud may lack the latest assignment.
const INDEX_DELAY: Duration = Duration::from_secs(10);

/// A package, with the devices to wait for.
#[derive(Debug)]
pub struct WaitRequest {
    pub package: PackageRef,
    /// Without devices and groups, the command waits for all devices of the package.
    pub devices: Vec<DeviceName>,
    pub groups: Vec<GroupName>,
    pub timeout: Duration,
}

/// The number of devices with each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WaitCounts {
    pub devices: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// The number of devices that run another system than the package is for.
    pub not_applicable: u64,
    /// The number of devices without a result.
    pub unfinished: u64,
}

/// The end of a wait.
#[derive(Debug, Serialize)]
pub struct WaitEnd {
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    #[serde(flatten)]
    pub counts: WaitCounts,
    #[serde(skip)]
    verdict: WaitVerdict,
}

/// The reason why a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitVerdict {
    Succeeded,
    /// All devices have finished, and the package failed on some or was cancelled.
    Unsuccessful,
    /// The package is assigned to none of the devices.
    Unassigned,
    TimedOut,
}

impl WaitEnd {
    /// Returns an error unless the package succeeded on all devices that it is for.
    pub fn complete(&self) -> Result<(), Failure> {
        let (name, counts) = (&self.name, &self.counts);
        match self.verdict {
            WaitVerdict::Succeeded => Ok(()),
            WaitVerdict::Unsuccessful => Err(Failure::failed(format!(
                "{name} succeeded on {} of {} devices",
                counts.succeeded, counts.devices
            ))
            .hint(format!("run 'packcast status {name}' to see the causes"))),
            WaitVerdict::Unassigned => Err(Failure::conflict(format!(
                "cannot wait for {name}: the package is assigned to none of the devices"
            ))
            .hint(format!(
                "run 'packcast assign {name} --group GROUP' to assign the package, or 'packcast group add' to add devices to its groups"
            ))),
            WaitVerdict::TimedOut => Err(Failure::new(
                Kind::TryLater,
                format!(
                    "{} of {} devices have not finished {name} in time",
                    counts.unfinished, counts.devices
                ),
            )
            .hint(format!(
                "run 'packcast status {name} --devices' to see their states"
            ))),
        }
    }
}

impl WaitCounts {
    /// Counts devices by their states.
    fn of<'a>(states: impl Iterator<Item = &'a DeploymentState>) -> Self {
        let mut counts = Self::default();
        for state in states {
            counts.devices += 1;
            *match state {
                DeploymentState::Succeeded => &mut counts.succeeded,
                DeploymentState::Failed => &mut counts.failed,
                DeploymentState::Cancelled => &mut counts.cancelled,
                DeploymentState::NotApplicable => &mut counts.not_applicable,
                DeploymentState::Unreached
                | DeploymentState::Pending
                | DeploymentState::Announced
                | DeploymentState::Withdrawn => &mut counts.unfinished,
            } += 1;
        }
        counts
    }

    /// Returns the counts of a package that some devices have not finished; `None` if all devices
    /// that have a task have finished: groups may have further devices.
    fn of_open(tally: &Tally) -> Option<Self> {
        let unfinished = tally.waiting() + tally.told();
        (unfinished > 0).then_some(Self {
            devices: tally.assigned,
            succeeded: tally.succeeded,
            failed: tally.failed,
            cancelled: tally.cancelled,
            not_applicable: tally.not_applicable,
            unfinished,
        })
    }

    /// Returns the verdict on devices; `None` if the wait goes on.
    fn verdict(&self, is_over: bool) -> Option<WaitVerdict> {
        Some(match self {
            Self { devices: 0, .. } => WaitVerdict::Unassigned,
            Self {
                unfinished: 1.., ..
            } if is_over => WaitVerdict::TimedOut,
            Self {
                unfinished: 1.., ..
            } => return None,
            Self {
                failed: 0,
                cancelled: 0,
                ..
            } => WaitVerdict::Succeeded,
            _ => WaitVerdict::Unsuccessful,
        })
    }
}

/// Waits until the package has ended on all devices, or until the timeout. Calls `on_change` with
/// each new state of the counts.
///
/// The counts of a package are read every five seconds. The states of single devices are read if no
/// device has an open task, or if the request names devices or groups: after a change of the counts,
/// and once a minute.
pub async fn wait(
    target: &Target,
    request: &WaitRequest,
    on_change: impl Fn(&WaitCounts),
) -> Result<WaitEnd, Failure> {
    let package = find(target, &request.package).await?;
    let chosen = chosen(target, request).await?;
    let begun = Instant::now();
    let index_delay = match target.name.as_str() {
        LOCAL => Duration::ZERO,
        _ => INDEX_DELAY.min(request.timeout),
    };
    let mut shown = None;
    let mut checked: Option<(Tally, Instant)> = None;
    loop {
        let tally = target.records.tally(package.id).await?;
        let is_over = begun.elapsed() >= request.timeout;
        // The counts lack the devices that have not checked in, and the end of a wait names all.
        let of_open = WaitCounts::of_open(&tally).filter(|_| chosen.is_none() && !is_over);
        let is_settled = begun.elapsed() >= index_delay;
        let is_due = is_over
            || checked
                .as_ref()
                .is_none_or(|(before, at)| *before != tally || at.elapsed() >= QUIET);
        let counts = match of_open {
            Some(counts) => Some(counts),
            None if is_settled && is_due => {
                checked = Some((tally, Instant::now()));
                let states = states(target, &package, None).await?;
                let counts = match &chosen {
                    None => Ok(WaitCounts::of(states.values())),
                    Some(chosen) => chosen.counts(&states),
                };
                Some(counts.map_err(|device| not_assigned(&named(&package), &device))?)
            }
            None => None,
        };
        if let Some(counts) = counts {
            if shown != Some(counts) {
                on_change(&counts);
                shown = Some(counts);
            }
            if let Some(verdict) = counts.verdict(is_over) {
                return Ok(WaitEnd {
                    package: package.id,
                    name: named(&package),
                    counts,
                    verdict,
                });
            }
        }
        sleep(PAUSE.min(request.timeout.saturating_sub(begun.elapsed()))).await;
    }
}

/// The devices to wait for.
#[derive(Debug, Default)]
struct ChosenDevices {
    named: BTreeSet<DeviceId>,
    /// Members of groups. Some may have the package already, and have no task.
    members: BTreeSet<DeviceId>,
}

impl ChosenDevices {
    /// Counts the chosen devices by their states.
    ///
    /// # Errors
    /// A named device has no state: the package is not assigned to it.
    fn counts(&self, states: &BTreeMap<DeviceId, DeploymentState>) -> Result<WaitCounts, DeviceId> {
        let mut named = self.named.iter();
        if let Some(device) = named.find(|device| !states.contains_key(device)) {
            return Err(device.clone());
        }
        let chosen = self.named.union(&self.members);
        Ok(WaitCounts::of(
            chosen.filter_map(|device| states.get(device)),
        ))
    }
}

/// Finds the devices that a request names; `None` if it names none.
async fn chosen(target: &Target, request: &WaitRequest) -> Result<Option<ChosenDevices>, Failure> {
    if request.devices.is_empty() && request.groups.is_empty() {
        return Ok(None);
    }
    let mut chosen = ChosenDevices::default();
    for name in &request.devices {
        chosen.named.insert(name.find(target).await?);
    }
    for group in &request.groups {
        let members = devices_of(target, group).await?;
        chosen.members.extend(members);
    }
    Ok(Some(chosen))
}

fn not_assigned(name: &str, device: &DeviceId) -> Failure {
    Failure::conflict(format!(
        "cannot wait for {name} on device {device}: the package is not assigned to the device"
    ))
    .hint(format!(
        "run 'packcast assign {name} --device {device}' to assign the package"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn a_wait_ends_when_all_devices_have_finished() {
        use DeploymentState::{
            Announced, Cancelled, Failed, NotApplicable, Pending, Succeeded, Unreached, Withdrawn,
        };
        for (states, in_time, over) in [
            (
                &[][..],
                Some(WaitVerdict::Unassigned),
                Some(WaitVerdict::Unassigned),
            ),
            (
                &[Succeeded, NotApplicable],
                Some(WaitVerdict::Succeeded),
                Some(WaitVerdict::Succeeded),
            ),
            (
                &[Succeeded, Failed],
                Some(WaitVerdict::Unsuccessful),
                Some(WaitVerdict::Unsuccessful),
            ),
            (
                &[Cancelled],
                Some(WaitVerdict::Unsuccessful),
                Some(WaitVerdict::Unsuccessful),
            ),
            (&[Failed, Pending], None, Some(WaitVerdict::TimedOut)),
            (&[Succeeded, Announced], None, Some(WaitVerdict::TimedOut)),
            (&[Succeeded, Withdrawn], None, Some(WaitVerdict::TimedOut)),
            (&[Succeeded, Unreached], None, Some(WaitVerdict::TimedOut)),
        ] {
            let counts = WaitCounts::of(states.iter());
            let verdicts = (counts.verdict(false), counts.verdict(true));
            assert_eq!(verdicts, (in_time, over), "{states:?}");
        }
    }

    #[test]
    fn only_chosen_devices_count() {
        use DeploymentState::{Failed, Pending, Succeeded};
        let device = |number: u32| packcast_testing::table::device(number).device;
        let states = [(0, Succeeded), (1, Failed), (2, Pending)];
        let states = states.map(|(number, state)| (device(number), state)).into();
        let chosen = |named: &[u32], members: &[u32]| ChosenDevices {
            named: named.iter().copied().map(device).collect(),
            members: members.iter().copied().map(device).collect(),
        };
        // Device 3 has the package already.
        let counts = chosen(&[0], &[0, 1, 3]).counts(&states).unwrap();
        assert_eq!((counts.devices, counts.succeeded, counts.failed), (2, 1, 1));
        assert_eq!(chosen(&[0, 3], &[]).counts(&states), Err(device(3)));
    }

    #[test]
    fn a_package_with_open_tasks_needs_no_states_of_devices() {
        let mut tally = Tally {
            assigned: 9,
            announced: 2,
            withdrawn: 1,
            succeeded: 3,
            failed: 1,
            ..Tally::default()
        };
        let counts = WaitCounts::of_open(&tally).unwrap();
        assert_eq!((counts.devices, counts.unfinished), (9, 5));
        tally.assigned = 4;
        (tally.announced, tally.withdrawn) = (0, 0);
        assert_eq!(WaitCounts::of_open(&tally), None);
    }

    #[test]
    fn each_end_has_its_exit_code_and_next_step() {
        let verdicts = [
            WaitVerdict::Unsuccessful,
            WaitVerdict::Unassigned,
            WaitVerdict::TimedOut,
        ];
        let ends = verdicts.map(|verdict| {
            let end = WaitEnd {
                package: "1795327754".parse().unwrap(),
                name: "vlc@3.0.21".to_owned(),
                counts: WaitCounts {
                    devices: 9,
                    succeeded: 3,
                    unfinished: 5,
                    ..WaitCounts::default()
                },
                verdict,
            };
            end.complete().unwrap_err()
        });
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let other = [not_assigned("vlc@3.0.21", &device)];
        insta::assert_snapshot!(failures(ends.into_iter().chain(other)), @"
        Failed: vlc@3.0.21 succeeded on 3 of 9 devices
        hint: run 'packcast status vlc@3.0.21' to see the causes
        Conflict: cannot wait for vlc@3.0.21: the package is assigned to none of the devices
        hint: run 'packcast assign vlc@3.0.21 --group GROUP' to assign the package, or 'packcast group add' to add devices to its groups
        TryLater: 5 of 9 devices have not finished vlc@3.0.21 in time
        hint: run 'packcast status vlc@3.0.21 --devices' to see their states
        Conflict: cannot wait for vlc@3.0.21 on device ocs:web01-2026-03-04-05-06-07: the package is not assigned to the device
        hint: run 'packcast assign vlc@3.0.21 --device ocs:web01-2026-03-04-05-06-07' to assign the package
        ");
    }
}

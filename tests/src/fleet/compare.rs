//! The records beside the truth.

use std::collections::BTreeMap;
use std::fmt::Debug;

use packcast_protocol::PackageId;
use packcast_rollout::TaskState;
use packcast_store::Records;
use packcast_store::records::{DeviceState, Tally};

use super::operator::{Names, until_answered};
use super::truth::{Done, Open, Truth};

/// What the records say of a package.
#[derive(Clone, Debug)]
pub struct PackageCount {
    pub name: String,
    pub id: PackageId,
    pub tally: Tally,
    pub truth: Tally,
}

/// How many devices a group has.
#[derive(Clone, Debug)]
pub struct GroupCount {
    pub name: String,
    pub size: u64,
    pub truth: u64,
}

fn differ<T: PartialEq + Debug>(what: &str, records: &T, truth: &T) -> Option<String> {
    (records != truth).then(|| format!("{what}: {records:?}, and the truth is {truth:?}"))
}

/// Compares what a device has open and what it has finished.
pub(super) async fn device(
    records: &Records,
    names: &Names,
    truth: &Truth,
    number: usize,
) -> Vec<String> {
    let id = &names.devices[number];
    let standing = until_answered(|| records.standing(id)).await;
    let open: BTreeMap<PackageId, Open> = standing
        .tasks
        .iter()
        .map(|task| {
            let open = Open {
                state: state(task.state),
                attempt: task.attempt,
                is_direct: task.direct,
            };
            (task.package, open)
        })
        .collect();
    let finished = until_answered(|| records.finished_tasks(id)).await;
    let done: BTreeMap<PackageId, _> = finished
        .into_iter()
        .map(|task| {
            let done = (task.attempt, task.code.to_string(), task.outcome);
            (task.package, done)
        })
        .collect();
    let deployments = truth.devices[number].deployments.iter();
    let packages =
        deployments.map(|(package, deployment)| (names.packages[*package].id, deployment));
    let truly_open = packages
        .clone()
        .filter_map(|(id, deployment)| Some((id, deployment.open?)));
    let truly_done = packages.filter_map(|(id, deployment)| Some((id, deployment.done?)));
    let told = |done: Done| (done.attempt, done.code.to_owned(), done.outcome);
    let truly_done = truly_done.map(|(id, done)| (id, told(done)));
    [
        differ(&format!("open tasks of {id}"), &open, &truly_open.collect()),
        differ(&format!("results of {id}"), &done, &truly_done.collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const fn state(state: TaskState) -> DeviceState {
    match state {
        TaskState::Pending => DeviceState::Held,
        TaskState::Announced { .. } => DeviceState::Announced,
        TaskState::Withdrawn { .. } => DeviceState::Withdrawn,
    }
}

/// Compares the tally of a package, the devices that the index lists, and its groups.
pub(super) async fn package(
    records: &Records,
    names: &Names,
    truth: &Truth,
    number: usize,
) -> (PackageCount, Vec<String>) {
    let record = &names.packages[number];
    let (id, name) = (record.id, record.name.to_string());
    let count = PackageCount {
        name: name.clone(),
        id,
        tally: until_answered(|| records.tally(id)).await,
        truth: truth.tally(number),
    };
    let listed = until_answered(|| records.devices_of(id)).await;
    let states = truth.states(number).into_iter();
    let states = states.map(|(device, state)| (names.devices[device].clone(), state));
    let states: BTreeMap<_, _> = states.collect();
    let wrong = listed
        .iter()
        .filter(|(device, state)| states.get(*device) != Some(*state));
    let mut differences: Vec<String> = wrong
        .map(|(device, state)| {
            let truth = states.get(device);
            format!("index of {name}: {device} {state}, and the truth is {truth:?}")
        })
        .collect();
    let groups = until_answered(|| records.groups_with(id)).await;
    let mut having: Vec<_> = truth.having(number);
    having.sort_by_key(|group| &names.groups[*group]);
    let having: Vec<_> = having
        .into_iter()
        .map(|group| names.groups[group].clone())
        .collect();
    differences.extend(differ(
        &format!("tally of {name}"),
        &count.tally,
        &count.truth,
    ));
    differences.extend(differ(
        &format!("index of {name}"),
        &listed.len(),
        &states.len(),
    ));
    differences.extend(differ(&format!("groups of {name}"), &groups, &having));
    (count, differences)
}

/// Compares the size of a group and its members.
pub(super) async fn group(
    records: &Records,
    names: &Names,
    truth: &Truth,
    number: usize,
) -> (GroupCount, Vec<String>) {
    let group = &names.groups[number];
    let mut truly: Vec<_> = truth
        .members(number)
        .into_iter()
        .map(|device| names.devices[device].clone())
        .collect();
    truly.sort_unstable();
    let count = GroupCount {
        name: group.to_string(),
        size: until_answered(|| records.size(group)).await,
        truth: truly.len() as u64,
    };
    let members = until_answered(|| records.members(group)).await;
    let differences = [
        differ(&format!("size of {group}"), &count.size, &count.truth),
        differ(&format!("members of {group}"), &members, &truly),
    ];
    (count, differences.into_iter().flatten().collect())
}

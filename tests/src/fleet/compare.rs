//! The comparison of the records with the model, and with the signed state.

use std::collections::BTreeMap;
use std::fmt::Debug;

use packcast_protocol::{PackageId, UnixTime};
use packcast_publisher::Progress;
use packcast_publisher::state::{TargetState, record_differences};
use packcast_rollout::TaskState;
use packcast_store::Records;
use packcast_store::records::{DeploymentState, Tally};
use packcast_testing::commits::trust;

use super::administrator::{FleetNames, until_answered};
use super::model::{FleetModel, ModelResult, ModelTask};

/// The tally of a package, on record and in the model.
#[derive(Clone, Debug)]
pub struct PackageCount {
    pub name: String,
    pub id: PackageId,
    pub tally: Tally,
    pub expected: Tally,
}

/// The size of a group, on record and in the model.
#[derive(Clone, Debug)]
pub struct GroupCount {
    pub name: String,
    pub size: u64,
    pub expected: u64,
}

fn differ<T: PartialEq + Debug>(subject: &str, found: &T, expected: &T) -> Option<String> {
    (found != expected).then(|| format!("{subject}: expected {expected:?}, found {found:?}"))
}

/// Compares the open tasks and the results of a device.
pub(super) async fn device(
    records: &Records,
    names: &FleetNames,
    model: &FleetModel,
    number: usize,
) -> Vec<String> {
    let id = &names.devices[number];
    let device_state = until_answered(|| records.device_state(id)).await;
    let open: BTreeMap<PackageId, ModelTask> = device_state
        .tasks
        .iter()
        .map(|task| {
            let open = ModelTask {
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
    let deployments = model.devices[number].deployments.iter();
    let packages =
        deployments.map(|(package, deployment)| (names.packages[*package].id, deployment));
    let expected_open = packages
        .clone()
        .filter_map(|(id, deployment)| Some((id, deployment.open?)));
    let expected_done = packages.filter_map(|(id, deployment)| Some((id, deployment.done?)));
    let result = |done: ModelResult| (done.attempt, done.code.to_owned(), done.outcome);
    let expected_done = expected_done.map(|(id, done)| (id, result(done)));
    [
        differ(
            &format!("open tasks of {id}"),
            &open,
            &expected_open.collect(),
        ),
        differ(&format!("results of {id}"), &done, &expected_done.collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const fn state(state: TaskState) -> DeploymentState {
    match state {
        TaskState::Pending => DeploymentState::Pending,
        TaskState::Announced { .. } => DeploymentState::Announced,
        TaskState::Withdrawn { .. } => DeploymentState::Withdrawn,
    }
}

/// Compares the tally of a package, the devices in its index, and its groups.
pub(super) async fn package(
    records: &Records,
    names: &FleetNames,
    model: &FleetModel,
    number: usize,
) -> (PackageCount, Vec<String>) {
    let record = &names.packages[number];
    let (id, name) = (record.id, record.name.to_string());
    let count = PackageCount {
        name: name.clone(),
        id,
        tally: until_answered(|| records.tally(id)).await,
        expected: model.tally(number),
    };
    let listed = until_answered(|| records.devices_of(id)).await;
    let states = model.states(number).into_iter();
    let states = states.map(|(device, state)| (names.devices[device].clone(), state));
    let states: BTreeMap<_, _> = states.collect();
    let wrong = listed
        .iter()
        .filter(|(device, state)| states.get(*device) != Some(*state));
    let mut differences: Vec<String> = wrong
        .map(|(device, state)| {
            let expected = states.get(device);
            format!("index of {name}: {device}: expected {expected:?}, found {state}")
        })
        .collect();
    let groups = until_answered(|| records.groups_with(id)).await;
    let mut having: Vec<_> = model.having(number);
    having.sort_by_key(|group| &names.groups[*group]);
    let having: Vec<_> = having
        .into_iter()
        .map(|group| names.groups[group].clone())
        .collect();
    differences.extend(differ(
        &format!("tally of {name}"),
        &count.tally,
        &count.expected,
    ));
    differences.extend(differ(
        &format!("index of {name}"),
        &listed.len(),
        &states.len(),
    ));
    differences.extend(differ(&format!("groups of {name}"), &groups, &having));
    (count, differences)
}

/// Compares the size and the members of a group.
pub(super) async fn group(
    records: &Records,
    names: &FleetNames,
    model: &FleetModel,
    number: usize,
) -> (GroupCount, Vec<String>) {
    let group = &names.groups[number];
    let mut expected: Vec<_> = model
        .members(number)
        .into_iter()
        .map(|device| names.devices[device].clone())
        .collect();
    expected.sort_unstable();
    let count = GroupCount {
        name: group.to_string(),
        size: until_answered(|| records.size(group)).await,
        expected: expected.len() as u64,
    };
    let members = until_answered(|| records.members(group)).await;
    let differences = [
        differ(&format!("size of {group}"), &count.size, &count.expected),
        differ(&format!("members of {group}"), &members, &expected),
    ];
    (count, differences.into_iter().flatten().collect())
}

/// Compares all records of groups and devices with the signed state.
pub(super) async fn signed_state(records: &Records, now: UnixTime) -> Vec<String> {
    let state = TargetState::read(records, &trust()).await;
    let mut state = state.expect("the head can be verified");
    let differences = record_differences(records, &mut state, now, &Progress::none()).await;
    let differences = differences.expect("the head is complete");
    let lines = differences.iter().map(ToString::to_string);
    let order = state.head.map_or(0, |head| head.stored.order);
    let recorded = records.recorded_head().await;
    let recorded = recorded.expect("a head can be read");
    let recorded = recorded.map_or(0, |head| head.order);
    lines
        .chain(differ("changes with complete records", &recorded, &order))
        .collect()
}

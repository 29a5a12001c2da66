//! The failures of a package, grouped by their causes.

mod line;

use std::collections::BTreeMap;

use packcast_protocol::{DeviceId, PackageId, ResultCode};
use packcast_rollout::{DeviceRecord, FinishedTask};
use packcast_store::records::DeploymentState;
use serde::Serialize;

pub(crate) use self::line::last_line;
use self::line::normalised;
use crate::failure::Failure;
use crate::target::Target;

/// The maximum number of failures that are read from each of the 64 partitions of the index.
const MOST_OF_PARTITION: u16 = 32;

/// The maximum number of failures that are read.
pub const MOST_READ: usize = 1_000;

/// The number of devices that are named for each cause.
const EXAMPLES: usize = 3;

/// The failures of a package, grouped by their causes.
#[derive(Debug, Serialize)]
pub struct FailureCauses {
    /// The number of failures that were read: at most [`MOST_READ`].
    pub read: u64,
    /// The most frequent cause first.
    pub by_cause: Vec<FailureCause>,
}

/// Failures with the same result code and the same last line of output.
#[derive(Debug, Serialize)]
pub struct FailureCause {
    pub code: ResultCode,
    /// The last line of the output, or else the reason that the agent gives, with placeholders for
    /// digits, paths, addresses and times. `None` if there is neither.
    pub line: Option<String>,
    /// The number of devices among the failures that were read.
    pub devices: u64,
    /// Some of the devices.
    pub examples: Vec<ExampleDevice>,
    /// The end of the output of the first example; `None` if it has none.
    #[serde(skip)]
    pub output_tail: Option<String>,
}

/// A device that stands for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExampleDevice {
    pub device: DeviceId,
    /// Empty if the device reports none.
    pub host_name: String,
}

/// Reads failures of a package, and groups them.
///
/// The cost does not depend on the number of devices: about 32 read units of the index, one for
/// each failure that is read, and one for each example.
pub async fn causes(target: &Target, package: PackageId) -> Result<FailureCauses, Failure> {
    let state = DeploymentState::Failed;
    let failed = target
        .records
        .some_devices_in(package, state, MOST_OF_PARTITION)
        .await?;
    causes_on(target, package, failed).await
}

/// Groups a sample of at most `most` failures of a package.
///
/// The cost is about 32 read units of the index, one for each failure, and one for each example.
pub async fn sampled_causes(
    target: &Target,
    package: PackageId,
    most: usize,
) -> Result<FailureCauses, Failure> {
    let state = DeploymentState::Failed;
    let failed = target
        .records
        .index_page(package, state, None, most)
        .await?;
    causes_on(target, package, failed.items).await
}

/// Groups the failures of a package on these devices. At most [`MOST_READ`] of them are read.
pub(super) async fn causes_on(
    target: &Target,
    package: PackageId,
    failed: impl IntoIterator<Item = DeviceId>,
) -> Result<FailureCauses, Failure> {
    let failed: Vec<DeviceId> = failed.into_iter().take(MOST_READ).collect();
    let results = target.records.results_of(package, &failed).await?;
    let read = results.len() as u64;
    let groups = grouped(&results);
    let shown: Vec<DeviceId> = groups.iter().flat_map(CauseGroup::examples).collect();
    let records = target.records.device_records(&shown).await?;
    let host_names: BTreeMap<DeviceId, String> = records
        .into_iter()
        .map(|(record, _): (DeviceRecord, _)| (record.device, record.host_name))
        .collect();
    let by_cause = groups.into_iter().map(|group| group.cause(&host_names));
    Ok(FailureCauses {
        read,
        by_cause: by_cause.collect(),
    })
}

/// The devices with one cause.
#[derive(Debug)]
struct CauseGroup {
    code: ResultCode,
    line: Option<String>,
    /// The end of the output of the first device.
    output_tail: Option<String>,
    devices: Vec<DeviceId>,
}

impl CauseGroup {
    fn examples(&self) -> impl Iterator<Item = DeviceId> {
        self.devices.iter().take(EXAMPLES).cloned()
    }

    fn cause(self, host_names: &BTreeMap<DeviceId, String>) -> FailureCause {
        let examples = self.examples().map(|device| ExampleDevice {
            host_name: host_names.get(&device).cloned().unwrap_or_default(),
            device,
        });
        FailureCause {
            examples: examples.collect(),
            devices: self.devices.len() as u64,
            code: self.code,
            line: self.line,
            output_tail: self.output_tail,
        }
    }
}

/// Groups results by their codes and their normalised lines, the largest group first.
fn grouped(results: &BTreeMap<DeviceId, FinishedTask>) -> Vec<CauseGroup> {
    let mut groups: BTreeMap<(String, Option<String>), CauseGroup> = BTreeMap::new();
    for (device, result) in results {
        let line = last_line(result).map(normalised);
        let group = groups
            .entry((result.code.to_string(), line.clone()))
            .or_insert_with(|| CauseGroup {
                code: result.code.clone(),
                line,
                output_tail: result.output_tail.clone(),
                devices: Vec::new(),
            });
        group.devices.push(device.clone());
    }
    let mut groups: Vec<CauseGroup> = groups.into_values().collect();
    // Causes of the same size stay in the order of their codes and lines.
    groups.sort_by_key(|group| std::cmp::Reverse(group.devices.len()));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_target::TestTarget;

    #[tokio::test]
    async fn failures_are_grouped_by_code_and_last_line() {
        let target = TestTarget::start(371).await;
        let tool = target.publish("tool").await;
        let other = target.publish("other").await;
        let mut devices = Vec::new();
        for number in 0..9 {
            devices.push(target.table.device(number).await);
        }
        for (pid, device) in devices[..5].chunks(1).enumerate() {
            let output = format!("unpacking\nE: lock held by process {pid}\n\n");
            let code = "ERR_EXIT_CODE_100";
            target.deploy(device, &tool, code, &output).await;
        }
        let lock = "E: lock held by process 9";
        for (device, package, code, output) in [
            (5, &tool, "ERR_EXIT_CODE_7", lock),
            (6, &tool, "ERR_EXIT_CODE_100", "disk full"),
            (7, &tool, "SUCCESS_0", "fine"),
            (8, &other, "ERR_EXIT_CODE_100", "disk full"),
        ] {
            let device = &devices[device..=device];
            target.deploy(device, package, code, output).await;
        }

        let found = causes(&target.target, tool.id).await.unwrap();
        assert_eq!(found.read, 7);
        let lines = found.by_cause.iter().map(|cause| {
            let hosts: Vec<&str> = cause
                .examples
                .iter()
                .map(|example| example.host_name.as_str())
                .collect();
            let (code, line) = (&cause.code, cause.line.as_deref().unwrap_or_default());
            format!("{} x {code}: {line} ({})", cause.devices, hosts.join(", "))
        });
        let lines: Vec<String> = lines.collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        5 x ERR_EXIT_CODE_100: E: lock held by process <n> (pc0, pc1, pc2)
        1 x ERR_EXIT_CODE_100: disk full (pc6)
        1 x ERR_EXIT_CODE_7: E: lock held by process <n> (pc5)
        ");
    }

    #[tokio::test]
    async fn a_bounded_number_of_failures_is_read() {
        let target = TestTarget::start(372).await;
        let tool = target.publish("tool").await;
        let mut devices = Vec::new();
        for number in 0..40 {
            devices.push(target.table.device(number).await);
        }
        target
            .deploy(&devices, &tool, "ERR_EXIT_CODE_1", "no")
            .await;
        let records = &target.target.records;
        let state = DeploymentState::Failed;
        let all = records.devices_in(tool.id, state).await.unwrap();
        let some = records.some_devices_in(tool.id, state, 1).await.unwrap();
        assert_eq!(all.len(), 40);
        assert!((1..40).contains(&some.len()), "{}", some.len());
        assert!(some.is_subset(&all));
        let waiting = records.devices_in(tool.id, DeploymentState::Pending);
        assert_eq!(waiting.await.unwrap().len(), 0);
    }
}

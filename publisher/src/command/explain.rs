//! `packcast explain`: why a device has a package, or has it not.

mod words;

use packcast_protocol::{DeviceId, PackageId, PackageRef, UnixTime};
use packcast_rollout::{
    DeviceRecord, Evidence, Explanation, FinishedTask, GroupState, OpenTask, Pace, PackageRecord,
    explain,
};
use packcast_store::records::Standing;
use serde::Serialize;

use super::{device, find, named, state};
use crate::Globals;
use crate::clock::now;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// Say why a device has a package, or has it not
///
/// The reason that comes first is named, with what to do about it; once it is gone, another may
/// show. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast explain web01 vlc@3.0.21
  packcast explain ocs:web01-2026-03-04-05-06-07 1795327754 --format json")]
pub(crate) struct Args {
    /// The device: its id, or its host name if no other has it
    device: DeviceName,
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
}

/// What the records say of a device and a package.
struct Read {
    device: DeviceId,
    package: PackageRecord,
    standing: Standing,
    groups: Vec<GroupState>,
    others: Vec<PackageRecord>,
    finished: Option<FinishedTask>,
    in_history: bool,
}

#[derive(Serialize)]
struct Explained<'a> {
    device: &'a DeviceId,
    host_name: Option<&'a str>,
    package: PackageId,
    name: String,
    #[serde(flatten)]
    explanation: &'a Explanation,
    /// The reason as a sentence.
    says: String,
    /// What to do about it.
    next: String,
    task: Option<&'a OpenTask>,
    result: Option<&'a FinishedTask>,
    in_history: bool,
    last_seen: Option<UnixTime>,
    #[serde(skip)]
    read: &'a Read,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        let id = self.device.find(&target).await?;
        let read = read(&target, id, package).await?;
        let explanation = explain(&read.evidence(target.pace), now());
        let explained = explained(&read, &explanation);
        output::result(globals.format, &explained, text);
        Ok(())
    }
}

async fn read(target: &Target, device: DeviceId, package: PackageRecord) -> Result<Read, Failure> {
    let records = &target.records;
    let standing = records.standing(&device).await?;
    let groups: Vec<_> = standing.memberships.groups().collect();
    let others: Vec<PackageId> = standing
        .tasks
        .iter()
        .map(|task| task.package)
        .filter(|id| *id != package.id)
        .collect();
    let in_history = match &device {
        DeviceId::Ocs(_) => records.history(&device).await?.contains(&package.id),
        DeviceId::Agent(_) => false,
    };
    Ok(Read {
        groups: records.group_states(&groups).await?,
        others: records.packages_of(&others).await?,
        finished: records.finished(&device, package.id).await?,
        in_history,
        device,
        package,
        standing,
    })
}

impl Read {
    fn evidence(&self, target: Pace) -> Evidence<'_> {
        let groups = self.groups.iter().map(|state| &state.pace);
        let pace = target.in_force(groups, &self.standing.pace);
        Evidence {
            device: &self.device,
            is_known: self.standing.device.is_some(),
            memberships: &self.standing.memberships,
            groups: &self.groups,
            tasks: &self.standing.tasks,
            orders: self.standing.orders,
            package: &self.package,
            others: &self.others,
            finished: self.finished.as_ref(),
            in_history: self.in_history,
            strict: pace.strict,
        }
    }

    fn record(&self) -> Option<&DeviceRecord> {
        self.standing.device.as_ref()
    }

    fn task(&self) -> Option<&OpenTask> {
        let mut tasks = self.standing.tasks.iter();
        tasks.find(|task| task.package == self.package.id)
    }

    /// Names a package that the device has an open task for.
    fn name_of(&self, id: PackageId) -> String {
        let package = self.others.iter().find(|package| package.id == id);
        package.map_or_else(|| id.to_string(), named)
    }
}

fn explained<'a>(read: &'a Read, explanation: &'a Explanation) -> Explained<'a> {
    let said = words::Said::of(read, &explanation.reason);
    Explained {
        device: &read.device,
        host_name: read.record().map(|record| record.host_name.as_str()),
        package: read.package.id,
        name: named(&read.package),
        explanation,
        says: said.says,
        next: said.next,
        task: read.task(),
        result: read.finished.as_ref(),
        in_history: read.in_history,
        last_seen: read.record().map(|record| record.last_seen),
        read,
    }
}

fn text(explained: &Explained<'_>) -> String {
    let read = explained.read;
    let host_name = explained.host_name.unwrap_or_default();
    let tasks = read.standing.tasks.iter();
    let ahead: Vec<String> = tasks
        .filter(|task| explained.explanation.ahead.contains(&task.package))
        .map(|task| {
            format!(
                "{} (priority {})",
                read.name_of(task.package),
                task.priority
            )
        })
        .collect();
    let facts = output::fields([
        (
            "device",
            format!("{} {host_name}", read.device).trim_end().to_owned(),
        ),
        ("last seen", words::last_seen(read.record())),
        (
            "package",
            format!(
                "{} {}, {}",
                explained.package,
                explained.name,
                state(&read.package)
            ),
        ),
        ("assigned to", assigned_to(explained.explanation)),
        ("task", explained.task.map_or_else(String::new, task)),
        (
            "result",
            explained.result.map_or_else(String::new, |finished| {
                let result = device::result(finished);
                let at = output::time(finished.finished_at);
                format!("attempt {}, {at}: {result}", finished.attempt)
            }),
        ),
        (
            "history",
            if explained.in_history { "has it" } else { "" }.to_owned(),
        ),
        ("ahead", ahead.join(", ")),
        ("ordered", device::order::pending(&read.standing.orders)),
    ]);
    format!(
        "{}\n\n{facts}\nnext: {}",
        output::printable(&explained.says),
        explained.next
    )
}

fn assigned_to(explanation: &Explanation) -> String {
    let device = explanation.direct.then(|| "the device itself".to_owned());
    let groups = explanation.groups.iter();
    let groups = groups.map(|group| format!("group {group}"));
    let all: Vec<String> = device.into_iter().chain(groups).collect();
    all.join(", ")
}

fn task(task: &OpenTask) -> String {
    format!(
        "attempt {}, priority {}, {}",
        task.attempt,
        task.priority,
        device::open_state(task)
    )
}

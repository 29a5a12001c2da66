//! The state of the agent, from its state folder and from the running service.

mod shown_state;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use packcast_protocol::{
    AgentId, DeviceId, Outcome, PackageId, PackageName, PackageVersion, UnixTime,
};
use serde::Serialize;

use self::shown_state::{ShownState, ShownWaiting};
use crate::clock::now;
use crate::config::Config;
use crate::platform::{self, MachineIds};
use crate::run::RunError;
use crate::service::Activity;
use crate::state::StateDir;
use crate::state::history::{History, acted_under};
use crate::state::identity;
use crate::state::journal::{self, Finished, Journal, StoredJournal};
use crate::state::waiting::WaitList;
use crate::target_state::followed_state::FollowedState;

/// The data of the `status` command.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    device: DeviceId,
    /// The state folder is a copy, and this machine has not enrolled as a new device yet.
    is_of_another_machine: bool,
    /// The work of the running service; `None` if no service runs.
    service: Option<Activity>,
    state: ShownState,
    waiting: Vec<ShownWaiting>,
    packages: Vec<ShownPackage>,
    installed: Vec<InstalledPackage>,
    history: Vec<Finished>,
}

/// The package of a name that has succeeded last.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct InstalledPackage {
    id: PackageId,
    name: PackageName,
    version: PackageVersion,
    since: UnixTime,
}

/// A package that the agent deploys, or whose result the function has not accepted yet.
#[derive(Debug, Serialize)]
struct ShownPackage {
    id: PackageId,
    stage: &'static str,
    fragments_verified: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Finished>,
}

impl Status {
    /// Reads the status from the state folder. `service` is the work of the running service.
    pub(crate) fn read(
        state: &StateDir,
        config: &Config,
        service: Option<Activity>,
    ) -> Result<Self, RunError> {
        let here = MachineIds::here();
        let identity = identity::load_or_create(state, &here)?;
        let agent: AgentId = identity.key(state)?.id();
        let mut packages = Vec::new();
        for id in state.packages()? {
            packages.extend(package(state, id)?);
        }
        let history = History::load(state, now())?;
        let acted = acted_under(state, &history);
        let followed = FollowedState::read(state, &config.trust, agent.clone(), acted)?;
        Ok(Self {
            device: DeviceId::Agent(agent),
            is_of_another_machine: identity.is_of_another_machine(&here),
            service,
            state: ShownState::of(&followed, &config.trust, now()),
            waiting: ShownWaiting::of(&WaitList::load(state)?),
            packages,
            installed: installed(history.iter()),
            history: history.iter().cloned().collect(),
        })
    }

    /// Formats the status for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("device {}\n", self.device);
        if self.is_of_another_machine {
            text.push_str("conflict: the identity was created on another machine, so nothing begins before this machine has enrolled as a new device\n");
        }
        let _ = match &self.service {
            Some(activity) => writeln!(text, "service: {activity}"),
            None => writeln!(
                text,
                "service: not running; start it with `{}`",
                platform::START_SERVICE
            ),
        };
        self.state.write(&mut text);
        let under_way = || self.service.iter().flat_map(|service| &service.package);
        for package in under_way() {
            let _ = writeln!(text, "under way: {package}");
        }
        for task in &self.waiting {
            let _ = writeln!(text, "package {}: waits: {}", task.id, task.detail);
        }
        let waits = |id| self.waiting.iter().any(|task| task.id == id);
        let runs = |id| under_way().any(|package| package.id == id);
        let others = self.packages.iter().filter(|package| {
            // A result shows more than the reason to wait.
            package.result.is_some() || !(waits(package.id) || runs(package.id))
        });
        for package in others {
            let ShownPackage {
                id,
                stage,
                fragments_verified,
                result,
            } = package;
            let shown = match result {
                Some(finished) => format!("{} (not reported yet)", finished.report.code),
                None => format!("{stage}, {fragments_verified} fragments verified"),
            };
            let _ = writeln!(text, "package {id}: {shown}");
        }
        for InstalledPackage {
            id,
            name,
            version,
            since,
        } in &self.installed
        {
            let _ = writeln!(
                text,
                "installed: {name}@{version} ({id}) since {}",
                since.day()
            );
        }
        if !self.history.is_empty() {
            text.push_str("all results:\n");
        }
        for finished in &self.history {
            let _ = writeln!(text, "{}", line(finished));
        }
        text
    }
}

/// Returns the installed packages, as far as the agent knows: of each name, the package that has
/// succeeded last.
fn installed<'a>(history: impl Iterator<Item = &'a Finished>) -> Vec<InstalledPackage> {
    let mut latest: BTreeMap<&PackageName, (UnixTime, &Finished)> = BTreeMap::new();
    for finished in history {
        let Some(label) = &finished.package else {
            continue;
        };
        let time = finished.report.finished;
        let is_later = latest
            .get(&label.name)
            .is_none_or(|(found, _)| *found <= time);
        // A failed attempt leaves the package that was installed before.
        if finished.outcome == Outcome::Succeeded && is_later {
            latest.insert(&label.name, (time, finished));
        }
    }
    let packages = latest.into_values().filter_map(|(since, finished)| {
        let label = finished.package.clone()?;
        Some(InstalledPackage {
            id: finished.report.id,
            name: label.name,
            version: label.version,
            since,
        })
    });
    packages.collect()
}

fn line(finished: &Finished) -> String {
    let report = &finished.report;
    let name = finished.package.as_ref().map_or_else(
        || "-".to_owned(),
        |named| format!("{}@{}", named.name, named.version),
    );
    let outcome = match finished.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::NotApplicable => "not applicable",
    };
    let (id, attempt, code) = (report.id, report.attempt, &report.code);
    let day = report.finished.day();
    format!("{id}  {day}  attempt {attempt}  {outcome:<9}  {code:<24}  {name}")
}

fn package(state: &StateDir, id: PackageId) -> Result<Option<ShownPackage>, RunError> {
    let dir = state.package(id);
    let Some(found) = journal::read(&dir)? else {
        return Ok(None);
    };
    let (shown, result) = match found {
        StoredJournal::Unreadable { .. } => ("unreadable", None),
        StoredJournal::Read(Journal::Fetching(_)) => ("fetching", None),
        StoredJournal::Read(Journal::Acting { .. }) => ("acting", None),
        StoredJournal::Read(Journal::Finished(finished)) => ("finished", Some(finished)),
    };
    let fragments = std::fs::read_dir(dir.fragments()).into_iter().flatten();
    let verified = fragments
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
        .count();
    Ok(Some(ShownPackage {
        id,
        stage: shown,
        fragments_verified: verified,
        result,
    }))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::result::NamedCode;

    use super::*;
    use crate::state::journal::PackageLabel;

    #[test]
    fn of_each_name_the_package_that_succeeded_last_is_installed() {
        let finished = |n: u32, name: &str, version: &str, outcome, time| {
            let id = PackageId::try_from(1_795_000_000 + n).unwrap();
            let time = UnixTime(time);
            let end = Finished::concluded(id, 1, NamedCode::Execute, "detail", time);
            Finished {
                outcome,
                package: Some(PackageLabel {
                    name: name.parse().unwrap(),
                    version: version.parse().unwrap(),
                }),
                ..end
            }
        };
        let history = [
            finished(1, "vlc", "1", Outcome::Succeeded, 10),
            finished(2, "vlc", "2", Outcome::Succeeded, 20),
            // A failed attempt leaves the earlier version.
            finished(3, "vlc", "3", Outcome::Failed, 30),
            finished(4, "tool", "1", Outcome::Failed, 30),
            // A downgrade has a lower id.
            finished(6, "app", "2", Outcome::Succeeded, 40),
            finished(5, "app", "1", Outcome::Succeeded, 50),
        ];
        let installed = installed(history.iter());
        let names = installed
            .iter()
            .map(|it| format!("{}@{}", it.name, it.version));
        assert_eq!(names.collect::<Vec<_>>(), ["app@1", "vlc@2"]);
    }
}

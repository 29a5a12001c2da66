//! The state of the agent, read from its state folder.

mod shown_state;

use std::fmt::Write as _;

use packcast_protocol::{AgentId, DeviceId, Outcome, PackageId};
use serde::Serialize;

use self::shown_state::{ShownState, ShownWaiting};
use crate::clock::now;
use crate::config::Config;
use crate::platform::MachineIds;
use crate::run::RunError;
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
    state: ShownState,
    waiting: Vec<ShownWaiting>,
    packages: Vec<ShownPackage>,
    history: Vec<Finished>,
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
    pub(crate) fn read(state: &StateDir, config: &Config) -> Result<Self, RunError> {
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
            state: ShownState::of(&followed, &config.trust, now()),
            waiting: ShownWaiting::of(&WaitList::load(state)?),
            packages,
            history: history.iter().cloned().collect(),
        })
    }

    /// Formats the status for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("device {}\n", self.device);
        if self.is_of_another_machine {
            text.push_str("conflict: the identity was created on another machine, so nothing begins before this machine has enrolled as a new device\n");
        }
        self.state.write(&mut text);
        for task in &self.waiting {
            let _ = writeln!(text, "package {}: waits: {}", task.id, task.detail);
        }
        for package in &self.packages {
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
        for finished in &self.history {
            let _ = writeln!(text, "{}", line(finished));
        }
        text
    }
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
    format!("{id}  attempt {attempt}  {outcome:<9}  {code:<24}  {name}")
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

//! What the agent has done and is doing, read from its state folder.

use std::fmt::Write as _;

use packcast_protocol::{AgentId, DeviceId, Outcome, PackageId};
use serde::Serialize;

use crate::history::History;
use crate::identity;
use crate::journal::{self, Finished, Found, Journal};
use crate::run::RunError;
use crate::state::StateDir;

/// What `status` shows.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    device: DeviceId,
    packages: Vec<Package>,
    history: Vec<Finished>,
}

/// A package under way, or one whose result was not accepted yet.
#[derive(Debug, Serialize)]
struct Package {
    id: PackageId,
    stage: &'static str,
    fragments_verified: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Finished>,
}

impl Status {
    pub(crate) fn read(state: &StateDir) -> Result<Self, RunError> {
        let agent: AgentId = identity::load_or_create(state)?.id();
        let mut packages = Vec::new();
        for id in state.packages()? {
            packages.extend(package(state, id)?);
        }
        let history = History::load(&state.history())?;
        Ok(Self {
            device: DeviceId::Agent(agent),
            packages,
            history: history.iter().cloned().collect(),
        })
    }

    /// Writes the status for a person to read.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("device {}\n", self.device);
        for package in &self.packages {
            let Package {
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
    };
    let (id, attempt, code) = (report.id, report.attempt, &report.code);
    format!("{id}  attempt {attempt}  {outcome:<9}  {code:<24}  {name}")
}

fn package(state: &StateDir, id: PackageId) -> Result<Option<Package>, RunError> {
    let dir = state.package(id);
    let Some(found) = journal::read(&dir)? else {
        return Ok(None);
    };
    let (shown, result) = match found {
        Found::Unreadable { .. } => ("unreadable", None),
        Found::Read(Journal::Fetching(_)) => ("fetching", None),
        Found::Read(Journal::Acting { .. }) => ("acting", None),
        Found::Read(Journal::Finished(finished)) => ("finished", Some(finished)),
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
    Ok(Some(Package {
        id,
        stage: shown,
        fragments_verified: verified,
        result,
    }))
}

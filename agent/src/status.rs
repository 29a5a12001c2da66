//! The state of the agent, read from its state folder.

mod shown_state;

use std::fmt::Write as _;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{AgentId, Assignee, DeviceId, Outcome, PackageId, UnixTime};
use serde::Serialize;

use self::shown_state::{ShownState, ShownWaiting};
use crate::authority::AuthorityError;
use crate::authority::followed_state::FollowedState;
use crate::clock::now;
use crate::config::{Config, TrustConfig};
use crate::platform::MachineIds;
use crate::run::RunError;
use crate::state::StateDir;
use crate::state::history::{History, acted_under};
use crate::state::identity;
use crate::state::journal::{self, Finished, Journal, StoredJournal};
use crate::state::waiting::WaitList;
use crate::trust::Trust;

/// The data of the `status` command.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    device: DeviceId,
    /// The state folder is a copy, and this machine has not enrolled as a new device yet.
    is_of_another_machine: bool,
    #[serde(flatten)]
    authority: ShownAuthority,
    packages: Vec<ShownPackage>,
    history: Vec<Finished>,
}

/// The documents under which the agent acts, by the configured form of trust.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ShownAuthority {
    State {
        state: ShownState,
        waiting: Vec<ShownWaiting>,
    },
    Documents {
        trusted: ShownKeys,
        assignments: Vec<ShownDocument>,
    },
}

/// The trusted keys.
#[derive(Debug, Serialize)]
struct ShownKeys {
    /// The serial number of the publisher's key list, or 0 for the keys of the configuration.
    list: u64,
    keys: Vec<PublicKey>,
}

/// A signed document with assignments, as this device keeps it.
#[derive(Debug, Serialize)]
struct ShownDocument {
    recipient: Assignee,
    revision: u64,
    packages: usize,
    expires: UnixTime,
    expired: bool,
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
        let authority = ShownAuthority::read(state, config, &agent, &history)?;
        Ok(Self {
            device: DeviceId::Agent(agent),
            is_of_another_machine: identity.is_of_another_machine(&here),
            authority,
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
        self.authority.write(&mut text);
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

impl ShownAuthority {
    fn read(
        dir: &StateDir,
        config: &Config,
        device: &AgentId,
        history: &History,
    ) -> Result<Self, RunError> {
        Ok(match &config.trust {
            TrustConfig::State(roots) => {
                let acted = acted_under(dir, history);
                let state = FollowedState::read(dir, roots, device.clone(), acted);
                let state = state.map_err(AuthorityError::from)?;
                Self::State {
                    state: ShownState::of(&state, roots, now()),
                    waiting: ShownWaiting::of(&WaitList::load(dir)?),
                }
            }
            TrustConfig::Keys(keys) => {
                let trust = Trust::load(dir, keys, device.clone())?;
                Self::Documents {
                    trusted: ShownKeys::of(&trust),
                    assignments: documents(&trust, now()),
                }
            }
        })
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::State { state, waiting } => {
                state.write(text);
                for task in waiting {
                    let _ = writeln!(text, "package {}: waits: {}", task.id, task.detail);
                }
            }
            Self::Documents {
                trusted,
                assignments,
            } => {
                trusted.write(text);
                for document in assignments {
                    let _ = writeln!(text, "{}", document.line());
                }
            }
        }
    }
}

impl ShownKeys {
    fn of(trust: &Trust) -> Self {
        let trusted = trust.keys();
        Self {
            list: trusted.serial(),
            keys: trusted.keys().to_vec(),
        }
    }

    fn write(&self, text: &mut String) {
        let from = match self.list {
            0 => "configuration".to_owned(),
            list => format!("list {list}"),
        };
        for key in &self.keys {
            let _ = writeln!(text, "trusted key {key} ({from})");
        }
    }
}

impl ShownDocument {
    fn line(&self) -> String {
        let Self {
            recipient,
            revision,
            packages,
            expires,
            expired,
        } = self;
        let expires = expires.day();
        let until = if *expired {
            format!("expired on {expires}: run 'packcast sign' on the publisher's machine")
        } else {
            format!("valid until {expires}")
        };
        format!("assignments to {recipient}: revision {revision}, packages: {packages}, {until}")
    }
}

fn documents(trust: &Trust, now: UnixTime) -> Vec<ShownDocument> {
    let documents = trust.documents();
    let shown = documents.map(|document| ShownDocument {
        recipient: document.recipient().clone(),
        revision: document.held().revision,
        packages: document.packages().len(),
        expires: document.expires(),
        expired: document.is_expired(now),
    });
    shown.collect()
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

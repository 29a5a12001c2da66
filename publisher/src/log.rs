//! The log of a target: who changed what, and when.
//!
//! The changes are computed from the trees of the commits. The document about a commit tells what
//! its author says; nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{AboutDocument, CommitId, Document};
use packcast_protocol::{
    DeviceId, GroupName, PackageId, PackageRef, Sha256Digest, UnixTime, with_causes,
};
use packcast_rollout::state::{EntryOwner, StateDifference};
use packcast_store::Records;
use serde::Serialize;

use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::package::find;
use crate::state::{
    CommitStanding, ComparedStates, History, PastCommit, RecordedNames, StateError, Trees,
    warn_of_state,
};
use crate::target::Target;
use crate::text::count;

/// The default number of commits in a log.
pub const NEWEST_COMMITS: usize = 20;

/// The parameters of [`log`].
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Maximum number of commits.
    pub limit: usize,
    /// Leave out commits with this number and greater ones.
    pub before: Option<u64>,
    /// Only changes of this package.
    pub package: Option<PackageRef>,
    /// Only changes of this group.
    pub group: Option<GroupName>,
    /// Only changes of this device.
    pub device: Option<DeviceName>,
}

/// Some commits of a target, the newest first. It serializes as their list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct CommitLog {
    pub commits: Vec<LoggedCommit>,
}

/// A commit in a log.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedCommit {
    pub number: u64,
    pub commit: CommitId,
    /// The commit whose state it changes. `None` for the first commit.
    pub parent: Option<CommitId>,
    /// Time of the signature.
    pub issued: Option<UnixTime>,
    pub key: Option<PublicKey>,
    /// Author and purpose, as the author says. `None` if the table does not have the document.
    #[serde(flatten)]
    pub about: Option<CommitAbout>,
    pub standing: LoggedStanding,
    /// The reason why the commit does not verify, or why its changes are unknown.
    pub problem: Option<String>,
    /// The changes since the parent of the commit.
    pub changes: Vec<StateDifference>,
    /// The changes in words.
    pub lines: Vec<String>,
}

/// Author and purpose of a commit.
#[derive(Clone, Debug, Serialize)]
pub struct CommitAbout {
    pub author: String,
    pub host: String,
    pub command: String,
    pub note: String,
}

/// The standing of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggedStanding {
    /// The commit is in the history of the head, and its signature verifies.
    Verified,
    /// The signature of the commit verifies, and the history of the head leaves the commit out.
    Replaced,
    /// The commit does not verify.
    Unverified,
}

/// The names to which a log is limited.
#[derive(Clone, Debug, Default)]
struct LogFilter {
    package: Option<PackageId>,
    group: Option<GroupName>,
    device: Option<DeviceId>,
}

/// A commit with its changes, or the reason why they are unknown.
struct ReadCommit {
    commit: PastCommit,
    changes: Result<Vec<StateDifference>, String>,
}

/// Returns the newest commits of a target with their changes.
///
/// A commit that does not verify does not stop the others; see [`CommitLog::conclude`].
pub async fn log(target: &Target, request: &LogRequest) -> Result<CommitLog, Failure> {
    let trust = target.trust()?;
    let package = match &request.package {
        Some(package) => Some(find(target, package).await?.id),
        None => None,
    };
    let device = match &request.device {
        Some(device) => Some(device.find(target).await?),
        None => None,
    };
    let filter = LogFilter {
        package,
        group: request.group.clone(),
        device,
    };
    let mut history = History::begin(&target.records, &trust).await?;
    warn_of_state(target, &history.state);
    let read = read(&mut history, request, &filter).await?;
    Ok(described(&target.records, read).await?)
}

async fn read(
    history: &mut History<'_>,
    request: &LogRequest,
    filter: &LogFilter,
) -> Result<Vec<ReadCommit>, StateError> {
    let mut found = Vec::new();
    let mut loaded = None;
    while found.len() < request.limit {
        let Some(commit) = history.next().await? else {
            break;
        };
        if request
            .before
            .is_none_or(|before| commit.id.number < before)
        {
            let changes = changes(history, &commit, &mut loaded).await?;
            let read = ReadCommit { commit, changes };
            found.extend(read.matching(filter));
        }
    }
    Ok(found)
}

/// Returns commits of a history with their changes.
pub(crate) async fn logged(
    history: &History<'_>,
    commits: Vec<PastCommit>,
) -> Result<CommitLog, StateError> {
    let (mut read, mut loaded) = (Vec::new(), None);
    for commit in commits {
        let changes = changes(history, &commit, &mut loaded).await?;
        read.push(ReadCommit { commit, changes });
    }
    described(history.records(), read).await
}

/// Returns the changes of a commit since its parent, or the reason why they are unknown.
///
/// The parent usually comes next, so its loaded pages are kept in `loaded`.
async fn changes(
    history: &History<'_>,
    commit: &PastCommit,
    loaded: &mut Option<(CommitId, Trees)>,
) -> Result<Result<Vec<StateDifference>, String>, StateError> {
    let Some(fields) = &commit.commit else {
        return Ok(Ok(Vec::new()));
    };
    let mut after = match loaded.take() {
        Some((id, trees)) if id == commit.id => trees,
        _ => Trees::of(Some(fields)),
    };
    let Some(mut before) = history.trees_before(fields).await? else {
        return Ok(Err(
            "the table does not have the commit before it".to_owned()
        ));
    };
    let records = history.records();
    let compared = ComparedStates::load(records, &mut before, &mut after).await;
    let difference = compared.and_then(|compared| compared.difference());
    *loaded = fields.parent.map(|parent| (parent, before));
    match difference {
        Ok(difference) => Ok(Ok(difference)),
        Err(error) if error.is_of_content() => Ok(Err(with_causes(&error))),
        Err(error) => Err(error),
    }
}

async fn described(records: &Records, read: Vec<ReadCommit>) -> Result<CommitLog, StateError> {
    let changes = read.iter().filter_map(|it| it.changes.as_ref().ok());
    let names = RecordedNames::read(records, changes.flatten()).await?;
    let commits = read.iter().filter_map(|it| it.commit.commit.as_ref());
    // Commits of the same command can have the same document.
    let abouts: BTreeSet<Sha256Digest> = commits.map(|commit| commit.about).collect();
    let abouts: Vec<Sha256Digest> = abouts.into_iter().collect();
    let abouts = records.documents(&abouts).await?;
    let abouts: BTreeMap<Sha256Digest, CommitAbout> = abouts
        .into_iter()
        .filter_map(|text| {
            let about = Document::<AboutDocument>::read(text.clone()).ok()?;
            Some((text.digest(), CommitAbout::of(&about)))
        })
        .collect();
    let commits = read.into_iter().map(|read| {
        let about = read.commit.commit.as_ref();
        let about = about.and_then(|commit| abouts.get(&commit.about).cloned());
        read.logged(about, &names)
    });
    Ok(CommitLog {
        commits: commits.collect(),
    })
}

impl ReadCommit {
    /// Keeps the matching changes. Returns `None` if the filter matches none of them.
    fn matching(mut self, filter: &LogFilter) -> Option<Self> {
        if filter.is_empty() {
            return Some(self);
        }
        // A commit with unknown changes may have changed anything.
        if let Ok(changes) = &mut self.changes
            && self.commit.commit.is_some()
        {
            changes.retain(|change| filter.matches(change));
            if changes.is_empty() {
                return None;
            }
        }
        Some(self)
    }

    fn logged(self, about: Option<CommitAbout>, names: &RecordedNames) -> LoggedCommit {
        let Self { commit, changes } = self;
        let unverified = commit.problem().map(|problem| with_causes(problem));
        let (changes, unknown) = match changes {
            Ok(changes) => (changes, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        LoggedCommit {
            number: commit.id.number,
            commit: commit.id,
            parent: commit.commit.as_ref().and_then(|it| it.parent),
            issued: commit.commit.as_ref().map(|it| it.issued),
            key: commit.signer,
            about,
            standing: match commit.standing {
                CommitStanding::Verified => LoggedStanding::Verified,
                CommitStanding::Replaced => LoggedStanding::Replaced,
                CommitStanding::Unverified(_) => LoggedStanding::Unverified,
            },
            problem: unverified.or(unknown),
            lines: changes.iter().map(|change| change.line(names)).collect(),
            changes,
        }
    }
}

impl CommitAbout {
    fn of(about: &AboutDocument) -> Self {
        Self {
            author: about.author.to_string(),
            host: about.host.to_string(),
            command: about.command.to_string(),
            note: about.note.to_string(),
        }
    }
}

impl LogFilter {
    const fn is_empty(&self) -> bool {
        self.package.is_none() && self.group.is_none() && self.device.is_none()
    }

    fn matches(&self, change: &StateDifference) -> bool {
        self.package.is_none_or(|it| package(change) == Some(it))
            && self.group.as_ref().is_none_or(|it| is_of_group(change, it))
            && self
                .device
                .as_ref()
                .is_none_or(|it| is_of_device(change, it))
    }
}

fn package(change: &StateDifference) -> Option<PackageId> {
    match change {
        StateDifference::Assigned { entry, .. } | StateDifference::Unassigned { entry, .. } => {
            Some(entry.package)
        }
        _ => None,
    }
}

fn is_of_group(change: &StateDifference, name: &GroupName) -> bool {
    match change {
        StateDifference::GroupRenamed { group, to } => name == group || name == to,
        change => group(change) == Some(name),
    }
}

fn group(change: &StateDifference) -> Option<&GroupName> {
    match change {
        StateDifference::Assigned {
            to: EntryOwner::Group(group),
            ..
        }
        | StateDifference::Unassigned {
            from: EntryOwner::Group(group),
            ..
        }
        | StateDifference::GroupCreated { group, .. }
        | StateDifference::GroupDeleted { group }
        | StateDifference::Preferred { group, .. }
        | StateDifference::Paced { group, .. }
        | StateDifference::Left { group, .. }
        | StateDifference::Joined { group, .. } => Some(group),
        _ => None,
    }
}

fn is_of_device(change: &StateDifference, device: &DeviceId) -> bool {
    match change {
        StateDifference::Assigned {
            to: EntryOwner::Device(owner),
            ..
        }
        | StateDifference::Unassigned {
            from: EntryOwner::Device(owner),
            ..
        } => owner == device,
        StateDifference::Left { devices, .. } | StateDifference::Joined { devices, .. } => {
            devices.contains(device)
        }
        _ => false,
    }
}

impl CommitLog {
    /// Returns an error if a commit does not verify, or if its changes are unknown.
    pub fn conclude(&self) -> Result<(), Failure> {
        let wrong = self.commits.iter().filter(|it| it.problem.is_some());
        match wrong.count() {
            0 => Ok(()),
            wrong => Err(unverified(wrong, self.commits.len())),
        }
    }
}

fn unverified(wrong: usize, of: usize) -> Failure {
    Failure::conflict(format!(
        "cannot verify {wrong} of {}",
        count(of as u64, "commit")
    ))
    .hint("run 'packcast audit' to check the whole target")
}

#[cfg(test)]
mod tests;

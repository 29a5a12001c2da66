//! The log of a target: who changed what, and when.
//!
//! The changes of a commit are computed from its trees. The document about a commit tells what its
//! author says; nothing depends on it. Changes that are not part of the signed state are events, which
//! nothing verifies.

mod events;
mod filter;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{AboutDocument, CommitId, Document};
use packcast_protocol::{GroupName, PackageRef, Sha256Digest, UnixTime, with_causes};
use packcast_rollout::EventTime;
use packcast_rollout::state::StateDifference;
use packcast_store::Records;
use packcast_store::records::EventRecord;
use serde::Serialize;

use self::events::PastEvents;
pub use self::events::{EventStanding, LoggedEvent};
use self::filter::LogFilter;

use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::package::find;
use crate::state::{
    CommitStanding, ComparedStates, History, NeededNames, PastCommit, ReadLimit, RecordedNames,
    StateError, Trees, warn_of_state,
};
use crate::target::Target;
use crate::text::count;

/// The default number of commits and events in a log.
pub const NEWEST_CHANGES: usize = 20;

/// Number of commits that one query reads if it is not known how many are needed.
const COMMITS_AT_ONCE: usize = 500;

/// The parameters of [`log`].
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Maximum number of commits and events.
    pub limit: usize,
    /// Leave out commits with this number and greater ones, and events from this second on.
    pub before: Option<u64>,
    /// Only entries after this place, which is the end of another log: older commits and events.
    pub after: Option<LogPlace>,
    /// Leave out events, which are not signed.
    pub is_signed_only: bool,
    /// Only changes of this package.
    pub package: Option<PackageRef>,
    /// Only changes of this group.
    pub group: Option<GroupName>,
    /// Only changes of this device.
    pub device: Option<DeviceName>,
    /// Maximum number of pages and documents that the differences of all commits need, of 4 KiB each.
    /// A commit that needs more is listed without its changes. `None` for no limit.
    pub most_reads: Option<usize>,
}

/// A place in the log of a target: the last commit and the last event before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPlace {
    /// `None` before the newest commit.
    pub commit: Option<CommitId>,
    /// `None` before the newest event.
    pub event: Option<EventTime>,
}

/// Some commits and events of a target, the newest first. It serializes as their list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct TargetLog {
    pub entries: Vec<LogEntry>,
}

/// A commit or an event in a log.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum LogEntry {
    Commit(Box<LoggedCommit>),
    Event(LoggedEvent),
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
    /// The changes were not read, because they need more reads than the request permits.
    #[serde(skip)]
    pub is_left_out: bool,
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

/// A commit or an event of a log, as it was read.
enum ReadEntry {
    Commit(Box<ReadCommit>),
    Event(EventRecord),
}

/// A commit with its changes.
struct ReadCommit {
    commit: PastCommit,
    changes: ReadChanges,
}

/// The changes of a commit.
enum ReadChanges {
    Known(Vec<StateDifference>),
    /// The changes are unknown for this reason.
    Unknown(String),
    /// They need more reads than the request permits.
    LeftOut,
}

/// Returns the newest commits and events of a target with their changes.
///
/// A commit that does not verify does not stop the others; see [`TargetLog::conclude`].
pub async fn log(target: &Target, request: &LogRequest) -> Result<TargetLog, Failure> {
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
    // One more, which is the parent of the last one.
    let at_once = match request.before {
        None if filter.is_empty() => request.limit.saturating_add(1).min(COMMITS_AT_ONCE),
        _ => COMMITS_AT_ONCE,
    };
    let mut history = History::begin_with(&target.records, &trust, at_once).await?;
    warn_of_state(target, &history.state);
    if let Some(last) = request.after.and_then(|place| place.commit) {
        // The last commit of the page before names the next one.
        history = history.skipping_above(last.number);
    }
    let read = read(&mut history, request, &filter).await?;
    Ok(described(&target.records, read).await?)
}

/// Returns one commit with all of its changes; `None` if the table does not have it.
pub async fn find_commit(target: &Target, id: CommitId) -> Result<Option<LoggedCommit>, Failure> {
    let trust = target.trust()?;
    let history = History::begin_with(&target.records, &trust, 2).await?;
    warn_of_state(target, &history.state);
    let mut history = history.skipping_above(id.number);
    while let Some(commit) = history.next().await? {
        if commit.id == id {
            return Ok(logged(&history, vec![commit]).await?.pop());
        }
        if commit.id.name() < id.name() {
            break;
        }
    }
    Ok(None)
}

/// Reads commits and events in the order of their times.
async fn read(
    history: &mut History<'_>,
    request: &LogRequest,
    filter: &LogFilter,
) -> Result<Vec<ReadEntry>, StateError> {
    let mut events = PastEvents::new(history.records(), request);
    let (mut found, mut loaded) = (Vec::new(), None);
    let limit = request.most_reads.map(ReadLimit::new);
    let mut commit = next_before(history, request).await?;
    while found.len() < request.limit {
        let event = events.newest(filter).await?;
        let event_at = event.map(|event| event.at);
        match commit.take() {
            Some(next) if event_at.is_none_or(|at| at <= time_among_events(&next)) => {
                let changes = changes(history, &next, &mut loaded, limit.as_ref()).await?;
                let commit_read = ReadCommit {
                    commit: next,
                    changes,
                };
                let matching = commit_read.matching(filter);
                found.extend(matching.map(|it| ReadEntry::Commit(Box::new(it))));
                commit = next_before(history, request).await?;
            }
            later => {
                commit = later;
                let Some(event) = events.take() else {
                    break;
                };
                found.push(ReadEntry::Event(event));
            }
        }
    }
    Ok(found)
}

/// Returns the next commit of a request: with a number below `before`, and after the place.
async fn next_before(
    history: &mut History<'_>,
    request: &LogRequest,
) -> Result<Option<PastCommit>, StateError> {
    let last = request.after.and_then(|place| place.commit);
    loop {
        let next = history.next().await?;
        let is_later = |it: &PastCommit| {
            // The names of commits are in the order of the history.
            request.before.is_some_and(|before| it.id.number >= before)
                || last.is_some_and(|last| it.id.name() >= last.name())
        };
        if !next.as_ref().is_some_and(is_later) {
            return Ok(next);
        }
    }
}

/// Returns the time by which a commit is ordered among the events.
///
/// The second is signed. Within this second, the recorded time counts. Without a recorded time, the
/// commit comes after the events of its second: packages are published before they are assigned.
fn time_among_events(commit: &PastCommit) -> EventTime {
    // The number of a commit is a time, too.
    let number = UnixTime(commit.id.number);
    let second = commit.commit.as_ref().map_or(number, |it| it.issued);
    let recorded = commit.at.filter(|at| at.second() == second);
    recorded.unwrap_or(EventTime::end_of(second))
}

/// Returns commits of a history with their changes.
pub(crate) async fn logged(
    history: &History<'_>,
    commits: Vec<PastCommit>,
) -> Result<Vec<LoggedCommit>, StateError> {
    let (mut read, mut loaded) = (Vec::new(), None);
    for commit in commits {
        let changes = changes(history, &commit, &mut loaded, None).await?;
        let commit_read = ReadCommit { commit, changes };
        read.push(ReadEntry::Commit(Box::new(commit_read)));
    }
    let described = described(history.records(), read).await?;
    let entries = described.entries.into_iter();
    let commits = entries.filter_map(|entry| match entry {
        LogEntry::Commit(commit) => Some(*commit),
        LogEntry::Event(_) => None,
    });
    Ok(commits.collect())
}

/// Returns the changes of a commit since its parent.
///
/// The parent usually comes next, so its loaded pages are kept in `loaded`.
async fn changes(
    history: &History<'_>,
    commit: &PastCommit,
    loaded: &mut Option<(CommitId, Trees)>,
    limit: Option<&ReadLimit>,
) -> Result<ReadChanges, StateError> {
    let Some(fields) = &commit.commit else {
        return Ok(ReadChanges::Known(Vec::new()));
    };
    let after = match loaded.take() {
        Some((id, trees)) if id == commit.id => trees,
        _ => Trees::of(Some(fields)),
    };
    let Some(before) = history.trees_before(fields).await? else {
        let reason = "the table does not have the commit before it";
        return Ok(ReadChanges::Unknown(reason.to_owned()));
    };
    let within = |trees: Trees| trees.within(limit.cloned());
    let (mut before, mut after) = (within(before), within(after));
    let records = history.records();
    let compared = ComparedStates::load(records, &mut before, &mut after).await;
    let difference = compared.and_then(|compared| compared.difference());
    *loaded = fields.parent.map(|parent| (parent, before));
    match difference {
        Ok(difference) => Ok(ReadChanges::Known(difference)),
        Err(StateError::OverLimit) => Ok(ReadChanges::LeftOut),
        Err(error) if error.is_of_content() => Ok(ReadChanges::Unknown(with_causes(&error))),
        Err(error) => Err(error),
    }
}

async fn described(records: &Records, read: Vec<ReadEntry>) -> Result<TargetLog, StateError> {
    let mut names = NeededNames::default();
    // Commits of the same command can have the same document.
    let mut abouts: BTreeSet<Sha256Digest> = BTreeSet::new();
    for entry in &read {
        match entry {
            ReadEntry::Commit(read) => {
                if let ReadChanges::Known(changes) = &read.changes {
                    for change in changes {
                        names.add_difference(change);
                    }
                }
                abouts.extend(read.commit.commit.as_ref().map(|commit| commit.about));
            }
            ReadEntry::Event(read) => read.event.iter().for_each(|it| names.add_event(&it.change)),
        }
    }
    let names = names.read(records).await?;
    let abouts: Vec<Sha256Digest> = abouts.into_iter().collect();
    let abouts = records.documents(&abouts).await?;
    let abouts: BTreeMap<Sha256Digest, CommitAbout> = abouts
        .into_iter()
        .filter_map(|text| {
            let about = Document::<AboutDocument>::read(text.clone()).ok()?;
            Some((text.digest(), CommitAbout::of(&about)))
        })
        .collect();
    let entries = read.into_iter().map(|entry| match entry {
        ReadEntry::Commit(read) => {
            let about = read.commit.commit.as_ref();
            let about = about.and_then(|commit| abouts.get(&commit.about).cloned());
            LogEntry::Commit(Box::new(read.logged(about, &names)))
        }
        ReadEntry::Event(read) => LogEntry::Event(LoggedEvent::of(read, &names)),
    });
    Ok(TargetLog {
        entries: entries.collect(),
    })
}

impl ReadCommit {
    /// Keeps the matching changes. Returns `None` if the filter matches none of them.
    fn matching(mut self, filter: &LogFilter) -> Option<Self> {
        if filter.is_empty() {
            return Some(self);
        }
        // A commit with unknown changes may have changed anything.
        if let ReadChanges::Known(changes) = &mut self.changes
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
        let is_left_out = matches!(changes, ReadChanges::LeftOut);
        let (changes, unknown) = match changes {
            ReadChanges::Known(changes) => (changes, None),
            ReadChanges::Unknown(reason) => (Vec::new(), Some(reason)),
            ReadChanges::LeftOut => (Vec::new(), None),
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
            is_left_out,
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

impl TargetLog {
    /// Returns the place after the last entry, for the request of the next entries. `begin` is the place
    /// of the request.
    pub fn end(&self, begin: Option<LogPlace>) -> LogPlace {
        let mut end = begin.unwrap_or_default();
        for entry in &self.entries {
            match entry {
                LogEntry::Commit(commit) => end.commit = Some(commit.commit),
                LogEntry::Event(event) => end.event = Some(event.at),
            }
        }
        end
    }

    /// Returns an error if a commit does not verify, if its changes are unknown, or if an event
    /// cannot be read.
    pub fn conclude(&self) -> Result<(), Failure> {
        let commits = self.entries.iter().filter_map(|entry| match entry {
            LogEntry::Commit(commit) => Some(&commit.problem),
            LogEntry::Event(_) => None,
        });
        let commits: Vec<_> = commits.collect();
        let wrong = commits.iter().filter(|problem| problem.is_some()).count();
        if wrong > 0 {
            return Err(unverified(wrong, commits.len()));
        }
        let events = self.entries.iter().filter_map(|entry| match entry {
            LogEntry::Event(event) => Some(&event.problem),
            LogEntry::Commit(_) => None,
        });
        let events: Vec<_> = events.collect();
        match events.iter().filter(|problem| problem.is_some()).count() {
            0 => Ok(()),
            wrong => Err(unreadable(wrong, events.len())),
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

fn unreadable(wrong: usize, of: usize) -> Failure {
    Failure::conflict(format!(
        "cannot read {wrong} of {}: the records are invalid",
        count(of as u64, "event")
    ))
    .hint(
        "run 'packcast log --signed' to see the commits only: nobody can forge them without a key",
    )
}

#[cfg(test)]
mod tests;

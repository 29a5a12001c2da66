//! The difference between two states of a target.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{Commit, CommitId, TrustedRoots};
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::state::{
    AdoptedEntries, StateChange, StateDifference, StateNames, StatePart, apply, difference,
};
use packcast_store::Records;
use serde::Serialize;

use crate::clock::now;
use crate::failure::{Failure, NameKind};
use crate::signing::key::public_half;
use crate::state::{
    CommitProblem, CommitStanding, ComparedStates, History, PastCommit, RecordedNames, StateError,
    TargetState, Trees, planned_list,
};
use crate::target::Target;
use crate::warning::Warning;

/// A commit as an administrator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitRef {
    /// The current commit.
    Head,
    Number(u64),
}

/// Text that names no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of a commit, or 'head'")]
pub struct CommitRefError;

/// The difference between two states.
#[derive(Debug, Serialize)]
pub struct StateDiff {
    pub from: CommitId,
    pub to: CommitId,
    pub changes: Vec<StateDifference>,
    /// The changes in words.
    pub lines: Vec<String>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// The difference that changes would make. Nothing is signed yet.
#[derive(Debug, Serialize)]
pub struct PlannedDifference {
    pub changes: Vec<StateDifference>,
    /// The changes in words; empty if the state has them already.
    pub lines: Vec<String>,
    /// The head of the present state; `None` before the first commit.
    pub head: Option<CommitId>,
    /// The key list that the same commit signs, in words; `None` if it signs none.
    #[serde(skip)]
    pub key_list: Option<String>,
    #[serde(skip)]
    names: RecordedNames,
}

/// Changes in words, with the ids of the packages and devices that they name.
#[derive(Clone, Debug)]
pub struct LinesWithIds {
    pub lines: Vec<String>,
    /// The packages and devices whose ids the lines have.
    pub packages: BTreeSet<PackageId>,
    pub devices: BTreeSet<DeviceId>,
}

/// Names with ids: nobody signs the name of a package on record, and each device chooses its host name.
struct NamesWithIds<'a> {
    names: &'a RecordedNames,
    packages: RefCell<BTreeSet<PackageId>>,
    devices: RefCell<BTreeSet<DeviceId>>,
}

impl PlannedDifference {
    /// Returns the changes in words, with the id of each package and device that a line names.
    pub fn lines_with_ids(&self) -> LinesWithIds {
        LinesWithIds::of(&self.changes, &self.names)
    }
}

impl LinesWithIds {
    pub(crate) fn of(changes: &[StateDifference], names: &RecordedNames) -> Self {
        let names = NamesWithIds {
            names,
            packages: RefCell::default(),
            devices: RefCell::default(),
        };
        let lines = changes.iter().map(|change| change.line(&names)).collect();
        Self {
            lines,
            packages: names.packages.into_inner(),
            devices: names.devices.into_inner(),
        }
    }
}

/// Lines that name no package and no device.
impl From<Vec<String>> for LinesWithIds {
    fn from(lines: Vec<String>) -> Self {
        Self {
            lines,
            packages: BTreeSet::new(),
            devices: BTreeSet::new(),
        }
    }
}

impl StateNames for NamesWithIds<'_> {
    fn package(&self, package: PackageId) -> String {
        self.packages.borrow_mut().insert(package);
        with_id(self.names.package(package), &format!("package {package}"))
    }

    fn device(&self, device: &DeviceId) -> String {
        self.devices.borrow_mut().insert(device.clone());
        with_id(self.names.device(device), &device.to_string())
    }
}

/// Adds an id to a name. A package or device without a record has its id as its name.
fn with_id(name: String, id: &str) -> String {
    if name == id {
        return name;
    }
    format!("{name} ({id})")
}

/// A commit that was found and verified.
#[derive(Debug)]
pub(crate) struct FoundCommit {
    pub(crate) id: CommitId,
    pub(crate) commit: Commit,
    /// The history of the head leaves the commit out.
    is_replaced: bool,
}

/// Returns the difference that leads from one state to another.
pub async fn diff(target: &Target, from: CommitRef, to: CommitRef) -> Result<StateDiff, Failure> {
    let trust = target.trust()?;
    let records = &target.records;
    let before = find(records, &trust, from).await?;
    let after = find(records, &trust, to).await?;
    let mut before_trees = Trees::of(Some(&before.commit));
    let mut after_trees = Trees::of(Some(&after.commit));
    let compared = ComparedStates::load(records, &mut before_trees, &mut after_trees).await?;
    let changes = compared.difference()?;
    let names = RecordedNames::read(records, &changes).await?;
    Ok(StateDiff {
        from: before.id,
        to: after.id,
        lines: changes.iter().map(|change| change.line(&names)).collect(),
        changes,
        warnings: [before, after].iter().filter_map(replaced).collect(),
    })
}

/// Returns the difference that changes would make to the present state, without a commit and
/// without a key.
pub async fn planned(
    target: &Target,
    changes: &[StateChange],
) -> Result<PlannedDifference, Failure> {
    let (records, trust) = (&target.records, target.trust()?);
    let mut state = TargetState::read(records, &trust).await?;
    let head = state.head.as_ref().map(|head| head.commit.id());
    let mut before = StatePart::default();
    let after = applied(records, &mut state.trees, &mut before, changes).await?;
    let changes = difference(&before, &after).map_err(StateError::from)?;
    let names = RecordedNames::read(records, &changes).await?;
    Ok(PlannedDifference {
        lines: changes.iter().map(|change| change.line(&names)).collect(),
        changes,
        head,
        key_list: planned_list(&state, publisher_key(target).as_ref(), now()),
        names,
    })
}

/// Returns the key list that the next commit of this machine signs, too, in words; `None` if it signs
/// none.
pub async fn planned_key_list(target: &Target) -> Result<Option<String>, Failure> {
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    let key = publisher_key(target);
    Ok(planned_list(&state, key.as_ref(), now()))
}

/// Returns the public key of the target's key; `None` if only the passphrase tells it.
fn publisher_key(target: &Target) -> Option<PublicKey> {
    public_half(&target.key_file, &*target.secrets).ok()
}

/// Returns the documents after changes. Documents that the changes need are added to those before
/// the changes.
pub(crate) async fn applied(
    records: &Records,
    trees: &mut Trees,
    before: &mut StatePart,
    changes: &[StateChange],
) -> Result<StatePart, StateError> {
    trees.load_needed(records, changes, before).await?;
    // The documents of devices name groups, whose names a difference needs.
    let groups = before.named_groups();
    let missing = groups.into_iter().filter(|name| !before.is_loaded(name));
    let missing = missing.collect();
    before.extend(trees.part(records, missing).await?);
    // The number of the commit does not matter here: no difference contains it.
    let number = u64::from(u32::MAX);
    let planned = apply(before, changes, number, &AdoptedEntries::default());
    Ok(planned.map_err(StateError::Changes)?.documents)
}

/// Finds a commit, which must verify.
pub(crate) async fn find(
    records: &Records,
    trust: &TrustedRoots,
    commit: CommitRef,
) -> Result<FoundCommit, Failure> {
    let history = History::begin(records, trust).await?;
    match commit {
        CommitRef::Head => {
            let head = history.state.head.ok_or_else(no_commits)?;
            Ok(FoundCommit {
                id: head.commit.id(),
                commit: (*head.commit).clone(),
                is_replaced: false,
            })
        }
        CommitRef::Number(number) => {
            let found = history.find(number).await?;
            verified(found.ok_or_else(|| not_found(number))?)
        }
    }
}

fn verified(found: PastCommit) -> Result<FoundCommit, Failure> {
    let number = found.id.number;
    let is_replaced = match found.standing {
        CommitStanding::Verified => false,
        CommitStanding::Replaced => true,
        CommitStanding::Unverified(problem) => return Err(unverified(problem)),
    };
    Ok(FoundCommit {
        id: found.id,
        commit: found.commit.ok_or_else(|| not_found(number))?,
        is_replaced,
    })
}

fn unverified(problem: CommitProblem) -> Failure {
    Failure::conflict(problem).hint("run 'packcast audit' to check the whole target")
}

fn not_found(number: u64) -> Failure {
    Failure::failed(format!("the target has no commit {number}"))
        .hint("run 'packcast log' to see the commits")
        .refuses(NameKind::Commit, number)
}

fn no_commits() -> Failure {
    Failure::failed("the target has no commits yet")
}

fn replaced(found: &FoundCommit) -> Option<Warning> {
    let number = found.id.number;
    found.is_replaced.then(|| replaced_warning(number))
}

fn replaced_warning(number: u64) -> Warning {
    Warning::new(format!(
        "commit {number} is not in the history of the head: a later commit has replaced it"
    ))
}

impl FromStr for CommitRef {
    type Err = CommitRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "head" => Ok(Self::Head),
            number => number.parse().map(Self::Number).map_err(|_| CommitRefError),
        }
    }
}

#[cfg(test)]
mod tests;

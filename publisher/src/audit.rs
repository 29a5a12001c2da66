//! The audit of a target: the whole table and the memory of this machine, compared with the signed
//! state.
//!
//! An audit believes nothing of the table. It begins with the root keys that this machine knows,
//! verifies each commit, reads every page of the head, and compares the records with the documents.

mod finding;
mod history;
mod packages;
mod trees;

use std::collections::BTreeSet;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{CommitId, LeafName, TrustedRoots};
use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::state::StatePart;
use packcast_store::records::Pause;
use serde::Serialize;

pub use self::finding::{AuditPart, Finding};
use crate::clock::now;
use crate::failure::Failure;
use crate::progress::{Progress, Work};
use crate::signing::memory_file::MemoryFile;
use crate::state::{History, StateError, TargetState, Trees, record_differences};
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// Maximum number of findings of a report.
pub const MAX_FINDINGS: usize = 1_000;

/// The result of an audit.
#[derive(Debug, Default, Serialize)]
pub struct AuditReport {
    /// The audited head. `None` if the target has no commits, or if the head does not verify.
    pub head: Option<CommitId>,
    /// Number of commits on record.
    pub commits: u64,
    /// Numbers of groups, devices and locations of the head.
    pub groups: u64,
    pub devices: u64,
    pub locations: u64,
    /// Number of assigned packages.
    pub packages: u64,
    /// The pause of the target; `None` if it is not paused.
    pub pause: Option<Pause>,
    pub findings: Vec<Finding>,
    /// Differences of records that a command of the last hour may still be writing.
    pub unwritten: Vec<Finding>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// Findings up to a maximum number.
#[derive(Debug, Default)]
struct Findings {
    kept: Vec<Finding>,
    others: u64,
}

/// Audits a target. `also_accept` are keys that may have signed packages, besides the publisher
/// keys of the newest key list.
///
/// Findings are no errors; see [`AuditReport::conclude`]. An error means that a part could not be
/// checked. The audit changes nothing in the target. If the head follows all that this machine
/// remembers, the machine remembers the head, too.
pub async fn audit(
    target: &Target,
    also_accept: &[PublicKey],
    progress: &Progress,
) -> Result<AuditReport, Failure> {
    audit_at(target, also_accept, now(), progress).await
}

async fn audit_at(
    target: &Target,
    also_accept: &[PublicKey],
    now: UnixTime,
    progress: &Progress,
) -> Result<AuditReport, Failure> {
    let trust = target.trust()?;
    let records = &target.records;
    let (mut report, mut found) = (AuditReport::default(), Findings::default());
    report.pause = records.pause().await?;
    let mut history = match History::begin(records, &trust).await {
        Ok(history) => history,
        Err(error) if is_finding(&error) => {
            report.findings.push(Finding::Head(error));
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    let head = history.state.head.as_ref();
    report.head = head.map(|head| head.commit.id());
    history::check_validity(&mut history, now, &mut found);
    let loaded = trees::load_all(records, &mut history.state.trees, &mut found).await?;
    let unwritten =
        history::check_commits(&mut history, loaded, now, &mut report, &mut found).await?;
    if loaded.ancestors {
        let mut memory = MemoryFile::open(&target.state_memory, &trust).await?;
        let state = &history.state;
        history::check_memory(state, &mut memory, now, &mut report, &mut found)?;
    }
    if loaded.content
        && let Some(state) = trees::read_all(records, &mut history.state.trees, &mut found).await?
    {
        let check = ContentCheck {
            target,
            state: &state,
            unwritten,
            now,
        };
        let keys = [&history.state.keys(), also_accept].concat();
        check.packages(&keys, &mut report, &mut found).await?;
        let head = history.state;
        check
            .records(&trust, head, &mut report, &mut found, progress)
            .await?;
    }
    report.findings = found.into_all();
    Ok(report)
}

/// Returns true for an error that shows a forged head, and false if the head could not be read.
const fn is_finding(error: &StateError) -> bool {
    matches!(
        error,
        StateError::NoKeyList
            | StateError::Head(_)
            | StateError::OtherCommit { .. }
            | StateError::BelowList { .. }
    )
}

/// The parts of an audit that need the documents of the head.
struct ContentCheck<'a> {
    target: &'a Target,
    state: &'a StatePart,
    /// Leaves whose records a running command may not have written yet.
    unwritten: BTreeSet<LeafName>,
    now: UnixTime,
}

impl ContentCheck<'_> {
    async fn packages(
        &self,
        keys: &[PublicKey],
        report: &mut AuditReport,
        found: &mut Findings,
    ) -> Result<(), Failure> {
        let assigned = packages::assigned(self.state);
        report.packages = assigned.len() as u64;
        packages::check(self.target, &assigned, keys, found).await
    }

    async fn records(
        mut self,
        trust: &TrustedRoots,
        mut audited: TargetState,
        report: &mut AuditReport,
        found: &mut Findings,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let state = self.state;
        report.groups = state.groups().count() as u64;
        report.devices = state.devices().count() as u64;
        report.locations = state.locations().count() as u64;
        let records = &self.target.records;
        progress.begin(Work::Auditing, records.size(&GroupName::all()).await?);
        let differences = record_differences(records, &mut audited, self.now, progress).await?;
        progress.end();
        // A command may have changed the target while the records were read.
        let mut current = TargetState::read(records, trust).await?;
        self.unwritten
            .extend(changed(&self, audited.trees, &mut current.trees).await?);
        let of_devices = |leaf: &LeafName| matches!(leaf, LeafName::Device(_));
        let unwritten_devices = self.unwritten.iter().any(of_devices);
        for finding in differences.into_iter().map(Finding::Record) {
            let is_unwritten = finding
                .leaf()
                .is_some_and(|leaf| self.unwritten.contains(leaf));
            if !(is_unwritten || finding.is_of_members() && unwritten_devices) {
                found.push(finding);
            } else if report.unwritten.len() < MAX_FINDINGS {
                report.unwritten.push(finding);
            }
        }
        Ok(())
    }
}

async fn changed(
    check: &ContentCheck<'_>,
    mut before: Trees,
    after: &mut Trees,
) -> Result<Vec<LeafName>, StateError> {
    let changes = before.difference(&check.target.records, after).await?;
    Ok(changes.into_iter().map(|change| change.name).collect())
}

impl Findings {
    fn push(&mut self, finding: Finding) {
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(finding);
        } else {
            self.others += 1;
        }
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    fn into_all(self) -> Vec<Finding> {
        let number = self.others;
        let others = (number > 0).then_some(Finding::Others { number });
        self.kept.into_iter().chain(others).collect()
    }
}

impl AuditReport {
    /// Returns an error if the audit has findings.
    pub fn conclude(&self) -> Result<(), Failure> {
        match self.findings.len() {
            0 => Ok(()),
            number => Err(findings(number as u64)),
        }
    }
}

fn findings(number: u64) -> Failure {
    Failure::conflict(format!("the audit found {}", count(number, "problem")))
        .hint("follow the remedies above")
}

#[cfg(test)]
mod tests;

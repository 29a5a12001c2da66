//! The journal of a package that the agent deploys, so that a crash neither loses nor repeats work.

#[cfg(test)]
mod test_permission;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use packcast_protocol::api::{BoundedText, Report};
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::state::{ActedUnder, Mandate};
use packcast_protocol::{
    Outcome, PackageId, PackageName, PackageVersion, ResultCode, UnixTime, with_causes,
};
use serde::{Deserialize, Serialize};

use crate::clock::BEFORE_BUILD;
use crate::platform::ProgramRecord;
use crate::state::{PackageDir, StateDir, StateError};
use crate::{state::checked_line, state::durable};

/// The progress of an attempt, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(crate) enum Journal {
    /// The device is unchanged so far.
    Fetching(Fetching),
    /// The device may have changed. Written before the first change.
    Acting(Acting),
    /// The attempt has a result. Kept until the function accepts the report.
    Finished(Finished),
}

/// The number of times an interrupted action is repeated.
///
/// The limit ends packages that stop the device each time.
pub(crate) const MAX_REPEATS: u32 = 3;

/// An attempt before its action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fetching {
    pub(crate) attempt: u32,
    /// The start of the attempt; `None` after an interruption, and while the package waits for
    /// another signed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<UnixTime>,
    /// The interrupted action, which may be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interrupted: Option<Acting>,
}

/// An attempt whose action may have changed the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acting {
    pub(crate) attempt: u32,
    pub(crate) package: PackageLabel,
    /// `true` if the action may be repeated after an interruption.
    pub(crate) may_repeat: bool,
    /// The number of repetitions so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) repeats: u32,
    /// The program of the action. Recorded before the program runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<RunningProgram>,
    /// The permission for the action.
    pub(crate) permission: Permission,
}

/// The permission of a signed state to act on a package. Acting uses it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permission {
    /// All mandates of the package in the state. A device with damaged records may find none, if the
    /// package was unassigned meanwhile.
    pub(crate) mandates: BTreeSet<Mandate>,
    /// The commit and the key list of the state.
    pub(crate) under: Box<ActedUnder>,
}

/// A program that the agent has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningProgram {
    #[serde(flatten)]
    pub(crate) record: ProgramRecord,
    pub(crate) since: UnixTime,
    /// The time limit in seconds.
    pub(crate) limit_s: u64,
}

impl RunningProgram {
    /// Returns the rest of the time limit, which a wrong clock cannot extend.
    ///
    /// The whole limit is left after a start in 1970, because the clock was set since then.
    pub(crate) fn remaining(&self, now: UnixTime) -> Duration {
        let passed = if is_impossible(self.since) && !is_impossible(now) {
            0
        } else {
            now.since(self.since)
        };
        Duration::from_secs(self.limit_s.saturating_sub(passed))
    }
}

/// The name and version of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageLabel {
    pub(crate) name: PackageName,
    pub(crate) version: PackageVersion,
}

/// The end of one attempt at a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) outcome: Outcome,
    /// Unknown if the manifest was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<PackageLabel>,
    /// The permission that the attempt used up, because it may have changed the device; `None` if it
    /// has changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acted: Option<Permission>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Finished {
    /// Returns the end of an attempt without an action.
    pub(crate) fn concluded(
        id: PackageId,
        attempt: u32,
        code: NamedCode,
        reason: &str,
        now: UnixTime,
    ) -> Self {
        let code = ResultCode::from(code);
        let outcome = code.outcome(&BTreeSet::new());
        Self {
            report: Report {
                id,
                attempt,
                code,
                detail: Some(BoundedText::tail(reason)),
                output_tail: None,
                finished: now,
                boot: None,
                mandates: UsedMandates::default(),
            },
            outcome,
            package: None,
            acted: None,
        }
    }
}

impl Finished {
    /// Returns the id of the package if it has the name and was deployed successfully.
    pub(crate) fn success_of(&self, name: &PackageName) -> Option<PackageId> {
        let package = self.package.as_ref()?;
        let is_success = self.outcome == Outcome::Succeeded && package.name == *name;
        is_success.then_some(self.report.id)
    }

    /// Returns the report to send, with the mandates that the attempt used up.
    pub(crate) fn to_send(&self) -> Report {
        let mandates = self.acted.iter().flat_map(|acted| &acted.mandates);
        Report {
            mandates: UsedMandates::first(mandates.cloned()),
            ..self.report.clone()
        }
    }
}

/// The journal of a package as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredJournal {
    Read(Journal),
    /// The file is damaged, so it is unknown if the agent acted on the package.
    Unreadable {
        path: PathBuf,
    },
}

/// Reads the journal of a package.
pub(crate) fn read(dir: &PackageDir) -> Result<Option<StoredJournal>, StateError> {
    let path = dir.journal();
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(
            checked_line::read(&bytes)
                .map_or(StoredJournal::Unreadable { path }, StoredJournal::Read),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::File { path, source }),
    }
}

/// Reads the journals of all packages. Journals with read errors are skipped.
pub(crate) fn read_all(state: &StateDir) -> BTreeMap<PackageId, StoredJournal> {
    let read = |id| {
        let found = read(&state.package(id)).unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::error!(package = %id, error, "cannot read a journal: skipped");
            None
        });
        Some((id, found?))
    };
    let packages = state.packages().unwrap_or_else(|error| {
        tracing::error!(
            error = with_causes(&error),
            "cannot list the packages: skipped their journals"
        );
        Vec::new()
    });
    packages.into_iter().filter_map(read).collect()
}

/// Writes the journal of a package; it is on disk when this returns.
pub(crate) fn write(dir: &PackageDir, journal: &Journal) -> Result<(), StateError> {
    dir.create()?;
    let path = dir.journal();
    let line = checked_line::line(journal).map_err(io::Error::from);
    line.and_then(|line| durable::replace(&path, &line))
        .map_err(StateError::at(&path))
}

impl Fetching {
    /// Begins an attempt, or continues the attempt on disk.
    pub(crate) fn begin(attempt: u32, found: Option<&StoredJournal>, now: UnixTime) -> Self {
        let begun = match found {
            Some(StoredJournal::Read(Journal::Fetching(before))) => Some(before.clone()),
            Some(StoredJournal::Read(Journal::Acting(before))) => {
                Some(Self::interrupted(before.clone()))
            }
            _ => None,
        };
        let begun = begun.filter(|begun| begun.attempt == attempt);
        let (since, interrupted) = begun.map_or((None, None), |begun| {
            let since = begun.since.filter(|since| !is_impossible(*since));
            (since, begun.interrupted)
        });
        Self {
            attempt,
            since: since.or(Some(now)),
            interrupted,
        }
    }

    /// Returns an attempt that starts again after an interrupted action.
    pub(crate) const fn interrupted(acting: Acting) -> Self {
        Self {
            attempt: acting.attempt,
            since: None,
            interrupted: Some(acting),
        }
    }

    /// Returns the attempt without its start, because it waits for another signed state.
    pub(crate) fn paused(&self) -> Self {
        Self {
            since: None,
            ..self.clone()
        }
    }

    /// Returns the seconds since the attempt began.
    pub(crate) fn seconds_since_start(&self, now: UnixTime) -> u64 {
        let since = self.since.filter(|since| !is_impossible(*since));
        since.map_or(0, |since| now.since(since))
    }

    /// Returns the number of repetitions, including the coming action.
    pub(crate) fn repeats(&self) -> u32 {
        self.interrupted
            .as_ref()
            .map_or(0, |before| before.repeats + 1)
    }
}

/// Returns `true` for a time long before this agent was built. A clock that begins in 1970 shows such
/// a time until it is set.
fn is_impossible(time: UnixTime) -> bool {
    BEFORE_BUILD.since(time) > 365 * 86_400
}

impl Acting {
    /// Returns `true` if the program of the action still runs.
    pub(crate) fn is_running(&self) -> bool {
        let mut program = self.program.iter();
        program.any(|program| program.record.is_running())
    }

    /// Returns `true` if the action is repeated after an interruption.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.may_repeat && self.repeats < MAX_REPEATS
    }
}

impl Journal {
    /// Returns the commit and the key list under which the agent has acted, if it has.
    pub(crate) fn acted_under(&self) -> Option<&ActedUnder> {
        let permission = match self {
            Self::Finished(finished) => finished.acted.as_ref(),
            Self::Acting(acting) => Some(&acting.permission),
            Self::Fetching(Fetching { interrupted, .. }) => {
                interrupted.as_ref().map(|before| &before.permission)
            }
        };
        permission.map(|permission| &*permission.under)
    }

    /// Returns the number of the journal's attempt.
    pub(crate) const fn attempt(&self) -> u32 {
        match self {
            Self::Fetching(Fetching { attempt, .. }) | Self::Acting(Acting { attempt, .. }) => {
                *attempt
            }
            Self::Finished(finished) => finished.report.attempt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn acting(attempt: u32, repeats: u32) -> Acting {
        Acting {
            attempt,
            package: PackageLabel {
                name: "vlc".parse().unwrap(),
                version: "3.0".parse().unwrap(),
            },
            may_repeat: true,
            repeats,
            program: None,
            permission: Permission::of_all(1),
        }
    }

    #[test]
    fn an_attempt_keeps_its_start_and_its_interrupted_action() {
        let check = |found: Option<Journal>, attempt, since, repeats| {
            let begun = Fetching::begin(
                attempt,
                found.map(StoredJournal::Read).as_ref(),
                BEFORE_BUILD.plus(9),
            );
            assert_eq!((begun.attempt, begun.repeats()), (attempt, repeats));
            assert_eq!(begun.since, Some(BEFORE_BUILD.plus(since)));
        };
        let fetching = |attempt, since: Option<u64>, repeats: Option<u32>| {
            Some(Journal::Fetching(Fetching {
                attempt,
                since: since.map(|since| BEFORE_BUILD.plus(since)),
                interrupted: repeats.map(|repeats| acting(attempt, repeats)),
            }))
        };
        check(None, 1, 9, 0);
        check(fetching(1, Some(5), None), 1, 5, 0);
        check(fetching(1, Some(5), Some(0)), 2, 9, 0);
        check(fetching(1, None, Some(0)), 1, 9, 1);
        check(fetching(1, None, Some(1)), 1, 9, 2);
        check(Some(Journal::Acting(acting(1, 0))), 1, 9, 1);
        check(Some(Journal::Acting(acting(1, 0))), 2, 9, 0);
    }

    /// A clock without a battery begins in 1970, and is set while the package waits.
    #[test]
    fn a_start_in_1970_is_none() {
        let in_1970 = Fetching {
            attempt: 1,
            since: Some(UnixTime(60)),
            interrupted: None,
        };
        let now = BEFORE_BUILD.plus(9);
        assert_eq!(in_1970.seconds_since_start(now), 0);
        let found = StoredJournal::Read(Journal::Fetching(in_1970));
        assert_eq!(Fetching::begin(1, Some(&found), now).since, Some(now));
    }

    fn journal(attempt: u32) -> Journal {
        Journal::Acting(acting(attempt, 0))
    }

    #[test]
    fn a_time_limit_ends_with_any_clock() {
        let program = RunningProgram {
            record: ProgramRecord {
                process: 77,
                started: "1".to_owned(),
                boot: "b".to_owned(),
                cgroup: None,
            },
            since: BEFORE_BUILD.plus(1000),
            limit_s: 60,
        };
        let check = |program: &RunningProgram, now: UnixTime, expected| {
            let remaining = program.remaining(now);
            assert_eq!(remaining, Duration::from_secs(expected), "{now}");
        };
        check(&program, BEFORE_BUILD.plus(1000), 60);
        check(&program, BEFORE_BUILD.plus(1059), 1);
        check(&program, BEFORE_BUILD.plus(2000), 0);
        // The clock was set back.
        check(&program, BEFORE_BUILD, 60);
        let in_1970 = RunningProgram {
            since: UnixTime(1000),
            ..program
        };
        check(&in_1970, UnixTime(1059), 1);
        check(&in_1970, BEFORE_BUILD, 60);
    }

    #[test]
    fn a_damaged_journal_is_not_taken_for_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let package = StateDir::open(dir.path())
            .unwrap()
            .package("1795000000".parse().unwrap());
        assert_eq!(read(&package).unwrap(), None);
        write(&package, &journal(1)).unwrap();
        write(&package, &journal(2)).unwrap();
        assert_eq!(
            read(&package).unwrap(),
            Some(StoredJournal::Read(journal(2)))
        );
        let path = package.journal();
        let whole = std::fs::read(&path).unwrap();
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let path = path.clone();
            assert_eq!(
                read(&package).unwrap(),
                Some(StoredJournal::Unreadable { path })
            );
        };
        for at in 0..whole.len() {
            check(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            check(&flipped);
        }
    }

    #[test]
    fn a_temporary_file_of_a_crash_does_not_block_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let package = StateDir::open(dir.path())
            .unwrap()
            .package("1795000000".parse().unwrap());
        write(&package, &journal(1)).unwrap();
        let left = package.journal().with_file_name("journal.new");
        std::fs::write(&left, "torn").unwrap();
        write(&package, &journal(2)).unwrap();
        assert_eq!(
            read(&package).unwrap(),
            Some(StoredJournal::Read(journal(2)))
        );
        assert!(!left.exists());
    }
}

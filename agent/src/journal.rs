//! How far the work on a package has come, so that a crash neither loses nor repeats it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use packcast_protocol::api::{Report, Text};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Outcome, PackageId, PackageName, PackageVersion, ResultCode, UnixTime};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::state::{PackageDir, StateError};

/// What is on disk for a package under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(crate) enum Journal {
    /// Nothing is being done to the device yet.
    Fetching(Fetching),
    /// Written before the device is changed.
    Acting {
        attempt: u32,
        package: Named,
        /// Whether it may be done again if it was interrupted.
        may_repeat: bool,
    },
    /// Kept until the function has accepted the report.
    Finished(Finished),
}

/// An attempt on its way to being acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fetching {
    pub(crate) attempt: u32,
    /// When the attempt began; not known of one that was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<UnixTime>,
    /// Whether it was acted on before and interrupted, which may be done again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interrupted: bool,
}

/// What a person calls a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: PackageName,
    pub(crate) version: PackageVersion,
}

/// The end of one attempt at a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) outcome: Outcome,
    /// Not known if the manifest was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<Named>,
}

impl Finished {
    /// Returns the end of an attempt that comes to its result without being acted on.
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
                detail: Some(Text::tail(reason)),
                output_tail: None,
                finished: now,
            },
            outcome,
            package: None,
        }
    }
}

/// A journal as found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Read(Journal),
    /// It exists, but does not read: whether the package was acted on is not known.
    Unreadable {
        path: PathBuf,
    },
}

/// Reads a package's journal.
pub(crate) fn read(dir: &PackageDir) -> Result<Option<Found>, StateError> {
    let path = dir.journal();
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).map_or(Found::Unreadable { path }, Found::Read),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::File { path, source }),
    }
}

/// Writes a package's journal; it is on disk when this returns.
pub(crate) fn write(dir: &PackageDir, journal: &Journal) -> Result<(), StateError> {
    let path = dir.journal();
    durable::replace_json(&path, journal).map_err(StateError::at(&path))
}

/// Writes the result down, after the space of the package's contents is free: on a full disk
/// there is room for it then. A crash in between leaves the journal as it was.
pub(crate) fn finish(dir: &PackageDir, finished: &Finished) -> Result<(), StateError> {
    dir.discard_contents()?;
    write(dir, &Journal::Finished(finished.clone()))
}

/// Begins an attempt, or goes on with the one that is on disk.
pub(crate) fn fetch(dir: &PackageDir, attempt: u32, now: UnixTime) -> Result<Fetching, StateError> {
    let before = match read(dir)? {
        Some(Found::Read(Journal::Fetching(before))) if before.attempt == attempt => Some(before),
        _ => None,
    };
    let fetching = Fetching {
        attempt,
        since: before.and_then(|before| before.since).or(Some(now)),
        interrupted: before.is_some_and(|before| before.interrupted),
    };
    write(dir, &Journal::Fetching(fetching))?;
    Ok(fetching)
}

impl Fetching {
    /// Returns for how many seconds the attempt has been under way.
    pub(crate) fn waited(self, now: UnixTime) -> u64 {
        self.since.map_or(0, |since| now.since(since))
    }
}

impl Journal {
    /// Returns which attempt the journal is of.
    pub(crate) const fn attempt(&self) -> u32 {
        match self {
            Self::Fetching(Fetching { attempt, .. }) | Self::Acting { attempt, .. } => *attempt,
            Self::Finished(finished) => finished.report.attempt,
        }
    }

    /// Returns what follows from a journal that an agent left behind when it stopped.
    ///
    /// What may have been done is not done again, unless the package allows it.
    pub(crate) fn recovered(self, id: PackageId, now: UnixTime) -> Self {
        match self {
            Self::Acting {
                attempt,
                may_repeat: true,
                ..
            } => Self::Fetching(Fetching {
                attempt,
                since: None,
                interrupted: true,
            }),
            Self::Acting {
                attempt, package, ..
            } => {
                let reason = "the agent stopped while it acted on the package, so what was done is not known";
                Self::Finished(Finished {
                    package: Some(package),
                    ..Finished::concluded(id, attempt, NamedCode::Interrupted, reason, now)
                })
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    const ID: &str = "1795000000";

    fn acting(may_repeat: bool) -> Journal {
        Journal::Acting {
            attempt: 2,
            package: Named {
                name: "vlc".parse().unwrap(),
                version: "3.0".parse().unwrap(),
            },
            may_repeat,
        }
    }

    #[test]
    fn what_was_interrupted_is_not_done_again_unless_it_may() {
        let recovered = |journal: Journal| journal.recovered(ID.parse().unwrap(), UnixTime(7));
        let fetching = |attempt, since, interrupted| {
            Journal::Fetching(Fetching {
                attempt,
                since,
                interrupted,
            })
        };
        assert_eq!(recovered(acting(true)), fetching(2, None, true));
        let Journal::Finished(finished) = recovered(acting(false)) else {
            panic!("not finished");
        };
        assert_eq!(finished.report.code, NamedCode::Interrupted.into());
        assert_eq!(finished.report.attempt, 2);
        let begun = fetching(1, Some(UnixTime(5)), false);
        assert_eq!(recovered(begun.clone()), begun);
    }

    #[test]
    fn an_attempt_keeps_its_beginning_and_that_it_was_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let id = ID.parse().unwrap();
        let package = StateDir::open(dir.path()).unwrap().package(id);
        package.create().unwrap();
        let check = |attempt, now, since, interrupted| {
            let fetching = Fetching {
                attempt,
                since: Some(UnixTime(since)),
                interrupted,
            };
            assert_eq!(fetch(&package, attempt, UnixTime(now)).unwrap(), fetching);
        };
        check(1, 5, 5, false);
        check(1, 9, 5, false);
        check(2, 9, 9, false);
        // As an agent before these fields wrote it.
        let old = r#"{"stage":"fetching","attempt":1}"#;
        std::fs::write(package.journal(), old).unwrap();
        check(1, 9, 9, false);
        let interrupted = acting(true).recovered(id, UnixTime(7));
        write(&package, &interrupted).unwrap();
        check(2, 11, 11, true);
        check(2, 12, 11, true);
    }

    #[test]
    fn contents_are_freed_before_the_result_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let id = ID.parse().unwrap();
        let package = StateDir::open(dir.path()).unwrap().package(id);
        package.create().unwrap();
        std::fs::write(package.fragments().join("1"), "archive").unwrap();
        // A folder in its place: the journal cannot be written.
        std::fs::create_dir(package.journal()).unwrap();
        let Journal::Finished(finished) = acting(false).recovered(id, UnixTime(7)) else {
            panic!("not finished");
        };
        assert!(finish(&package, &finished).is_err());
        assert!(!package.fragments().exists());
    }

    #[test]
    fn a_torn_journal_is_told_from_none() {
        let dir = tempfile::tempdir().unwrap();
        let package = StateDir::open(dir.path())
            .unwrap()
            .package(ID.parse().unwrap());
        package.create().unwrap();
        assert_eq!(read(&package).unwrap(), None);
        write(&package, &acting(false)).unwrap();
        assert_eq!(read(&package).unwrap(), Some(Found::Read(acting(false))));
        let whole = std::fs::read(package.journal()).unwrap();
        for length in 0..whole.len() {
            std::fs::write(package.journal(), &whole[..length]).unwrap();
            let path = package.journal();
            assert_eq!(
                read(&package).unwrap(),
                Some(Found::Unreadable { path }),
                "{length}"
            );
        }
    }
}

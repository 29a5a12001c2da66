//! How far the work on a package has come, so that a crash neither loses nor repeats it.

use std::io;
use std::path::PathBuf;

use packcast_protocol::api::{Report, Text};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Outcome, PackageName, PackageVersion, UnixTime};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::state::{PackageDir, StateError};

/// What is on disk for a package under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub(crate) enum Journal {
    /// Nothing was done to the device yet.
    Fetching {
        attempt: u32,
        /// When the attempt began; not known of one that was interrupted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<UnixTime>,
    },
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

/// Returns since when an attempt has been under way, which is now if that is not on disk.
pub(crate) fn since(dir: &PackageDir, attempt: u32, now: UnixTime) -> Result<UnixTime, StateError> {
    let begun = match read(dir)? {
        Some(Found::Read(Journal::Fetching {
            attempt: begun,
            since,
        })) if begun == attempt => since,
        _ => None,
    };
    Ok(begun.unwrap_or(now))
}

impl Journal {
    /// Returns what follows from a journal that an agent left behind when it stopped.
    ///
    /// What may have been done is not done again, unless the package allows it.
    pub(crate) fn recovered(self, id: packcast_protocol::PackageId, now: UnixTime) -> Self {
        match self {
            Self::Acting {
                attempt,
                may_repeat: true,
                ..
            } => Self::Fetching {
                attempt,
                since: None,
            },
            Self::Acting {
                attempt, package, ..
            } => Self::Finished(Finished {
                report: Report {
                    id,
                    attempt,
                    code: NamedCode::Interrupted.into(),
                    detail: Some(Text::tail(
                        "the agent stopped while it acted on the package, so what was done is not known",
                    )),
                    output_tail: None,
                    finished: now,
                },
                outcome: Outcome::Failed,
                package: Some(package),
            }),
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
        let fetching = |attempt, since| Journal::Fetching { attempt, since };
        assert_eq!(recovered(acting(true)), fetching(2, None));
        let Journal::Finished(finished) = recovered(acting(false)) else {
            panic!("not finished");
        };
        assert_eq!(finished.report.code, NamedCode::Interrupted.into());
        assert_eq!(finished.report.attempt, 2);
        let begun = fetching(1, Some(UnixTime(5)));
        assert_eq!(recovered(begun.clone()), begun);
    }

    #[test]
    fn an_attempt_keeps_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let id = ID.parse().unwrap();
        let package = StateDir::open(dir.path()).unwrap().package(id);
        package.create().unwrap();
        let begun = |attempt| since(&package, attempt, UnixTime(9)).unwrap();
        assert_eq!(begun(1), UnixTime(9));
        let since = Some(UnixTime(5));
        write(&package, &Journal::Fetching { attempt: 1, since }).unwrap();
        assert_eq!((begun(1), begun(2)), (UnixTime(5), UnixTime(9)));
        // As an agent before this field wrote it.
        let old = r#"{"stage":"fetching","attempt":1}"#;
        std::fs::write(package.journal(), old).unwrap();
        assert_eq!(begun(1), UnixTime(9));
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

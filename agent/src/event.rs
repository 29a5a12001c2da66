//! What the agent tells while it works: one JSON object per line, or one readable line.

use std::fmt;
use std::sync::Arc;

use packcast_protocol::{FragmentNumber, PackageId, PackageName, PackageVersion, ResultCode};
use serde::{Deserialize, Serialize};

/// Something that happened, in the order in which it happened.
///
/// On the line it is `{"event": "<name in snake case>", …}`. Fields may be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    CheckedIn {
        /// How many tasks the function named.
        tasks: usize,
        next_check_in_s: u32,
    },
    /// Other keys are trusted from now on.
    KeysFollowed {
        /// The number of the list that names them.
        serial: u64,
    },
    /// Something signed in the reply does not count; what the device has stays.
    DocumentRefused {
        detail: String,
    },
    ManifestVerified {
        id: PackageId,
        name: PackageName,
        version: PackageVersion,
    },
    FragmentVerified {
        id: PackageId,
        n: u32,
        of: u32,
        bytes: u64,
        /// Whether it was on disk before this run.
        already: bool,
    },
    ArchiveVerified {
        id: PackageId,
        bytes: u64,
    },
    Unpacked {
        id: PackageId,
        entries: u64,
        bytes: u64,
    },
    Started {
        id: PackageId,
    },
    Finished {
        id: PackageId,
        attempt: u32,
        code: ResultCode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tail: Option<String>,
    },
    /// The package waits for the next check-in, as its locations do not answer now.
    Deferred {
        id: PackageId,
        detail: String,
    },
    Reported {
        id: PackageId,
        accepted: bool,
    },
}

/// Whoever wants to know what happens.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

impl Event {
    pub(crate) fn fragment(
        id: PackageId,
        number: FragmentNumber,
        of: usize,
        bytes: u64,
        already: bool,
    ) -> Self {
        Self::FragmentVerified {
            id,
            n: number.get(),
            of: u32::try_from(of).unwrap_or(u32::MAX),
            bytes,
            already,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckedIn {
                tasks,
                next_check_in_s,
            } => write!(f, "checked in, tasks: {tasks}, next in {next_check_in_s} s"),
            Self::KeysFollowed { serial } => {
                write!(f, "the keys of list {serial} are trusted from now on")
            }
            Self::DocumentRefused { detail } => f.write_str(detail),
            Self::ManifestVerified { id, name, version } => {
                write!(f, "package {id}: manifest of {name} {version} verified")
            }
            Self::FragmentVerified {
                id, n, of, already, ..
            } => {
                let how = if *already { "was here" } else { "verified" };
                write!(f, "package {id}: fragment {n} of {of} {how}")
            }
            Self::ArchiveVerified { id, bytes } => {
                write!(f, "package {id}: archive of {bytes} bytes verified")
            }
            Self::Unpacked { id, entries, bytes } => {
                write!(
                    f,
                    "package {id}: unpacked, entries: {entries}, bytes: {bytes}"
                )
            }
            Self::Started { id } => write!(f, "package {id}: started"),
            Self::Finished {
                id, code, detail, ..
            } => {
                write!(f, "package {id}: finished with {code}")?;
                detail.iter().try_for_each(|detail| write!(f, ": {detail}"))
            }
            Self::Deferred { id, detail } => {
                write!(f, "package {id}: waits for the next check-in: {detail}")
            }
            Self::Reported { id, accepted: true } => write!(f, "package {id}: result accepted"),
            Self::Reported {
                id,
                accepted: false,
            } => write!(f, "package {id}: result kept for the next check-in"),
        }
    }
}

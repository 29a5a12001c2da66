//! Reserving a package's name, version and id, before anything is uploaded.

use std::collections::BTreeSet;

use packcast_protocol::{
    Action, ObjectPath, PackageName, PackageVersion, Priority, Sha256Digest, UnixTime,
};
use packcast_rollout::PackageRecord;
use packcast_rollout::record::ArchiveRecord;

use super::{Records, RecordsError};

/// What is reserved.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<ArchiveRecord>,
    /// Exit codes that mean success.
    pub success_codes: BTreeSet<i32>,
    /// The digest of everything that makes two publications the same.
    pub content: Sha256Digest,
    /// Where the objects go if the package is new: see [`crate::key::package_folder`].
    pub folder: ObjectPath,
}

/// What came of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// An id was given to it.
    New(PackageRecord),
    /// The same content was reserved under this name and version before, and may be
    /// published already.
    Resumed(PackageRecord),
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    #[error("{}@{} is package {} with other content: publish under another version", existing.name, existing.version, existing.id)]
    Conflict { existing: Box<PackageRecord> },
    #[error("the clock reads {now}, which gives no package id: set it right")]
    Clock { now: UnixTime },
    #[error("no package id is free near {now}: try again in a minute")]
    NoFreeId { now: UnixTime },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    /// Gives a name, version and content an id, or finds the one they have.
    ///
    /// Of several reservations of one name and version, exactly one is new.
    pub async fn reserve(
        &self,
        _reservation: &Reservation,
        _now: UnixTime,
    ) -> Result<Reserved, ReserveError> {
        unimplemented!()
    }
}

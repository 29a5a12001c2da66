//! Reserving a package's name, version and id, before anything is uploaded.

use std::collections::BTreeSet;
use std::iter::successors;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{
    Action, ObjectPath, PackageId, PackageName, PackageRef, PackageVersion, Priority, Sha256Digest,
    UnixTime, WindowsTerms,
};
use packcast_rollout::record::ArchiveRecord;
use packcast_rollout::{PackageRecord, PackageState};

use super::commit::Commit;
use super::{Records, RecordsError};
use super::{stored, write};

/// What is reserved.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<ArchiveRecord>,
    /// Exit codes that mean success.
    pub success_codes: BTreeSet<i32>,
    /// Which devices the package may be assigned to.
    pub audience: Audience,
    /// What stock Windows agents do beside the action.
    pub windows: WindowsTerms,
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
    #[error("{}@{} was package {} and was deleted, and names are never used again: publish under another version", existing.name, existing.version, existing.id)]
    Deleted { existing: Box<PackageRecord> },
    #[error("the clock reads {now}, which gives no package id: set it right")]
    Clock { now: UnixTime },
    #[error("no package id is free near {now}: try again in a minute")]
    NoFreeId { now: UnixTime },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// How many ids in a row are tried.
const IDS: usize = 60;

impl Records {
    /// Gives a name, version and content an id, or finds the one they have.
    ///
    /// Of several reservations of one name and version, exactly one is new.
    pub async fn reserve(
        &self,
        reservation: &Reservation,
        now: UnixTime,
    ) -> Result<Reserved, ReserveError> {
        let first = PackageId::at(now).map_err(|_| ReserveError::Clock { now })?;
        for id in successors(Some(first), |id| id.next()).take(IDS) {
            if let Some(existing) = self.named(reservation).await? {
                return existing_package(existing, reservation);
            }
            let package = draft(reservation, id, now);
            let writes = vec![
                write::create(self.table(), stored::catalogued_name(&package)),
                write::create(self.table(), stored::package(&package)),
                write::create(self.table(), stored::catalogued_package(&package)),
            ];
            if self.commit(writes).await? == Commit::Done {
                return Ok(Reserved::New(package));
            }
        }
        // The last try may have failed for its name, not for its id.
        match self.named(reservation).await? {
            Some(existing) => existing_package(existing, reservation),
            None => Err(ReserveError::NoFreeId { now }),
        }
    }

    async fn named(
        &self,
        reservation: &Reservation,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        let (name, version) = (reservation.name.clone(), reservation.version.clone());
        self.find(&PackageRef::Named(name, version)).await
    }
}

fn existing_package(
    existing: PackageRecord,
    reservation: &Reservation,
) -> Result<Reserved, ReserveError> {
    if existing.is_deleted() {
        let existing = Box::new(existing);
        return Err(ReserveError::Deleted { existing });
    }
    if existing.content == reservation.content {
        Ok(Reserved::Resumed(existing))
    } else {
        let existing = Box::new(existing);
        Err(ReserveError::Conflict { existing })
    }
}

fn draft(reservation: &Reservation, id: PackageId, now: UnixTime) -> PackageRecord {
    PackageRecord {
        id,
        name: reservation.name.clone(),
        version: reservation.version.clone(),
        priority: reservation.priority,
        action: reservation.action.clone(),
        success_codes: reservation.success_codes.clone(),
        audience: reservation.audience.clone(),
        windows: reservation.windows.clone(),
        content: reservation.content,
        folder: reservation.folder.clone(),
        created_at: now,
        state: PackageState::Draft,
        active: false,
        locations: Vec::new(),
    }
}

//! Reserving a package's name, version and id before the upload.

use std::collections::BTreeSet;
use std::iter::successors;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{
    Action, ObjectPath, PackageId, PackageName, PackageRef, PackageVersion, Priority, Sha256Digest,
    UnixTime, WindowsTerms,
};
use packcast_rollout::record::ArchiveRecord;
use packcast_rollout::{PackageRecord, PackageState};

use super::commit::Commit;
use super::{Records, RecordsError};
use super::{stored, write};

/// A package to reserve.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<ArchiveRecord>,
    /// Platform of the devices that can run the package.
    pub platform: Platform,
    /// Exit codes that mean success.
    pub success_codes: BTreeSet<i32>,
    /// Exit codes that mean success, with a restart of the device to follow.
    pub reboot_codes: BTreeSet<i32>,
    /// Time limit of the program, in seconds.
    pub timeout_s: u32,
    /// An agent may run the program again after an interruption.
    pub rerun_after_interruption: bool,
    /// Devices to which the package may be assigned.
    pub audience: Audience,
    /// Settings for the OCS agent on Windows, in addition to the action.
    pub windows: WindowsTerms,
    /// Digest of the content. Two publications are the same if this digest is equal.
    pub content: Sha256Digest,
    /// Folder for the objects of a new package: see [`crate::key::package_folder`].
    pub folder: ObjectPath,
}

/// Outcome of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The package is new, and got an id.
    New(PackageRecord),
    /// The same content was reserved earlier under this name and version. It may be published
    /// already.
    Resumed(PackageRecord),
}

/// Errors from reserving a package.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    #[error("{}@{} exists as package {} with other content: publish under another version", existing.name, existing.version, existing.id)]
    Conflict { existing: Box<PackageRecord> },
    #[error("{}@{} was deleted as package {}, and names are never used again: publish under another version", existing.name, existing.version, existing.id)]
    Deleted { existing: Box<PackageRecord> },
    #[error("cannot derive a package id from the date {}: correct the clock of this machine", now.day())]
    Clock { now: UnixTime },
    #[error(
        "package {latest} is an earlier version of {name}, and its id is {} hours in the future: devices would refuse the new version as a downgrade",
        hours_ahead(*latest, *now)
    )]
    LaterVersion {
        name: PackageName,
        latest: PackageId,
        now: UnixTime,
    },
    #[error("no package id is free at this time: try again in a minute")]
    NoFreeId { now: UnixTime },
    #[error("package id {} is taken by {}@{}", existing.id, existing.name, existing.version)]
    IdTaken { existing: Box<PackageRecord> },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Largest difference between an id and the time of its reservation, in seconds.
///
/// Ids of one name increase, because devices take a lower one for a downgrade. The clocks of
/// publishers may differ. The limit keeps somebody who controls the table from moving ids far into
/// the future.
pub const MAX_AHEAD_S: u64 = 6 * 3600;

fn hours_ahead(id: PackageId, now: UnixTime) -> u64 {
    UnixTime(id.get().into()).since(now).div_ceil(3600)
}

/// Number of consecutive ids to try.
const IDS: usize = 60;

impl Records {
    /// Reserves an id for a name, version and content, or finds the existing id.
    ///
    /// The id is later than every id of the name, whatever the clocks of their publishers said. If
    /// several reservations of one name and version happen at once, exactly one is new.
    pub async fn reserve(
        &self,
        reservation: &Reservation,
        now: UnixTime,
    ) -> Result<Reserved, ReserveError> {
        let first = PackageId::at(now).map_err(|_| ReserveError::Clock { now })?;
        // A resumed publication keeps its id, also after a later version.
        if let Some(existing) = self.named(reservation).await? {
            return existing_package(existing, reservation);
        }
        let first = match self.ids_of(&reservation.name).await?.last() {
            Some(latest) if *latest >= first => after(*latest, &reservation.name, now)?,
            _ => first,
        };
        for id in successors(Some(first), |id| id.next()).take(IDS) {
            // A refused transaction does not show whether the name or the id was taken, so look
            // for the name before each try.
            if let Some(existing) = self.named(reservation).await? {
                return existing_package(existing, reservation);
            }
            let package = draft(reservation, id, now);
            if self.create_draft(&package).await? {
                return Ok(Reserved::New(package));
            }
        }
        // The last try may have failed because of the name, not because of the id.
        match self.named(reservation).await? {
            Some(existing) => existing_package(existing, reservation),
            None => Err(ReserveError::NoFreeId { now }),
        }
    }

    /// Reserves the id that a package has on another server, or finds the existing package.
    ///
    /// The id may be lower than later ids of the name: devices then take the package for an earlier
    /// version, as on the other server.
    pub async fn reserve_id(
        &self,
        reservation: &Reservation,
        id: PackageId,
        now: UnixTime,
    ) -> Result<Reserved, ReserveError> {
        let package = draft(reservation, id, now);
        if self.create_draft(&package).await? {
            return Ok(Reserved::New(package));
        }
        // A refused transaction does not show whether the name or the id was taken.
        let existing = match self.named(reservation).await? {
            Some(existing) => Some(existing),
            None => self.package(id).await?,
        };
        match existing {
            Some(existing) if existing.id == id && existing.name == reservation.name => {
                existing_package(existing, reservation)
            }
            Some(existing) if existing.id == id => Err(ReserveError::IdTaken {
                existing: Box::new(existing),
            }),
            Some(existing) => Err(ReserveError::Conflict {
                existing: Box::new(existing),
            }),
            None => Err(ReserveError::NoFreeId { now }),
        }
    }

    /// Writes the record of a new package. Returns false if its name or its id is taken.
    async fn create_draft(&self, package: &PackageRecord) -> Result<bool, RecordsError> {
        let writes = vec![
            write::create(self.table(), stored::catalogued_name(package)),
            write::create(self.table(), stored::package(package)),
            write::create(self.table(), stored::catalogued_package(package)),
        ];
        Ok(self.commit(writes).await? == Commit::Done)
    }

    async fn named(
        &self,
        reservation: &Reservation,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        let (name, version) = (reservation.name.clone(), reservation.version.clone());
        self.find(&PackageRef::Named(name, version)).await
    }
}

/// Returns the id after the latest one of a name.
fn after(latest: PackageId, name: &PackageName, now: UnixTime) -> Result<PackageId, ReserveError> {
    let is_near = UnixTime(latest.get().into()).since(now) < MAX_AHEAD_S - IDS as u64;
    latest
        .next()
        .filter(|_| is_near)
        .ok_or_else(|| ReserveError::LaterVersion {
            name: name.clone(),
            latest,
            now,
        })
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
        platform: reservation.platform,
        success_codes: reservation.success_codes.clone(),
        reboot_codes: reservation.reboot_codes.clone(),
        timeout_s: reservation.timeout_s,
        rerun_after_interruption: reservation.rerun_after_interruption,
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn messages() {
        let now = UnixTime(1_795_000_000);
        let reservation = Reservation {
            name: "vlc".parse().expect("it is a name"),
            version: "3.0.21".parse().expect("it is a version"),
            priority: Priority::DEFAULT,
            action: Action::Execute {
                archive: None,
                command: "true".parse().expect("it is a command"),
            },
            platform: Platform::Any,
            success_codes: BTreeSet::from([0]),
            reboot_codes: BTreeSet::new(),
            timeout_s: 60,
            rerun_after_interruption: false,
            audience: Audience::Any,
            windows: WindowsTerms::default(),
            content: Sha256Digest::of(b""),
            folder: "d/x".parse().expect("it is a path"),
        };
        let id = "1795327754".parse().expect("it is a package id");
        let existing = || Box::new(draft(&reservation, id, now));
        let errors = [
            ReserveError::Conflict {
                existing: existing(),
            },
            ReserveError::Deleted {
                existing: existing(),
            },
            ReserveError::Clock { now },
            ReserveError::LaterVersion {
                name: reservation.name.clone(),
                latest: id,
                now,
            },
            ReserveError::NoFreeId { now },
            ReserveError::IdTaken {
                existing: existing(),
            },
        ];
        let lines = errors.map(|error| error.to_string());
        assert_snapshot!(lines.join("\n"), @r"
        vlc@3.0.21 exists as package 1795327754 with other content: publish under another version
        vlc@3.0.21 was deleted as package 1795327754, and names are never used again: publish under another version
        cannot derive a package id from the date 2026-11-18: correct the clock of this machine
        package 1795327754 is an earlier version of vlc, and its id is 92 hours in the future: devices would refuse the new version as a downgrade
        no package id is free at this time: try again in a minute
        package id 1795327754 is taken by vlc@3.0.21
        ");
    }
}

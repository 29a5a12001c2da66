//! Packages, once reserved.

use packcast_protocol::{PackageId, PackageRef};
use packcast_rollout::{LocationRecord, PackageRecord, Published};

use super::{Records, RecordsError};

/// Why a package could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("package {id} does not exist")]
    NoPackage { id: PackageId },
    #[error("package {id} is published already, with another manifest")]
    Conflict { id: PackageId },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Why a package could not be activated or deactivated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    #[error("package {id} does not exist")]
    NoPackage { id: PackageId },
    #[error("package {id} is not published yet: publish it again to complete it")]
    NotPublished { id: PackageId },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    pub async fn package(&self, _id: PackageId) -> Result<Option<PackageRecord>, RecordsError> {
        unimplemented!()
    }

    /// Returns the package that an operator names.
    pub async fn find(
        &self,
        _reference: &PackageRef,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        unimplemented!()
    }

    /// Returns the packages of these ids that exist, in the order of their ids.
    pub async fn packages_of(
        &self,
        _ids: &[PackageId],
    ) -> Result<Vec<PackageRecord>, RecordsError> {
        unimplemented!()
    }

    /// Returns every package, the newest last.
    pub async fn packages(&self) -> Result<Vec<PackageRecord>, RecordsError> {
        unimplemented!()
    }

    /// Makes a draft a published package, and returns it.
    ///
    /// A package that is published with the same manifest already is returned as it is.
    pub async fn publish(
        &self,
        _id: PackageId,
        _published: &Published,
    ) -> Result<PackageRecord, PublishError> {
        unimplemented!()
    }

    /// Lets devices be told of a published package, at these locations in this order.
    pub async fn activate(
        &self,
        _id: PackageId,
        _locations: &[LocationRecord],
    ) -> Result<PackageRecord, ActivateError> {
        unimplemented!()
    }

    /// Lets no device be told of a package any more.
    ///
    /// Once it has returned, no device that was not told is told.
    pub async fn deactivate(&self, _id: PackageId) -> Result<PackageRecord, ActivateError> {
        unimplemented!()
    }
}

//! Packages, once reserved.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::{PackageId, PackageRef, UnixTime};
use packcast_rollout::{LocationRecord, PackageRecord, PackageState, Published};

use super::item;
use super::key::{Key, Range};
use super::names::{ACTIVE, DELETED, LOCATIONS, STATE};
use super::stored::{CataloguedPackage, NameItem};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Why a package could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("package {id} does not exist")]
    NoPackage { id: PackageId },
    #[error("package {id} is published already, with another manifest")]
    Conflict { id: PackageId },
    #[error("package {id} was deleted while it was published")]
    Deleted { id: PackageId },
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
    #[error("package {id} was deleted")]
    Deleted { id: PackageId },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    pub async fn package(&self, id: PackageId) -> Result<Option<PackageRecord>, RecordsError> {
        let found = self.get_item(&Key::package(id)).await?;
        found.map(package).transpose()
    }

    /// Returns the package that an operator names.
    pub async fn find(
        &self,
        reference: &PackageRef,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        let (name, version) = match reference {
            PackageRef::Id(id) => return self.package(*id).await,
            PackageRef::Named(name, version) => (name, version),
        };
        let entry: Option<NameItem> = self.get(&Key::catalogued_name(name, version)).await?;
        let Some(entry) = entry else {
            return Ok(None);
        };
        match self.package(entry.package).await? {
            Some(found) if found.name != *name || found.version != *version => {
                Err(RecordsError::Corrupt {
                    key: Key::package(found.id).to_string(),
                    source: format!("{name}@{version} leads to it, which it is not").into(),
                })
            }
            found => Ok(found),
        }
    }

    /// Returns the packages of these ids that exist, in the order of their ids.
    pub async fn packages_of(&self, ids: &[PackageId]) -> Result<Vec<PackageRecord>, RecordsError> {
        let ids: BTreeSet<PackageId> = ids.iter().copied().collect();
        let keys: Vec<Key> = ids.into_iter().map(Key::package).collect();
        let items = self.batch(&keys).await?;
        let mut packages: Vec<PackageRecord> =
            items.into_iter().map(package).collect::<Result<_, _>>()?;
        packages.sort_by_key(|package| package.id);
        Ok(packages)
    }

    /// Returns every package that was deleted, the newest last: names are never used again, so
    /// they stay in the catalogue.
    pub async fn deleted_packages(&self) -> Result<Vec<PackageRecord>, RecordsError> {
        let kept: Vec<CataloguedPackage> = self.all(&Range::catalogued_packages()).await?;
        let kept: HashSet<PackageId> = kept.iter().map(|entry| entry.id).collect();
        let names: Vec<NameItem> = self.all(&Range::catalogued_names()).await?;
        let gone = names.iter().map(|name| name.package);
        let gone: Vec<PackageId> = gone.filter(|id| !kept.contains(id)).collect();
        let mut packages = self.packages_of(&gone).await?;
        packages.retain(PackageRecord::is_deleted);
        Ok(packages)
    }

    /// Returns the newest `most` packages that were not deleted, the newest last, at the same
    /// cost however many there are.
    pub async fn packages(&self, most: usize) -> Result<Vec<PackageRecord>, RecordsError> {
        let range = Range::catalogued_packages();
        let entries: Vec<CataloguedPackage> = self.last(&range, most).await?;
        let ids: Vec<PackageId> = entries.iter().map(|entry| entry.id).collect();
        self.packages_of(&ids).await
    }

    /// Makes a draft a published package, and returns it.
    ///
    /// A package that is published with the same manifest already is returned as it is.
    pub async fn publish(
        &self,
        id: PackageId,
        published: &Published,
    ) -> Result<PackageRecord, PublishError> {
        let state = PackageState::Published(*published);
        let terms = Terms::default()
            .name(STATE)
            .value("draft", item::attribute(&PackageState::Draft))
            .value("published", item::attribute(&state));
        let changed = self
            .change(
                &Key::package(id),
                "SET #state = :published",
                "#state = :draft",
                &terms,
            )
            .await?;
        if let Some(item) = changed {
            return Ok(item::read(item)?);
        }
        let package = self.package(id).await?;
        let package = package.ok_or(PublishError::NoPackage { id })?;
        match package.published() {
            Some(before) if before.manifest == published.manifest => Ok(package),
            None if package.is_deleted() => Err(PublishError::Deleted { id }),
            _ => Err(PublishError::Conflict { id }),
        }
    }

    /// Lets devices be told of a published package, at these locations in this order.
    pub async fn activate(
        &self,
        id: PackageId,
        locations: &[LocationRecord],
    ) -> Result<PackageRecord, ActivateError> {
        let terms = Terms::default()
            .name(STATE)
            .name(ACTIVE)
            .name(LOCATIONS)
            .value("draft", item::attribute(&PackageState::Draft))
            .value("deleted", item::text(DELETED))
            .value("active", AttributeValue::Bool(true))
            .value("locations", item::attribute(&locations));
        self.change_active(
            id,
            "SET #active = :active, #locations = :locations",
            "attribute_exists(#state) AND #state <> :draft AND #state.#state <> :deleted",
            &terms,
        )
        .await
    }

    /// Lets no device be told of a package any more.
    ///
    /// Once it has returned, no device that was not told is told.
    pub async fn deactivate(&self, id: PackageId) -> Result<PackageRecord, ActivateError> {
        let terms = Terms::default()
            .name(ACTIVE)
            .value("active", AttributeValue::Bool(false));
        self.change_active(id, "SET #active = :active", PRESENT, &terms)
            .await
    }

    /// Makes a package a tombstone, and takes it out of the catalogue.
    ///
    /// Once it has returned, no device is told of it and none is assigned it. Its name and its
    /// id are never used again; one that is deleted already is returned as it is.
    pub async fn delete(
        &self,
        id: PackageId,
        now: UnixTime,
    ) -> Result<PackageRecord, ActivateError> {
        let deleted = PackageState::Deleted { deleted_at: now };
        let terms = Terms::default()
            .name(STATE)
            .name(ACTIVE)
            .value("deleted", item::text(DELETED))
            .value("state", item::attribute(&deleted))
            .value("inactive", AttributeValue::Bool(false));
        let writes = vec![
            write::update(
                self.table(),
                &Key::package(id),
                "SET #state = :state, #active = :inactive",
                Some("attribute_exists(#state) AND #state.#state <> :deleted"),
                &terms,
            ),
            write::remove(self.table(), &Key::catalogued_package(id)),
        ];
        self.commit(writes).await?;
        let package = self.package(id).await?;
        package.ok_or(ActivateError::NoPackage { id })
    }

    /// A check that a package was not deleted.
    pub(super) fn not_deleted(&self, package: PackageId) -> TransactWriteItem {
        let terms = Terms::default()
            .name(STATE)
            .value("deleted", item::text(DELETED));
        write::check(
            self.table(),
            &Key::package(package),
            "attribute_exists(#state) AND #state.#state <> :deleted",
            &terms,
        )
    }

    async fn change_active(
        &self,
        id: PackageId,
        update: &str,
        condition: &str,
        terms: &Terms,
    ) -> Result<PackageRecord, ActivateError> {
        let changed = self
            .change(&Key::package(id), update, condition, terms)
            .await?;
        if let Some(item) = changed {
            return Ok(item::read(item)?);
        }
        Err(match self.package(id).await? {
            Some(package) if package.is_deleted() => ActivateError::Deleted { id },
            Some(_) => ActivateError::NotPublished { id },
            None => ActivateError::NoPackage { id },
        })
    }
}

fn package(item: item::Item) -> Result<PackageRecord, RecordsError> {
    item::read_at(item, |package: &PackageRecord| Key::package(package.id))
}

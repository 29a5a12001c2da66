//! Packages: finding, publishing, activating and deleting them.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::{StreamExt as _, stream};
use packcast_protocol::{PackageId, PackageName, PackageRef};
use packcast_rollout::{
    ChangedBy, LocationRecord, PackageRecord, PackageState, Published, UnsignedChange,
};

use super::commit::Commit;
use super::copies::CopiedValue;
use super::item;
use super::key::{Key, Range};
use super::names::{ACTIVATION, ACTIVE, DELETED, LOCATIONS, STATE};
use super::stored::{ActivationItem, CataloguedPackage, NameItem};
use super::tally::shards_of;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Number of packages whose copies are written at the same time.
const PACKAGES_AT_ONCE: usize = 8;

/// Errors from publishing a package.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("package {id} does not exist")]
    NoPackage { id: PackageId },
    #[error("package {id} is already published with another manifest")]
    Conflict { id: PackageId },
    #[error("package {id} was deleted while it was being published")]
    Deleted { id: PackageId },
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Errors from activating or deactivating a package.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    #[error("package {id} does not exist")]
    NoPackage { id: PackageId },
    #[error("package {id} is not published yet: run the same 'packcast publish' command again")]
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

    /// Returns the package with an id, or with a name and version.
    pub async fn find(
        &self,
        reference: &PackageRef,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        let (name, version) = match reference {
            PackageRef::Id(id) => return self.package(*id).await,
            PackageRef::Named(name, version) => (name, version),
            PackageRef::Name(name) => {
                let mut versions = self.packages(usize::MAX).await?;
                versions.retain(|package| package.name == *name && !package.is_deleted());
                return Ok(versions.pop().filter(|_| versions.is_empty()));
            }
        };
        let entry: Option<NameItem> = self.get(&Key::catalogued_name(name, version)).await?;
        let Some(entry) = entry else {
            return Ok(None);
        };
        match self.package(entry.package).await? {
            Some(found) if found.name != *name || found.version != *version => {
                Err(RecordsError::Corrupt {
                    key: Key::package(found.id).to_string(),
                    source: format!(
                        "the catalogue lists it as {name}@{version}, but it has another name or version"
                    )
                    .into(),
                })
            }
            found => Ok(found),
        }
    }

    /// Returns the packages with these ids, except ids without a package, in the order of the ids.
    pub async fn packages_of(&self, ids: &[PackageId]) -> Result<Vec<PackageRecord>, RecordsError> {
        let ids: BTreeSet<PackageId> = ids.iter().copied().collect();
        let keys: Vec<Key> = ids.into_iter().map(Key::package).collect();
        let items = self.listed_batch(&keys).await?;
        let mut packages: Vec<PackageRecord> =
            items.into_iter().map(package).collect::<Result<_, _>>()?;
        packages.sort_by_key(|package| package.id);
        Ok(packages)
    }

    /// Returns the ids of all versions of a name, also of drafts and deleted packages.
    pub async fn ids_of(&self, name: &PackageName) -> Result<BTreeSet<PackageId>, RecordsError> {
        let versions: Vec<NameItem> = self.all(&Range::versions(name)).await?;
        Ok(versions.iter().map(|version| version.package).collect())
    }

    /// Returns every deleted package, the newest last.
    ///
    /// They are found by their names, which stay in the catalogue because they are never used
    /// again.
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

    /// Returns the newest `most` packages that are not deleted, the newest last.
    ///
    /// The cost does not depend on the number of packages on record.
    pub async fn packages(&self, most: usize) -> Result<Vec<PackageRecord>, RecordsError> {
        let range = Range::catalogued_packages();
        let entries: Vec<CataloguedPackage> = self.last(&range, most).await?;
        let ids: Vec<PackageId> = entries.iter().map(|entry| entry.id).collect();
        self.packages_of(&ids).await
    }

    /// Turns a draft into a published package, and returns it.
    ///
    /// If the package is published already with the same manifest, it is returned as it is.
    pub async fn publish(
        &self,
        id: PackageId,
        published: &Published,
        by: &ChangedBy,
    ) -> Result<PackageRecord, PublishError> {
        let state = PackageState::Published(published.clone());
        let terms = Terms::default()
            .name(STATE)
            .value("draft", item::attribute(&PackageState::Draft))
            .value("published", item::attribute(&state));
        let write = write::update(
            self.table(),
            &Key::package(id),
            "SET #state = :published",
            Some("#state = :draft"),
            &terms,
        );
        let event = self.event(by, UnsignedChange::Published { package: id });
        // A refusal means that the package is no draft any more, or does not exist.
        self.commit(vec![write, event]).await?;
        let package = self.package(id).await?;
        let package = package.ok_or(PublishError::NoPackage { id })?;
        match package.published() {
            Some(before) if before.manifest == published.manifest => Ok(package),
            None if package.is_deleted() => Err(PublishError::Deleted { id }),
            _ => Err(PublishError::Conflict { id }),
        }
    }

    /// Activates a published package at these locations, in this order: it can be announced.
    ///
    /// If the package is active at these locations already, only missing copies of the activation are
    /// written.
    pub async fn activate(
        &self,
        id: PackageId,
        locations: &[LocationRecord],
        by: &ChangedBy,
    ) -> Result<PackageRecord, ActivateError> {
        let terms = Terms::default()
            .name(STATE)
            .name(ACTIVE)
            .name(ACTIVATION)
            .name(LOCATIONS)
            .value("one", item::number(&1))
            .value("draft", item::attribute(&PackageState::Draft))
            .value("deleted", item::text(DELETED))
            .value("active", AttributeValue::Bool(true))
            .value("locations", item::attribute(&locations));
        let write = write::update(
            self.table(),
            &Key::package(id),
            "SET #active = :active, #locations = :locations ADD #activation :one",
            Some(
                "attribute_exists(#state) AND #state <> :draft AND #state.#state <> :deleted \
                 AND (#active <> :active OR #locations <> :locations)",
            ),
            &terms,
        );
        let names = locations.iter().map(|at| at.name.clone());
        let change = UnsignedChange::Activated {
            package: id,
            locations: names.collect(),
        };
        let is_so = |package: &PackageRecord| package.active && package.locations == locations;
        self.change_active(id, &write, &change, by, is_so).await
    }

    /// Deactivates a package. If the package is not active, only missing copies of the activation are
    /// written.
    ///
    /// After this returns, pending tasks of the package are not announced.
    pub async fn deactivate(
        &self,
        id: PackageId,
        by: &ChangedBy,
    ) -> Result<PackageRecord, ActivateError> {
        let terms = Terms::default()
            .name(ACTIVE)
            .name(ACTIVATION)
            .value("active", AttributeValue::Bool(true))
            .value("inactive", AttributeValue::Bool(false))
            .value("one", item::number(&1));
        let write = write::update(
            self.table(),
            &Key::package(id),
            "SET #active = :inactive ADD #activation :one",
            Some("#active = :active"),
            &terms,
        );
        let change = UnsignedChange::Deactivated { package: id };
        let is_so = |package: &PackageRecord| !package.active;
        self.change_active(id, &write, &change, by, is_so).await
    }

    /// Turns a package into a deleted one, and removes it from the catalogue of packages.
    ///
    /// After this returns, the package is not announced, and cannot be assigned. Its name and its
    /// id are never used again. If the package is deleted already, it is returned as it is.
    pub async fn delete(
        &self,
        id: PackageId,
        by: &ChangedBy,
    ) -> Result<PackageRecord, ActivateError> {
        let deleted_at = by.at.second();
        let deleted = PackageState::Deleted { deleted_at };
        let terms = Terms::default()
            .name(STATE)
            .name(ACTIVE)
            .name(ACTIVATION)
            .value("deleted", item::text(DELETED))
            .value("state", item::attribute(&deleted))
            .value("inactive", AttributeValue::Bool(false))
            .value("one", item::number(&1));
        let writes = vec![
            write::update(
                self.table(),
                &Key::package(id),
                "SET #state = :state, #active = :inactive ADD #activation :one",
                Some("attribute_exists(#state) AND #state.#state <> :deleted"),
                &terms,
            ),
            write::remove(self.table(), &Key::catalogued_package(id)),
            self.event(by, UnsignedChange::Deleted { package: id }),
        ];
        // A refusal means that the package is deleted already, or does not exist.
        self.commit(writes).await?;
        let package = self.copy_activation(id).await?;
        // No gate of a deleted package is created, so none is left behind.
        self.remove_gates(id).await?;
        Ok(package)
    }

    /// Returns the check that a package is not deleted.
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

    /// Writes the copies of the activation of a package, and returns the package.
    ///
    /// After this returns, announcements follow from the activation on record. The function also
    /// completes the copies of an interrupted change.
    async fn copy_activation(&self, id: PackageId) -> Result<PackageRecord, ActivateError> {
        let keys = &shards_of(id);
        self.retry_on_conflict((), |()| async move {
            // The package is read after the copies: no genuine copy is later than the package.
            let read = self.batch(keys).await?;
            let found = self.get_item(&Key::package(id)).await?;
            let found = found.ok_or(ActivateError::NoPackage { id })?;
            let ActivationItem { active, activation } = item::read(found.clone())?;
            let value = CopiedValue {
                number_name: ACTIVATION,
                number: activation,
                attributes: vec![(ACTIVE, AttributeValue::Bool(active))],
            };
            let is_done = self.write_copies(keys, &value, &read, activation).await?;
            Ok(if is_done {
                ControlFlow::Break(package(found)?)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Writes missing and forged copies of the activations of all published packages.
    ///
    /// An error of one package does not stop the others.
    pub async fn complete_activations(&self) -> Result<(), RecordsError> {
        let mut packages = self.packages(usize::MAX).await?;
        // A draft has never been active.
        packages.retain(|package| package.published().is_some());
        let copied: Vec<Result<(), RecordsError>> = stream::iter(packages)
            .map(
                async |package| match self.copy_activation(package.id).await {
                    // Somebody has removed the record in the meantime.
                    Ok(_) | Err(ActivateError::NoPackage { .. }) => Ok(()),
                    Err(ActivateError::Records(error)) => Err(error),
                    Err(error) => Err(RecordsError::Corrupt {
                        key: Key::package(package.id).to_string(),
                        source: error.into(),
                    }),
                },
            )
            .buffer_unordered(PACKAGES_AT_ONCE)
            .collect()
            .await;
        copied.into_iter().collect()
    }

    /// Writes a change of the activation of a package, with its event, unless `is_so` returns true
    /// for the package already. Then writes the copies of the activation.
    async fn change_active(
        &self,
        id: PackageId,
        write: &TransactWriteItem,
        change: &UnsignedChange,
        by: &ChangedBy,
        is_so: impl Fn(&PackageRecord) -> bool,
    ) -> Result<PackageRecord, ActivateError> {
        let is_so = &is_so;
        self.retry_on_conflict((), |()| async move {
            let writes = vec![write.clone(), self.event(by, change.clone())];
            let is_done = self.commit(writes).await? == Commit::Done;
            let package = self.package(id).await?;
            let package = package.ok_or(ActivateError::NoPackage { id })?;
            if is_done || is_so(&package) {
                Ok(ControlFlow::Break(()))
            } else if package.is_deleted() {
                Err(ActivateError::Deleted { id })
            } else if package.published().is_none() {
                Err(ActivateError::NotPublished { id })
            } else {
                Ok(ControlFlow::Continue(()))
            }
        })
        .await?;
        self.copy_activation(id).await
    }
}

fn package(item: item::Item) -> Result<PackageRecord, RecordsError> {
    item::read_at(item, |package: &PackageRecord| Key::package(package.id))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn messages() {
        let id = "1795327754".parse().expect("it is a package id");
        let publish = [
            PublishError::NoPackage { id },
            PublishError::Conflict { id },
            PublishError::Deleted { id },
        ];
        let activate = [
            ActivateError::NoPackage { id },
            ActivateError::NotPublished { id },
            ActivateError::Deleted { id },
        ];
        let publish = publish.map(|error| error.to_string());
        let activate = activate.map(|error| error.to_string());
        assert_snapshot!([publish, activate].concat().join("\n"), @r"
        package 1795327754 does not exist
        package 1795327754 is already published with another manifest
        package 1795327754 was deleted while it was being published
        package 1795327754 does not exist
        package 1795327754 is not published yet: run the same 'packcast publish' command again
        package 1795327754 was deleted
        ");
    }
}

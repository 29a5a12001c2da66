//! The memory of imports from OCS servers: the rows that they have carried over, and the groups and
//! packages that they have created.
//!
//! All administrators of a target share the memory. A row is known by digests only, so 100,000 rows
//! take 1.2 MB. Nothing signs the memory: it can only keep an import from repeating a row.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::PackageId;
use packcast_protocol::state::GroupOrigin;
use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::item::{self, Item};
use super::key::{IMPORT_SHARDS, Key, Range};
use super::names::{REVISION, ROWS};
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Rows of OCS servers: the digest of each row's identity, with the digest of its content.
pub type ImportedRows = BTreeMap<u64, u32>;

/// The size of a row in an item, in bytes.
const ROW_BYTES: usize = 12;

/// Largest number of rows in one item: 384,000 of the 409,600 bytes that an item may have.
const MAX_ROWS: usize = 32_000;

/// Number of items that are written at a time.
const AT_ONCE: usize = 4;

/// The group of an OCS server from which a group was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedGroup {
    /// The group here, which keeps its origin under a later name.
    pub origin: GroupOrigin,
    pub ocs_id: i64,
    pub ocs_name: String,
    /// The query of a dynamic group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Time of creation on the OCS server, by which groups of two servers differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocs_created: Option<String>,
}

/// The package of an OCS server from which a package was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedPackage {
    pub package: PackageId,
    pub ocs_name: String,
    pub comment: String,
}

/// A part of the rows of a shard: those in one item. A shard gets another part when all its parts
/// are full.
#[derive(Default)]
struct Part {
    /// Number of changes of the item; `None` if there is no item.
    revision: Option<u64>,
    rows: ImportedRows,
}

impl Records {
    /// Returns the rows that imports have carried over.
    pub async fn imported_rows(&self) -> Result<ImportedRows, RecordsError> {
        let found = self.range(&Range::imported_rows()).await?;
        let mut rows = ImportedRows::new();
        for item in &found.items {
            for (row, content) in Part::read(item).rows {
                // An import changes the first part that has the row. A later part has it too only if
                // somebody has damaged an item.
                rows.entry(row).or_insert(content);
            }
        }
        Ok(rows)
    }

    /// Adds rows to those that imports have carried over. A row that is on record gets its present
    /// content.
    pub async fn remember_imported_rows(&self, rows: &ImportedRows) -> Result<(), RecordsError> {
        let mut shards: BTreeMap<u16, ImportedRows> = BTreeMap::new();
        for (row, content) in rows {
            let of_shard = shards.entry(shard_of(*row)).or_default();
            of_shard.insert(*row, *content);
        }
        stream::iter(shards)
            .map(|(shard, rows)| self.remember_shard(shard, rows))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn remember_shard(&self, shard: u16, mut rows: ImportedRows) -> Result<(), RecordsError> {
        let mut part = 0;
        while !rows.is_empty() {
            let key = Key::imported_rows(shard, part);
            rows = self.remember_part(&key, &rows).await?;
            part += 1;
        }
        Ok(())
    }

    /// Adds rows to one part, and returns those for which it has no room.
    ///
    /// A part never loses a row. So a later part exists only if this one is full, and two
    /// administrators never add the same row to different parts.
    async fn remember_part(
        &self,
        key: &Key,
        rows: &ImportedRows,
    ) -> Result<ImportedRows, RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let item = self.get_item(key).await?;
            let before = item.as_ref().map(Part::read).unwrap_or_default();
            let (after, rest) = with_rows(&before.rows, rows);
            if after == before.rows {
                return Ok(ControlFlow::Break(rest));
            }
            let put = self.putting_part(key, before.revision, &after);
            let is_done = self.commit(vec![put]).await? == Commit::Done;
            Ok(if is_done {
                ControlFlow::Break(rest)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    fn putting_part(
        &self,
        key: &Key,
        before: Option<u64>,
        rows: &ImportedRows,
    ) -> aws_sdk_dynamodb::types::TransactWriteItem {
        let mut item = key.attributes();
        let revision = before.map_or(1, |revision| revision.saturating_add(1));
        item.insert(REVISION.to_owned(), item::number(&revision));
        item.insert(ROWS.to_owned(), AttributeValue::B(Blob::new(packed(rows))));
        match before {
            // An item that somebody has changed may have no number.
            None => {
                let terms = Terms::default().name(REVISION);
                write::put(
                    self.table(),
                    item,
                    "attribute_not_exists(#revision)",
                    &terms,
                )
            }
            Some(before) => {
                let terms = Terms::default()
                    .name(REVISION)
                    .value("before", item::number(&before));
                write::put(self.table(), item, "#revision = :before", &terms)
            }
        }
    }

    /// Returns the groups that imports have created or extended. An unreadable item is left out: the
    /// next import writes it again.
    pub async fn imported_groups(&self) -> Result<Vec<ImportedGroup>, RecordsError> {
        let found = self.range(&Range::imported_groups()).await?;
        let groups = found.items.into_iter();
        Ok(groups.filter_map(|item| read_group(item).ok()).collect())
    }

    /// Returns the group of an OCS server from which a group was imported. `None` for other groups.
    pub async fn imported_group(
        &self,
        origin: &GroupOrigin,
    ) -> Result<Option<ImportedGroup>, RecordsError> {
        let item = self.get_item(&Key::imported_group(origin)).await?;
        item.map(read_group).transpose()
    }

    /// Remembers the group of an OCS server from which a group was imported.
    pub async fn remember_imported_group(&self, group: &ImportedGroup) -> Result<(), RecordsError> {
        self.put(Key::imported_group(&group.origin).item(group))
            .await?;
        Ok(())
    }

    /// Returns the package of an OCS server from which a package was imported. `None` for other
    /// packages.
    pub async fn imported_package(
        &self,
        package: PackageId,
    ) -> Result<Option<ImportedPackage>, RecordsError> {
        let item = self.get_item(&Key::imported_package(package)).await?;
        let key = |it: &ImportedPackage| Key::imported_package(it.package);
        item.map(|item| item::read_at(item, key)).transpose()
    }

    /// Returns the packages that imports have created, with their names on the OCS server.
    pub async fn imported_packages(&self) -> Result<Vec<ImportedPackage>, RecordsError> {
        self.all(&Range::imported_packages()).await
    }

    /// Remembers the package of an OCS server from which a package was imported.
    pub async fn remember_imported_package(
        &self,
        package: &ImportedPackage,
    ) -> Result<(), RecordsError> {
        let item = Key::imported_package(package.package).item(package);
        self.put(item).await?;
        Ok(())
    }
}

fn read_group(item: Item) -> Result<ImportedGroup, RecordsError> {
    item::read_at(item, |group: &ImportedGroup| {
        Key::imported_group(&group.origin)
    })
}

impl Part {
    /// Reads the rows in an item. An unreadable item has no rows: the next import repeats them.
    fn read(item: &Item) -> Self {
        let revision = item.get(REVISION).and_then(|number| number.as_n().ok());
        let bytes = item.get(ROWS).and_then(|rows| rows.as_b().ok());
        let (rows, _) = bytes
            .map_or(&[][..], AsRef::as_ref)
            .as_chunks::<ROW_BYTES>();
        let rows = rows.iter().filter_map(|row| {
            let (id, content) = row.split_first_chunk::<8>()?;
            let content = content.first_chunk::<4>()?;
            Some((u64::from_be_bytes(*id), u32::from_be_bytes(*content)))
        });
        Self {
            revision: revision.and_then(|number| number.parse().ok()),
            rows: rows.collect(),
        }
    }
}

/// Adds rows to those of a part. Returns the rows of the part, and the rows for which it has no room.
fn with_rows(before: &ImportedRows, rows: &ImportedRows) -> (ImportedRows, ImportedRows) {
    let (mut after, mut rest) = (before.clone(), ImportedRows::new());
    for (row, content) in rows {
        if after.len() < MAX_ROWS || after.contains_key(row) {
            after.insert(*row, *content);
        } else {
            rest.insert(*row, *content);
        }
    }
    (after, rest)
}

fn packed(rows: &ImportedRows) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    for (row, content) in rows {
        bytes.extend(row.to_be_bytes());
        bytes.extend(content.to_be_bytes());
    }
    bytes
}

/// Returns the shard of a row. Digests are spread evenly.
fn shard_of(row: u64) -> u16 {
    u16::try_from(row % u64::from(IMPORT_SHARDS))
        .expect("the remainder is below the number of shards")
}

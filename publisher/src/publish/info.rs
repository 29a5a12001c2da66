//! `info` for stock agents: one document per location, as it names where the fragments are.

use std::num::NonZeroU32;

use packcast_protocol::info::{Info, InfoArchive, InfoError};
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use packcast_store::key::pack_location;
use packcast_store::objects::{Put, PutError};
use packcast_store::{ObjectKey, Objects};

/// Why an `info` could not be published.
#[derive(Debug, thiserror::Error)]
pub enum InfoPublishError {
    #[error("info for location {location} cannot be written")]
    Info { location: String, source: InfoError },
    #[error("info for location {location} could not be stored")]
    Put { location: String, source: PutError },
}

impl InfoPublishError {
    /// Tells whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Put { source, .. } if source.is_retryable())
    }
}

/// Writes a package's `info` for one location.
pub fn document(package: &PackageRecord, published: &Published, at: &LocationRecord) -> Info {
    Info {
        id: package.id,
        priority: package.priority,
        action: package.action.clone().map_archive(|_| InfoArchive {
            fragments: NonZeroU32::new(published.fragments).unwrap_or(NonZeroU32::MIN),
            md5: published
                .md5
                .unwrap_or_else(|| packcast_protocol::Md5Digest::from_bytes([0; 16])),
        }),
        pack_loc: pack_location(&at.location, &package.folder),
        dialogue: package.windows.dialogue.clone(),
        manifest: published.manifest,
    }
}

/// Publishes a package's `info` under one location's own segment.
pub async fn publish(
    objects: &Objects,
    package: &PackageRecord,
    published: &Published,
    at: &LocationRecord,
) -> Result<Put, InfoPublishError> {
    let location = || at.name.to_string();
    let xml = document(package, published, at)
        .to_xml()
        .map_err(|source| InfoPublishError::Info {
            location: location(),
            source,
        })?;
    let key = ObjectKey::info(&package.folder, at, package.id);
    objects
        .put_bytes(&key, xml.into_bytes().into())
        .await
        .map_err(|source| InfoPublishError::Put {
            location: location(),
            source,
        })
}

//! `info`, the document that OCS agents read: one for each location, because `info` has the
//! address of the fragments.

use std::num::NonZeroU32;

use packcast_protocol::info::{Info, InfoArchive, InfoError};
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use packcast_store::key::pack_location;
use packcast_store::objects::{Put, PutError};
use packcast_store::{ObjectKey, Objects};

/// Errors from publishing `info`.
#[derive(Debug, thiserror::Error)]
pub enum InfoPublishError {
    #[error("cannot create info for location {location}")]
    Info { location: String, source: InfoError },
    #[error("cannot store info for location {location}")]
    Put { location: String, source: PutError },
}

impl InfoPublishError {
    /// Returns true if a retry may succeed without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Put { source, .. } if source.is_retryable())
    }
}

/// Returns the `info` of a package for one location.
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

/// Publishes the `info` of a package for one location, under the path segment of the location.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::converted;

    #[test]
    fn messages_of_info_errors() {
        let location = || "cdn".to_owned();
        let errors = [
            InfoPublishError::Info {
                location: location(),
                source: InfoError::TooLarge { bytes: 1 },
            },
            InfoPublishError::Put {
                location: location(),
                source: PutError::Conflict {
                    path: "p".to_owned(),
                },
            },
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot create info for location cdn
        Failed: cannot store info for location cdn
        ");
    }
}

//! Sources of verifications: locations and the store.

use bytes::Bytes;
use packcast_protocol::Sha256Digest;
use packcast_rollout::LocationRecord;
use packcast_store::{ObjectKey, Objects};
use reqwest::Client;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::VerifyProblem;
use crate::probe;

/// The maximum number of bytes of stored objects in memory.
const STORED_BYTES: u64 = 256 << 20;

/// A place with all objects of a package.
#[derive(Clone, Debug)]
pub enum ObjectSource {
    /// A location, through its public name, as agents see it.
    Location { client: Client, at: LocationRecord },
    /// The store, as the publisher sees it. The store has the `info` of each of these locations.
    Store {
        objects: Objects,
        locations: Vec<LocationRecord>,
    },
}

impl ObjectSource {
    /// Returns the name of the source for people.
    pub fn name(&self) -> String {
        match self {
            Self::Location { at, .. } => at.name.to_string(),
            Self::Store { .. } => "store".to_owned(),
        }
    }

    /// Returns the locations whose `info` the source has.
    pub(super) fn infos(&self) -> &[LocationRecord] {
        match self {
            Self::Location { at, .. } => std::slice::from_ref(at),
            Self::Store { locations, .. } => locations,
        }
    }

    /// Returns the number of fragments of this size that may be fetched at a time, at most `limit`.
    pub(super) fn parallel(&self, fragment_bytes: u64, limit: usize) -> usize {
        match self {
            Self::Location { .. } => limit,
            Self::Store { .. } => usize::try_from(STORED_BYTES / fragment_bytes)
                .unwrap_or(limit)
                .clamp(1, limit),
        }
    }

    /// Fetches a document, which must have this digest and at most `limit` bytes.
    pub(super) async fn document(
        &self,
        key: &ObjectKey,
        limit: u64,
        digest: Sha256Digest,
    ) -> Result<Bytes, VerifyProblem> {
        let bytes = match self {
            Self::Location { client, at } => {
                let url = at.location.url(key.path());
                probe::fetch(client, &url, limit).await?.into()
            }
            Self::Store { objects, .. } => stored(objects, key, limit).await?,
        };
        if Sha256Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(self.changed(key))
        }
    }

    /// Fetches a fragment, sends its bytes to `chunks`, and verifies its digest.
    ///
    /// If the receiver was dropped, the function stops, and its result is not used.
    pub(super) async fn fragment(
        &self,
        key: &ObjectKey,
        bytes: u64,
        digest: Sha256Digest,
        chunks: mpsc::Sender<Bytes>,
    ) -> Result<(), VerifyProblem> {
        let actual = match self {
            Self::Location { client, at } => {
                forward(client, &at.location.url(key.path()), bytes, &chunks).await?
            }
            Self::Store { objects, .. } => {
                if bytes > STORED_BYTES {
                    let path = key.path().to_owned();
                    return Err(VerifyProblem::TooLarge { path, bytes });
                }
                let fragment = stored(objects, key, bytes).await?;
                let actual = Sha256Digest::of(&fragment);
                // A dropped receiver needs no more chunks.
                let _ = chunks.send(fragment).await;
                actual
            }
        };
        if actual == digest {
            Ok(())
        } else {
            Err(self.changed(key))
        }
    }

    fn changed(&self, key: &ObjectKey) -> VerifyProblem {
        let object = match self {
            Self::Location { at, .. } => at.location.url(key.path()),
            Self::Store { .. } => format!("object {}", key.path()),
        };
        VerifyProblem::Bytes { object }
    }
}

async fn stored(objects: &Objects, key: &ObjectKey, limit: u64) -> Result<Bytes, VerifyProblem> {
    let found = objects.get(key, limit).await?;
    found.ok_or_else(|| VerifyProblem::Missing {
        path: key.path().to_owned(),
    })
}

/// Fetches an object, sends its bytes to `chunks` until the receiver is dropped, and returns the
/// digest of the bytes.
async fn forward(
    client: &Client,
    url: &str,
    bytes: u64,
    chunks: &mpsc::Sender<Bytes>,
) -> Result<Sha256Digest, VerifyProblem> {
    let mut response = probe::get(client, url, bytes).await?;
    let mut digest = Sha256::new();
    while let Some(chunk) = probe::chunk(&mut response, url).await? {
        digest.update(&chunk);
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(Sha256Digest::from_bytes(digest.finalize().into()))
}

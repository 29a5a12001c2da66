//! Where a package is fetched back from.

use bytes::Bytes;
use packcast_protocol::Sha256Digest;
use packcast_rollout::LocationRecord;
use packcast_store::{ObjectKey, Objects};
use reqwest::Client;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::Problem;
use crate::probe;

/// How many bytes of a store's objects are held at once.
const STORED_BYTES: u64 = 256 << 20;

/// One place that has all objects of a package.
#[derive(Clone, Debug)]
pub enum Source {
    /// As agents see it, through its public name.
    Location { client: Client, at: LocationRecord },
    /// As the publisher sees it; it has the `info` of each of these locations.
    Store {
        objects: Objects,
        locations: Vec<LocationRecord>,
    },
}

impl Source {
    /// Returns what a person knows the source by.
    pub fn name(&self) -> String {
        match self {
            Self::Location { at, .. } => at.name.to_string(),
            Self::Store { .. } => "store".to_owned(),
        }
    }

    /// Returns the locations whose `info` is here.
    pub(super) fn infos(&self) -> &[LocationRecord] {
        match self {
            Self::Location { at, .. } => std::slice::from_ref(at),
            Self::Store { locations, .. } => locations,
        }
    }

    /// Returns how many of at most `limit` fragments of that size may be on their way at once.
    pub(super) fn parallel(&self, fragment_bytes: u64, limit: usize) -> usize {
        match self {
            Self::Location { .. } => limit,
            Self::Store { .. } => usize::try_from(STORED_BYTES / fragment_bytes)
                .unwrap_or(limit)
                .clamp(1, limit),
        }
    }

    /// Returns a document, which has to have this digest and at most `limit` bytes.
    pub(super) async fn document(
        &self,
        key: &ObjectKey,
        limit: u64,
        digest: Sha256Digest,
    ) -> Result<Bytes, Problem> {
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

    /// Sends the bytes of a fragment on, and checks its digest.
    ///
    /// A receiver that has gone away wants no more of them, and no answer.
    pub(super) async fn fragment(
        &self,
        key: &ObjectKey,
        bytes: u64,
        digest: Sha256Digest,
        chunks: mpsc::Sender<Bytes>,
    ) -> Result<(), Problem> {
        let actual = match self {
            Self::Location { client, at } => {
                forward(client, &at.location.url(key.path()), bytes, &chunks).await?
            }
            Self::Store { objects, .. } => {
                if bytes > STORED_BYTES {
                    let path = key.path().to_owned();
                    return Err(Problem::TooLarge { path, bytes });
                }
                let fragment = stored(objects, key, bytes).await?;
                let actual = Sha256Digest::of(&fragment);
                // A receiver that has gone away wants no more.
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

    fn changed(&self, key: &ObjectKey) -> Problem {
        let object = match self {
            Self::Location { at, .. } => at.location.url(key.path()),
            Self::Store { .. } => format!("object {}", key.path()),
        };
        Problem::Bytes { object }
    }
}

async fn stored(objects: &Objects, key: &ObjectKey, limit: u64) -> Result<Bytes, Problem> {
    let found = objects.get(key, limit).await?;
    found.ok_or_else(|| Problem::Missing {
        path: key.path().to_owned(),
    })
}

/// Sends what arrives on, for as long as somebody takes it, and returns its digest.
async fn forward(
    client: &Client,
    url: &str,
    bytes: u64,
    chunks: &mpsc::Sender<Bytes>,
) -> Result<Sha256Digest, Problem> {
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

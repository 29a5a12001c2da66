//! Fetching published objects: each where it can be had, each checked on arrival.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{Archive, FragmentNumber, Location, PackageId, Sha256Digest};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::{durable, retry};

/// How often each location is asked for a fragment that arrives wrong or not at all.
const TRIES: u32 = 3;

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{url} is not there (status {status}): publish and activate the package again")]
    Gone { url: String, status: u16 },
    #[error("{url} is not what the manifest says: {reason}")]
    Corrupt { url: String, reason: String },
    #[error("{url} cannot be had now: {reason}")]
    Unavailable { url: String, reason: String },
    #[error("{} cannot be written", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the package has no location to fetch it from")]
    NoLocation,
}

impl FetchError {
    pub(crate) fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, source }
    }
}

/// Where a package is, and with what to fetch it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) http: &'a Client,
    pub(crate) id: PackageId,
    pub(crate) locations: &'a [Location],
}

/// A fragment as the manifest describes it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    number: FragmentNumber,
    bytes: u64,
    digest: Sha256Digest,
}

impl Source<'_> {
    /// Fetches the fragments that `folder` does not have, some at a time, and tells `arrived`
    /// of each, those that were there first.
    ///
    /// A file `<n>` is a verified fragment and is never fetched again.
    pub(crate) async fn fragments(
        self,
        archive: &Archive,
        folder: &Path,
        parallel: NonZeroUsize,
        arrived: impl Fn(FragmentNumber, u64, bool),
    ) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        for (number, bytes, digest) in archive.fragments() {
            if folder.join(number.to_string()).exists() {
                arrived(number, bytes, true);
            } else {
                missing.push(Wanted {
                    number,
                    bytes,
                    digest,
                });
            }
        }
        let arrived = &arrived;
        stream::iter(missing)
            .map(|wanted| async move {
                self.fragment(wanted, folder).await?;
                arrived(wanted.number, wanted.bytes, false);
                Ok(())
            })
            .buffer_unordered(parallel.get())
            .try_collect::<()>()
            .await
    }

    /// Fetches one fragment from the first location that has it as it should be.
    ///
    /// It counts as corrupt only if no location may have it later.
    async fn fragment(self, wanted: Wanted, folder: &Path) -> Result<(), FetchError> {
        let name = format!("{}-{}", self.id, wanted.number);
        let mut last = FetchError::NoLocation;
        for round in 0..TRIES {
            for location in self.locations {
                match self.fragment_from(location, &name, wanted, folder).await {
                    Ok(()) => return Ok(()),
                    Err(error @ FetchError::Disk { .. }) => return Err(error),
                    Err(error) => {
                        if matches!(error, FetchError::Corrupt { .. }) {
                            tracing::warn!(package = %self.id, fragment = %wanted.number, %error, "a fragment arrived wrong");
                        }
                        last = worse(last, error);
                    }
                }
            }
            match last {
                FetchError::Unavailable { .. } if round + 1 < TRIES => {
                    tokio::time::sleep(retry::wait(round, retry::random())).await;
                }
                FetchError::Unavailable { .. } | FetchError::Corrupt { .. } => {}
                _ => return Err(last),
            }
        }
        Err(last)
    }

    async fn fragment_from(
        self,
        location: &Location,
        name: &str,
        wanted: Wanted,
        folder: &Path,
    ) -> Result<(), FetchError> {
        let url = location.url(&format!("{}/{name}", self.id));
        let response = self.get(&url).await?;
        let part = folder.join(format!("{}.part", wanted.number));
        save(response, &url, wanted, &part).await?;
        let done = folder.join(wanted.number.to_string());
        durable::rename(&part, &done).map_err(FetchError::disk(&done))
    }

    /// Fetches a small file from one location, at most `limit` bytes.
    pub(crate) async fn document(
        self,
        location: &Location,
        name: &str,
        limit: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let url = location.url(&format!("{}/{name}", self.id));
        let mut response = self.get(&url).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| interrupted(&url, e))? {
            if bytes.len() + chunk.len() > limit {
                let reason = format!("it has more than {limit} bytes");
                return Err(FetchError::Corrupt { url, reason });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn get(self, url: &str) -> Result<Response, FetchError> {
        let response = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|error| interrupted(url, error))?;
        let status = response.status();
        match status {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => {
                Err(FetchError::Gone {
                    url: url.to_owned(),
                    status: status.as_u16(),
                })
            }
            _ => Err(FetchError::Unavailable {
                url: url.to_owned(),
                reason: format!("status {status}"),
            }),
        }
    }
}

/// Returns the error to tell of two: what may pass outweighs what will not.
fn worse(one: FetchError, other: FetchError) -> FetchError {
    let weight = |error: &FetchError| match error {
        FetchError::NoLocation => 0,
        FetchError::Gone { .. } => 1,
        FetchError::Corrupt { .. } => 2,
        FetchError::Unavailable { .. } => 3,
        FetchError::Disk { .. } => 4,
    };
    if weight(&one) > weight(&other) {
        one
    } else {
        other
    }
}

fn interrupted(url: &str, error: reqwest::Error) -> FetchError {
    FetchError::Unavailable {
        url: url.to_owned(),
        reason: crate::failure::with_causes(&error.without_url()),
    }
}

/// Writes a fragment to `part`, hashed on the way, and synchronises it.
async fn save(
    mut response: Response,
    url: &str,
    wanted: Wanted,
    part: &Path,
) -> Result<(), FetchError> {
    let mut file = File::create(part).await.map_err(FetchError::disk(part))?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(|e| interrupted(url, e))? {
        bytes += chunk.len() as u64;
        if bytes > wanted.bytes {
            let reason = format!("it has more than {} bytes", wanted.bytes);
            return Err(corrupt(url, reason));
        }
        hash.update(&chunk);
        file.write_all(&chunk)
            .await
            .map_err(FetchError::disk(part))?;
    }
    let digest = Sha256Digest::from_bytes(hash.finalize().into());
    if digest != wanted.digest {
        let reason = format!("{bytes} of {} bytes with SHA-256 {digest}", wanted.bytes);
        return Err(corrupt(url, reason));
    }
    // Synchronising does not tell of a write that failed; flushing does.
    file.flush().await.map_err(FetchError::disk(part))?;
    file.sync_all().await.map_err(FetchError::disk(part))
}

fn corrupt(url: &str, reason: String) -> FetchError {
    FetchError::Corrupt {
        url: url.to_owned(),
        reason,
    }
}

//! Fetching published objects: each from the first location that has it as it should be.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{Archive, FragmentNumber, Location, PackageId, Sha256Digest};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::locations::Preference;
use crate::miss::{Miss, NotObtained, Verdict};
use crate::{durable, retry};

/// How often the locations are asked for a fragment that arrives wrong or not at all.
const TRIES: u32 = 3;

/// Why a fragment did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    NotObtained(#[from] NotObtained),
    #[error("{} cannot be written", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a location's answer was not taken.
enum NotTaken<E> {
    /// Another location may do better.
    Miss(Miss),
    /// Whatever the location, it would not be taken.
    Final(E),
}

impl<E> From<Miss> for NotTaken<E> {
    fn from(miss: Miss) -> Self {
        Self::Miss(miss)
    }
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> NotTaken<FetchError> {
    let path = path.to_owned();
    move |source| NotTaken::Final(FetchError::Disk { path, source })
}

/// Where a package is, with what to fetch it, and how its locations have done so far.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    http: &'a Client,
    id: PackageId,
    locations: &'a [Location],
    preference: RefCell<Preference>,
}

/// A fragment as the manifest describes it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    number: FragmentNumber,
    bytes: u64,
    digest: Sha256Digest,
}

impl<'a> Source<'a> {
    pub(crate) fn new(http: &'a Client, id: PackageId, locations: &'a [Location]) -> Self {
        Self {
            http,
            id,
            locations,
            preference: RefCell::new(Preference::of(locations.len())),
        }
    }

    /// Fetches the fragments that `folder` does not have, some at a time, and tells `arrived`
    /// of each, those that were there first.
    ///
    /// A file `<n>` is a verified fragment and is never fetched again.
    pub(crate) async fn fragments(
        &self,
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

    /// Fetches one fragment. It counts as wrong only if no location may have it later.
    async fn fragment(&self, wanted: Wanted, folder: &Path) -> Result<(), FetchError> {
        let name = format!("{}-{}", self.id, wanted.number);
        let mut tried = 0;
        loop {
            let take = async |url: &str| self.fragment_from(url, wanted, folder).await;
            let missed = match self.any_location(&name, take).await {
                Err(FetchError::NotObtained(missed)) => missed,
                ended => return ended,
            };
            tried += 1;
            match missed.verdict() {
                Verdict::Later if tried < TRIES => {
                    tokio::time::sleep(retry::wait(tried - 1, retry::random())).await;
                }
                Verdict::Wrong if tried < TRIES => {}
                _ => return Err(missed.into()),
            }
        }
    }

    async fn fragment_from(
        &self,
        url: &str,
        wanted: Wanted,
        folder: &Path,
    ) -> Result<(), NotTaken<FetchError>> {
        let response = self.get(url).await?;
        let part = folder.join(format!("{}.part", wanted.number));
        save(response, wanted, &part).await?;
        let done = folder.join(wanted.number.to_string());
        durable::rename(&part, &done).map_err(disk(&done))
    }

    /// Fetches a small file, at most `limit` bytes, that is as `check` wants it.
    pub(crate) async fn document<T>(
        &self,
        name: &str,
        limit: usize,
        check: impl Fn(Vec<u8>) -> Result<T, Miss>,
    ) -> Result<T, NotObtained> {
        let take = async |url: &str| {
            let bytes = self.document_from(url, limit).await?;
            Ok(check(bytes)?)
        };
        self.any_location(name, take).await
    }

    async fn document_from(&self, url: &str, limit: usize) -> Result<Vec<u8>, Miss> {
        let mut response = self.get(url).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(interrupted)? {
            if bytes.len() + chunk.len() > limit {
                return Err(Miss::Wrong(format!("it has more than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Asks each location once, until one gives a file that `take` takes.
    async fn any_location<T, E: From<NotObtained>>(
        &self,
        name: &str,
        take: impl AsyncFn(&str) -> Result<T, NotTaken<E>>,
    ) -> Result<T, E> {
        let (turn, order) = self.preference.borrow_mut().begin();
        let mut misses = Vec::new();
        for index in order {
            let location = &self.locations[index];
            match take(&location.url(&format!("{}/{name}", self.id))).await {
                Ok(taken) => {
                    self.preference.borrow_mut().gave(index);
                    return Ok(taken);
                }
                Err(NotTaken::Final(error)) => return Err(error),
                Err(NotTaken::Miss(miss)) => {
                    tracing::warn!(package = %self.id, file = name, %location, why = %miss, "a location did not give a file");
                    self.preference.borrow_mut().failed(index, turn);
                    misses.push((index, miss));
                }
            }
        }
        Err(self.not_obtained(name, misses).into())
    }

    /// Names the locations in the order in which they were announced.
    fn not_obtained(&self, name: &str, mut misses: Vec<(usize, Miss)>) -> NotObtained {
        misses.sort_by_key(|(index, _)| *index);
        let misses = misses
            .into_iter()
            .map(|(index, miss)| (self.locations[index].clone(), miss));
        NotObtained::new(name.to_owned(), misses.collect())
    }

    async fn get(&self, url: &str) -> Result<Response, Miss> {
        let response = self.http.get(url).send().await.map_err(interrupted)?;
        let status = response.status();
        match status {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Err(Miss::Absent {
                status: status.as_u16(),
            }),
            _ => Err(Miss::Unavailable(format!("status {status}"))),
        }
    }
}

fn interrupted(error: reqwest::Error) -> Miss {
    Miss::Unavailable(crate::failure::with_causes(&error.without_url()))
}

/// Writes a fragment to `part`, hashed on the way, and synchronises it.
async fn save(
    mut response: Response,
    wanted: Wanted,
    part: &Path,
) -> Result<(), NotTaken<FetchError>> {
    let mut file = File::create(part).await.map_err(disk(part))?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(interrupted)? {
        bytes += chunk.len() as u64;
        if bytes > wanted.bytes {
            let reason = format!("it has more than {} bytes", wanted.bytes);
            return Err(Miss::Wrong(reason).into());
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(disk(part))?;
    }
    let digest = Sha256Digest::from_bytes(hash.finalize().into());
    if digest != wanted.digest {
        let reason = format!("{bytes} of {} bytes with SHA-256 {digest}", wanted.bytes);
        return Err(Miss::Wrong(reason).into());
    }
    // Synchronising does not tell of a write that failed; flushing does.
    file.flush().await.map_err(disk(part))?;
    file.sync_all().await.map_err(disk(part))
}

//! Fetching published objects: each from the first location that has it as it should be.

pub(crate) mod download;
pub(crate) mod fragments;
mod locations;
pub(crate) mod location_error;
pub(crate) mod rate;
mod save;
pub(crate) mod space;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{Archive, FragmentNumber, Location, PackageId, Sha256Digest};

use self::download::Downloads;
use self::locations::LocationOrder;
use self::miss::{LocationError, NotFetched, Verdict};
use self::save::{SaveError, save};
use self::space::OutOfSpace;
use crate::retry;

/// How often the locations are asked for a file that a further try may bring.
const TRIES: u32 = 3;

/// Why a fragment did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    NotFetched(#[from] NotFetched),
    #[error(transparent)]
    Space(#[from] OutOfSpace),
    #[error("{} cannot be written", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Why a location's answer was not taken.
enum NotTaken<E> {
    /// Another location may do better.
    LocationError(LocationError),
    /// Whatever the location, it would not be taken.
    Final(E),
}

/// Why no location's answer was taken.
enum NoneTaken<E> {
    NotFetched(NotFetched),
    Final(E),
}

impl From<NoneTaken<Self>> for FetchError {
    fn from(error: NoneTaken<Self>) -> Self {
        match error {
            NoneTaken::NotFetched(missed) => missed.into(),
            NoneTaken::Final(error) => error,
        }
    }
}

impl From<NoneTaken<Infallible>> for NotFetched {
    fn from(error: NoneTaken<Infallible>) -> Self {
        match error {
            NoneTaken::NotFetched(missed) => missed,
            NoneTaken::Final(never) => match never {},
        }
    }
}

fn disk(path: &Path, source: io::Error) -> NotTaken<FetchError> {
    let path = path.to_owned();
    NotTaken::Final(FetchError::Disk { path, source })
}

/// Where a package is, with what to fetch it, and how its locations have done so far.
#[derive(Debug)]
pub(crate) struct PackageSource<'a> {
    downloads: &'a Downloads,
    id: PackageId,
    locations: &'a [Location],
    preference: RefCell<LocationOrder>,
}

/// A fragment as the manifest describes it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    number: FragmentNumber,
    bytes: u64,
    digest: Sha256Digest,
}

impl<'a> PackageSource<'a> {
    pub(crate) fn new(downloads: &'a Downloads, id: PackageId, locations: &'a [Location]) -> Self {
        Self {
            downloads,
            id,
            locations,
            preference: RefCell::new(LocationOrder::of(locations.len())),
        }
    }

    /// Fetches the fragments that `folder` does not have, some at a time, and tells `arrived`
    /// of each, those that were there first.
    ///
    /// A file `<n>` is a verified fragment and is never fetched again. Nothing is fetched if
    /// there is no room for the fragments, or for what is to be in `unpacked`.
    pub(crate) async fn fragments(
        &self,
        archive: &Archive,
        folder: &Path,
        unpacked: &Path,
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
        let to_fetch = missing.iter().map(|wanted| wanted.bytes).sum();
        space::check(folder, to_fetch, unpacked, archive.bytes())?;
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

    async fn fragment(&self, wanted: Wanted, folder: &Path) -> Result<(), FetchError> {
        let name = format!("{}-{}", self.id, wanted.number);
        let take = async |url: &str| self.fragment_from(url, wanted, folder).await;
        let worth = |verdict| matches!(verdict, Verdict::Later | Verdict::Wrong);
        Ok(self.insist(&name, worth, take).await?)
    }

    async fn fragment_from(
        &self,
        url: &str,
        wanted: Wanted,
        folder: &Path,
    ) -> Result<(), NotTaken<FetchError>> {
        let download = self.downloads.begin(url).await.map_err(NotTaken::LocationError)?;
        let part = folder.join(format!("{}.part", wanted.number));
        let saved = save(download, (wanted.bytes, wanted.digest), &part).await;
        saved.map_err(|error| match error {
            SaveError::LocationError(miss) => NotTaken::LocationError(miss),
            SaveError::Disk(source) => disk(&part, source),
        })?;
        let done = folder.join(wanted.number.to_string());
        let renamed = tokio::fs::rename(&part, &done).await;
        renamed.map_err(|source| disk(&done, source))
    }

    /// Fetches a small file, at most `limit` bytes, that is as `check` wants it.
    pub(crate) async fn document<T>(
        &self,
        name: &str,
        limit: usize,
        check: impl Fn(Vec<u8>) -> Result<T, LocationError>,
    ) -> Result<T, NotFetched> {
        let take = async |url: &str| {
            let bytes = self.downloads.document(url, limit).await;
            bytes.and_then(&check).map_err(NotTaken::LocationError)
        };
        let worth = |verdict| matches!(verdict, Verdict::Later);
        Ok(self.insist::<_, Infallible>(name, worth, take).await?)
    }

    /// Asks the locations again, after a while, if what was missed is `worth` it.
    async fn insist<T, E>(
        &self,
        name: &str,
        worth: impl Fn(Verdict) -> bool,
        take: impl AsyncFn(&str) -> Result<T, NotTaken<E>>,
    ) -> Result<T, NoneTaken<E>> {
        let mut failed = 0;
        loop {
            let taken = self.any_location(name, &take).await;
            match &taken {
                Err(NoneTaken::NotFetched(missed)) if worth(missed.verdict()) => {}
                _ => return taken,
            }
            failed += 1;
            if failed == TRIES {
                return taken;
            }
            tokio::time::sleep(retry::wait(failed - 1, retry::random())).await;
        }
    }

    /// Asks each location once, until one gives a file that `take` takes.
    async fn any_location<T, E>(
        &self,
        name: &str,
        take: impl AsyncFn(&str) -> Result<T, NotTaken<E>>,
    ) -> Result<T, NoneTaken<E>> {
        let (turn, order) = self.preference.borrow_mut().begin();
        let mut misses = Vec::new();
        for index in order {
            let location = &self.locations[index];
            match take(&location.url(&format!("{}/{name}", self.id))).await {
                Ok(taken) => {
                    self.preference.borrow_mut().gave(index);
                    return Ok(taken);
                }
                Err(NotTaken::Final(error)) => return Err(NoneTaken::Final(error)),
                Err(NotTaken::LocationError(miss)) => {
                    tracing::warn!(package = %self.id, file = name, %location, why = %miss, "a location did not give a file");
                    self.preference.borrow_mut().failed(index, turn);
                    misses.push((index, miss));
                }
            }
        }
        Err(NoneTaken::NotFetched(self.not_fetched(name, misses)))
    }

    /// Names the locations in the order in which they were announced.
    fn not_fetched(&self, name: &str, mut misses: Vec<(usize, LocationError)>) -> NotFetched {
        misses.sort_by_key(|(index, _)| *index);
        let misses = misses
            .into_iter()
            .map(|(index, miss)| (self.locations[index].clone(), miss));
        NotFetched::new(name.to_owned(), misses.collect())
    }
}

//! Downloads of published objects, each from the first location that sends a correct one.

pub(crate) mod download;
pub(crate) mod fragments;
pub(crate) mod location_failure;
mod locations;
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
use self::location_failure::{LocationFailure, NotFetched, Verdict};
use self::locations::LocationOrder;
use self::save::{SaveError, save};
use self::space::OutOfSpace;
use crate::retry;

/// The number of rounds through all locations for a file that a further try may bring.
const TRIES: u32 = 3;

/// Errors from fetching fragments.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    NotFetched(#[from] NotFetched),
    #[error(transparent)]
    Space(#[from] OutOfSpace),
    #[error("cannot write {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Errors from taking a file of one location.
enum TakeError<E> {
    /// Another location may send a correct file.
    LocationFailure(LocationFailure),
    /// No location could help.
    Final(E),
}

/// Errors from taking a file of any location.
enum AllLocationsError<E> {
    NotFetched(NotFetched),
    Final(E),
}

impl From<AllLocationsError<Self>> for FetchError {
    fn from(error: AllLocationsError<Self>) -> Self {
        match error {
            AllLocationsError::NotFetched(failed_file) => failed_file.into(),
            AllLocationsError::Final(error) => error,
        }
    }
}

impl From<AllLocationsError<Infallible>> for NotFetched {
    fn from(error: AllLocationsError<Infallible>) -> Self {
        match error {
            AllLocationsError::NotFetched(failed_file) => failed_file,
            AllLocationsError::Final(never) => match never {},
        }
    }
}

fn disk(path: &Path, source: io::Error) -> TakeError<FetchError> {
    let path = path.to_owned();
    TakeError::Final(FetchError::Disk { path, source })
}

/// The locations of a package, with the client for them and their order.
#[derive(Debug)]
pub(crate) struct PackageSource<'a> {
    downloads: &'a Downloads,
    id: PackageId,
    locations: &'a [Location],
    order: RefCell<LocationOrder>,
}

/// A fragment as the manifest describes it.
#[derive(Clone, Copy, Debug)]
struct FragmentSpec {
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
            order: RefCell::new(LocationOrder::of(locations.len())),
        }
    }

    /// Fetches the missing fragments into `folder`, several in parallel.
    ///
    /// Calls `on_fragment` for each fragment, first for those on disk. A file `<n>` is a verified
    /// fragment and is never fetched again. Nothing is fetched without enough space for the
    /// fragments, and for the archive's content in `unpacked`.
    pub(crate) async fn fragments(
        &self,
        archive: &Archive,
        folder: &Path,
        unpacked: &Path,
        parallel: NonZeroUsize,
        on_fragment: impl Fn(FragmentNumber, u64, bool),
    ) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        for (number, bytes, digest) in archive.fragments() {
            if folder.join(number.to_string()).exists() {
                on_fragment(number, bytes, true);
            } else {
                missing.push(FragmentSpec {
                    number,
                    bytes,
                    digest,
                });
            }
        }
        let to_fetch = missing.iter().map(|wanted| wanted.bytes).sum();
        space::check(folder, to_fetch, unpacked, archive.bytes())?;
        let on_fragment = &on_fragment;
        stream::iter(missing)
            .map(|wanted| async move {
                self.fragment(wanted, folder).await?;
                on_fragment(wanted.number, wanted.bytes, false);
                Ok(())
            })
            // Any order, so that one slow fragment does not hold up the others.
            .buffer_unordered(parallel.get())
            .try_collect::<()>()
            .await
    }

    async fn fragment(&self, wanted: FragmentSpec, folder: &Path) -> Result<(), FetchError> {
        let name = format!("{}-{}", self.id, wanted.number);
        let take = async |url: &str| self.fragment_from(url, wanted, folder).await;
        let retry_on = |verdict| matches!(verdict, Verdict::Later | Verdict::Wrong);
        Ok(self.with_retries(&name, retry_on, take).await?)
    }

    async fn fragment_from(
        &self,
        url: &str,
        wanted: FragmentSpec,
        folder: &Path,
    ) -> Result<(), TakeError<FetchError>> {
        let download = self
            .downloads
            .begin(url)
            .await
            .map_err(TakeError::LocationFailure)?;
        let part = folder.join(format!("{}.part", wanted.number));
        let saved = save(download, (wanted.bytes, wanted.digest), &part).await;
        saved.map_err(|error| match error {
            SaveError::LocationFailure(error) => TakeError::LocationFailure(error),
            SaveError::Disk(source) => disk(&part, source),
        })?;
        let done = folder.join(wanted.number.to_string());
        // Only a verified fragment gets its name, so the name alone is proof on the next run.
        let renamed = tokio::fs::rename(&part, &done).await;
        renamed.map_err(|source| disk(&done, source))
    }

    /// Fetches a file of at most `limit` bytes that passes `check`.
    pub(crate) async fn document<T>(
        &self,
        name: &str,
        limit: usize,
        check: impl Fn(Vec<u8>) -> Result<T, LocationFailure>,
    ) -> Result<T, NotFetched> {
        let take = async |url: &str| {
            let bytes = self.downloads.document(url, limit).await;
            bytes.and_then(&check).map_err(TakeError::LocationFailure)
        };
        let retry_on = |verdict| matches!(verdict, Verdict::Later);
        Ok(self
            .with_retries::<_, Infallible>(name, retry_on, take)
            .await?)
    }

    /// Asks all locations again after a pause, while `retry_on` accepts the verdict.
    async fn with_retries<T, E>(
        &self,
        name: &str,
        retry_on: impl Fn(Verdict) -> bool,
        take: impl AsyncFn(&str) -> Result<T, TakeError<E>>,
    ) -> Result<T, AllLocationsError<E>> {
        let mut failed = 0;
        loop {
            let taken = self.any_location(name, &take).await;
            match &taken {
                Err(AllLocationsError::NotFetched(failed_file))
                    if retry_on(failed_file.verdict()) => {}
                _ => return taken,
            }
            failed += 1;
            if failed == TRIES {
                return taken;
            }
            tokio::time::sleep(retry::wait(failed - 1, retry::random())).await;
        }
    }

    /// Asks each location once, until `take` accepts the file of one.
    async fn any_location<T, E>(
        &self,
        name: &str,
        take: impl AsyncFn(&str) -> Result<T, TakeError<E>>,
    ) -> Result<T, AllLocationsError<E>> {
        let (turn, order) = self.order.borrow_mut().begin();
        let mut errors = Vec::new();
        for index in order {
            let location = &self.locations[index];
            match take(&location.url(&format!("{}/{name}", self.id))).await {
                Ok(taken) => {
                    self.order.borrow_mut().succeeded(index);
                    return Ok(taken);
                }
                // A full disk, for example, is the same for every location.
                Err(TakeError::Final(error)) => return Err(AllLocationsError::Final(error)),
                Err(TakeError::LocationFailure(error)) => {
                    tracing::warn!(package = %self.id, file = name, %location, why = error.to_string(), "cannot fetch a file from a location");
                    self.order.borrow_mut().failed(index, turn);
                    errors.push((index, error));
                }
            }
        }
        Err(AllLocationsError::NotFetched(
            self.not_fetched(name, errors),
        ))
    }

    /// Lists the locations in the order of the task.
    fn not_fetched(&self, name: &str, mut errors: Vec<(usize, LocationFailure)>) -> NotFetched {
        errors.sort_by_key(|(index, _)| *index);
        let errors = errors
            .into_iter()
            .map(|(index, error)| (self.locations[index].clone(), error));
        NotFetched::new(name.to_owned(), errors.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_error_names_the_path() {
        let error = FetchError::Disk {
            path: "/var/lib/packcast/packages/1795000000/fragments/2.part".into(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        let text = error.to_string();
        insta::assert_snapshot!(text, @r"
        cannot write /var/lib/packcast/packages/1795000000/fragments/2.part
        ");
    }
}

//! Fragments that are written while the digests of the archive are computed.
//!
//! Staging saves a second pass over the archive, and is never necessary: if a file cannot be written, the
//! publisher drops all staged files, and uploads the fragments after the reservation. The upload
//! then reports the cause.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

use packcast_protocol::{Archive, FragmentNumber, FragmentSize, Sha256Digest};
use packcast_store::objects::StagingArea;

/// The number of threads that wait for the disk. Most disks serve several at a time.
pub(super) const SYNC_THREADS: usize = 4;

/// The complete fragments of an archive, durable and without the paths of objects.
#[derive(Clone, Debug)]
pub(super) struct StagedFragments {
    area: StagingArea,
    sha256: Sha256Digest,
    fragment_size: FragmentSize,
}

impl StagedFragments {
    pub(super) fn of(archive: &Archive, area: StagingArea) -> Self {
        Self {
            area,
            sha256: archive.sha256(),
            fragment_size: archive.fragment_size(),
        }
    }

    /// Returns the place of the fragments if they are those of the archive.
    pub(super) fn area_of(&self, archive: &Archive) -> Option<&StagingArea> {
        let is_same =
            self.sha256 == archive.sha256() && self.fragment_size == archive.fragment_size();
        is_same.then_some(&self.area)
    }
}

/// Writes the fragments of an archive, one after the other.
pub(super) struct Stager<'a> {
    area: &'a StagingArea,
    has_failed: &'a AtomicBool,
    complete: SyncSender<File>,
}

impl<'a> Stager<'a> {
    /// Returns a stager that sends complete files to `complete`.
    pub(super) const fn new(
        area: &'a StagingArea,
        has_failed: &'a AtomicBool,
        complete: SyncSender<File>,
    ) -> Self {
        Self {
            area,
            has_failed,
            complete,
        }
    }

    /// Begins a fragment. Returns `None` if staging has failed.
    pub(super) fn begin(&self, number: FragmentNumber) -> Option<File> {
        if self.has_failed.load(Ordering::Relaxed) {
            return None;
        }
        self.done(self.area.create(number))
    }

    /// Writes a part of a fragment.
    pub(super) fn write(&self, file: Option<File>, chunk: &[u8]) -> Option<File> {
        let mut file = file?;
        self.done(file.write_all(chunk)).map(|()| file)
    }

    /// Ends a fragment.
    pub(super) fn end(&self, file: Option<File>) {
        if let Some(file) = file {
            // The threads that synchronise end after this value.
            let _ = self.complete.send(file);
        }
    }

    /// Frees the space of all files after the first error.
    fn done<T>(&self, result: io::Result<T>) -> Option<T> {
        if result.is_err() && !self.has_failed.swap(true, Ordering::Relaxed) {
            self.area.discard();
        }
        result.ok()
    }
}

/// Makes complete files durable, until no more arrive. Several threads share the files.
pub(super) fn synchronise(files: &Mutex<Receiver<File>>, has_failed: &AtomicBool) {
    loop {
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(file) = next else {
            return;
        };
        if file.sync_all().is_err() {
            has_failed.store(true, Ordering::Relaxed);
        }
    }
}

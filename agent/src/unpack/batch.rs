//! Files that are written under temporary names, and get their names together.
//!
//! One synchronisation of a volume costs about as much as that of a single file. So the agent
//! synchronises many files at once, and then renames them.

use std::collections::HashMap;
use std::io;

use cap_std::fs::File;
use packcast_archive::EntryPath;

use super::Durability;
use super::folders::{Folders, split};
use crate::platform::{self, FileId, Rights, Volumes};

/// The limit of files that wait for their names.
const MAX_PARTS: usize = 16_384;

/// The limit of bytes in files that wait. The files that they replace need space meanwhile.
const MAX_BYTES: u64 = 128 << 20;

/// The number of files that the agent keeps open, and synchronises one by one.
///
/// To synchronise a whole volume also writes the data of other programs, which pays off only for
/// more files.
pub(super) const MAX_OPEN: usize = 8;

/// The number of files that are synchronised at a time.
const AT_ONCE: usize = 8;

/// The number and the size of the files that wait for their names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchSize {
    parts: usize,
    bytes: u64,
}

impl BatchSize {
    /// Adds a file. Returns `true` if all files must get their names before the next file.
    pub(crate) fn add(&mut self, bytes: u64) -> bool {
        self.parts += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.parts >= MAX_PARTS || self.bytes >= MAX_BYTES
    }
}

/// A file or a link that was written.
#[derive(Debug)]
pub(super) struct NewFile {
    /// The open file and its length in bytes; `None` for a link.
    open: Option<(File, u64)>,
    /// The identity of the file, and the rights that it gets with its name; `None` for a link.
    ///
    /// Until then, only the agent's user can read the file, so that no other program uses what an
    /// interrupted run has left.
    pub(super) rights: Option<(FileId, Rights)>,
}

impl NewFile {
    pub(super) const LINK: Self = Self {
        open: None,
        rights: None,
    };

    /// Describes a file that was written, with its length in bytes.
    pub(super) fn new(file: File, bytes: u64, rights: Rights) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        Ok(Self {
            open: Some((file, bytes)),
            rights: Some((id, rights)),
        })
    }
}

/// A file or a link under a temporary name.
#[derive(Debug)]
struct Part {
    path: EntryPath,
    /// The temporary name, in the folder of the path.
    name: String,
    /// The open file; `None` for a link, and for a file that its volume synchronises.
    kept: Option<File>,
    rights: Option<(FileId, Rights)>,
}

/// The files and links that wait for their names, in the order of the archive.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
    /// The number of the latest part for each path.
    by_path: HashMap<EntryPath, usize>,
    size: BatchSize,
    volumes: Volumes,
    /// Files that must be synchronised one by one, because their volume cannot be.
    single: usize,
}

impl Batch {
    /// Returns the suffix of the next temporary name.
    pub(super) const fn next(&self) -> usize {
        self.parts.len()
    }

    /// Returns the temporary name of a file that waits for its name.
    pub(super) fn part(&self, path: &EntryPath) -> Option<&str> {
        let at = *self.by_path.get(path)?;
        Some(&self.parts[at].name)
    }

    /// Adds a file or a link.
    ///
    /// Returns `true` if the batch is full.
    pub(super) fn add(&mut self, path: EntryPath, name: String, file: NewFile) -> io::Result<bool> {
        let NewFile { open, rights } = file;
        let bytes = open.as_ref().map_or(0, |(_, bytes)| *bytes);
        let mut kept = None;
        if let Some((file, _)) = open {
            let has_volume = self.volumes.add(&file)?;
            self.single += usize::from(!has_volume);
            if !has_volume || self.parts.len() < MAX_OPEN {
                kept = Some(file);
            }
        }
        self.by_path.insert(path.clone(), self.parts.len());
        self.parts.push(Part {
            path,
            name,
            kept,
            rights,
        });
        Ok(self.size.add(bytes) || self.single >= MAX_OPEN)
    }

    /// Writes all files to disk, under their temporary names.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.parts.len() > MAX_OPEN {
            self.volumes.sync()?;
            if self.single == 0 {
                return Ok(());
            }
        }
        let files: Vec<&File> = self
            .parts
            .iter()
            .filter_map(|it| it.kept.as_ref())
            .collect();
        each_at_once(&files, |file| file.sync_all())
    }

    /// Gives each file its rights and its name, and calls `named` with the path.
    ///
    /// After an error, the remaining files are removed.
    pub(super) fn rename(
        self,
        folders: &mut Folders,
        durability: Durability,
        mut named: impl FnMut(&EntryPath),
    ) -> Result<(), (EntryPath, io::Error)> {
        let mut renamed = Vec::new();
        let mut parts = self.parts.into_iter();
        let mut result = Ok(());
        for part in parts.by_ref() {
            if let Err(error) = rename(folders, &part) {
                remove(folders, &part);
                result = Err((part.path, error));
                break;
            }
            named(&part.path);
            if durability == Durability::Lasting {
                renamed.extend(part.kept.map(|file| (part.path, file.into_std())));
            }
        }
        for left in parts {
            remove(folders, &left);
        }
        for (path, file) in renamed {
            if let Err(error) = platform::sync_renamed(&file) {
                return result.and(Err((path, error)));
            }
        }
        result
    }

    /// Removes the files.
    pub(super) fn discard(self, folders: &mut Folders) {
        for part in self.parts {
            remove(folders, &part);
        }
    }
}

fn remove(folders: &mut Folders, part: &Part) {
    let (folder, _) = split(part.path.as_str());
    folders.remove_part(folder, &part.name);
}

/// Gives a file its rights and its name.
fn rename(folders: &mut Folders, part: &Part) -> io::Result<()> {
    let (folder, name) = split(part.path.as_str());
    let dir = folders.open(folder)?;
    if let Some((id, rights)) = part.rights {
        platform::set_rights(dir, &part.name, part.kept.as_ref(), id, rights)?;
    }
    platform::make_replaceable(dir, name)?;
    dir.rename(&part.name, dir, name)?;
    if part.rights.is_none() {
        // A rename between two hard links to one file does nothing, so both names exist.
        let _ = dir.remove_file(&part.name);
    }
    Ok(())
}

/// Calls `act` for each item, for some items at a time, and returns the first error.
fn each_at_once<T: Sync>(items: &[T], act: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
    let act = &act;
    let share = items.len().div_ceil(AT_ONCE).max(1);
    if items.len() < 2 {
        return items.iter().try_for_each(act);
    }
    std::thread::scope(|scope| {
        let shares: Vec<_> = items
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().try_for_each(act)))
            .collect();
        shares.into_iter().try_for_each(|share| match share.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_by_number_or_by_size() {
        let mut size = BatchSize::default();
        assert!((1..MAX_PARTS).all(|_| !size.add(1)));
        assert!(size.add(1));
        let mut size = BatchSize::default();
        assert!(!size.add(MAX_BYTES - 1));
        assert!(size.add(1));
    }

    #[test]
    fn each_item_is_done_and_an_error_is_returned() {
        let items: Vec<u32> = (0..100).collect();
        let sum = std::sync::atomic::AtomicU32::new(0);
        let add = |item: &u32| {
            sum.fetch_add(*item, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        };
        each_at_once(&items, add).unwrap();
        assert_eq!(sum.into_inner(), 4950);
        let fail = |item: &u32| match item {
            77 => Err(io::Error::other("77")),
            _ => Ok(()),
        };
        assert_eq!(each_at_once(&items, fail).unwrap_err().to_string(), "77");
    }
}

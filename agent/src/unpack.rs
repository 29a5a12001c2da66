//! Writes the files of an archive to a folder.

mod batch;
mod folders;
mod leftovers;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::BuildHasher as _;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use cap_std::fs::Metadata;
use packcast_archive::{
    ArchiveError, Content, Entry, EntryKind, EntryMode, EntryPath, Limits, NameCheck, Summary,
    System, shown, walk,
};
use packcast_protocol::ArchiveFormat;

pub(crate) use self::batch::BatchSize;
use self::batch::{Batch, MAX_OPEN, NewFile};
use self::folders::{Folders, split};
pub(crate) use self::leftovers::StoreFolders;
use crate::platform::{self, ComponentError, FileId, Rights, Volumes, is_full};

/// The guarantee for files after a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// No guarantee: the agent unpacks the archive again after a power failure.
    Temporary,
    /// Each file is on disk before it gets its name. All files are on disk when [`unpack`] returns.
    Lasting,
}

/// Errors from unpacking an archive.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("not enough space for {}: free some on the device", path.display())]
    NoSpace { path: PathBuf },
    #[error("cannot create or open folder {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}: {obstacle} is in its place, remove or rename it", path.display())]
    InTheWay {
        path: PathBuf,
        obstacle: &'static str,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The files and links that were completely written to the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub count: u64,
    /// The first and the last path, shortened.
    pub ends: Option<(String, String)>,
}

/// An archive that was not unpacked to its end.
#[derive(Debug)]
pub struct Unfinished {
    pub cause: UnpackError,
    /// The files and links that were written before the error.
    pub written: Written,
}

impl Written {
    fn note(&mut self, path: &EntryPath) {
        let path = shown(path.as_str());
        self.count += 1;
        let first = self.ends.take().map(|(first, _)| first);
        self.ends = Some((first.unwrap_or_else(|| path.clone()), path));
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.ends, self.count) {
            (None, _) => f.write_str("nothing was stored"),
            (Some((only, _)), 1) => write!(f, "1 file was stored: {only:?}"),
            (Some((first, last)), count) => {
                write!(f, "{count} files were stored, from {first:?} to {last:?}")
            }
        }
    }
}

/// Unpacks an archive into `folder`, over its existing content.
///
/// The function creates the folder if it is missing. It replaces each file in one step, so that a
/// reader sees the old or the new file, with [`Durability::Lasting`] even after a power failure. It
/// writes nothing outside `folder`: it replaces links, and never follows a link out of the folder.
/// The function follows no link that another user owns, neither on the way to `folder` nor inside,
/// even if the link takes the place of a new folder meanwhile.
///
/// Files that are not in the archive stay. Files and new folders get the modes of the archive; a
/// new folder in a folder of another user has no right of its group to write. A file that replaces
/// another keeps its owner, and its restrictions for group and others. Times are not preserved.
///
/// # Errors
/// After an error, complete files stay in the folder. No temporary file is left.
pub fn unpack<R: Read + Seek>(
    format: ArchiveFormat,
    reader: R,
    limits: &Limits,
    folder: &Path,
    durability: Durability,
) -> Result<Summary, Unfinished> {
    let mut unpacker = Unpacker::open(folder, durability).map_err(|cause| Unfinished {
        cause,
        written: Written::default(),
    })?;
    let walked = walk(format, reader, limits, |entry, content| {
        unpacker.put(entry, content)
    });
    // Complete files get their names, and must survive a power failure, even after an error.
    let finished = unpacker.finish();
    walked
        .and_then(|summary| finished.map(|()| summary))
        .map_err(|cause| Unfinished {
            cause,
            written: unpacker.written,
        })
}

/// Reads an archive to its end under the same rules as [`unpack`], and writes nothing.
///
/// Passes each entry to `see`.
pub fn examine<R: Read + Seek>(
    format: ArchiveFormat,
    reader: R,
    limits: &Limits,
    mut see: impl FnMut(&Entry),
) -> Result<Summary, ArchiveError> {
    let mut names = System::here().map(NameCheck::new);
    walk(format, reader, limits, |entry, _| {
        check_names(&mut names, entry)?;
        see(entry);
        Ok(())
    })
}

fn check_names(names: &mut Option<NameCheck>, entry: &Entry) -> Result<(), ArchiveError> {
    let Some(names) = names else {
        return Ok(());
    };
    let system = names.system();
    names.add(entry).map_err(|source| ArchiveError::Name {
        entry: shown(entry.path.as_str()),
        system,
        source,
    })
}

struct Unpacker<'a> {
    folders: Folders,
    folder: &'a Path,
    names: Option<NameCheck>,
    durability: Durability,
    written: Written,
    /// The files that wait for their names.
    batch: Batch,
    /// The folders that the agent has created, and those in which it has removed the incomplete
    /// files of an interrupted run.
    clean: HashSet<String>,
    /// The folders that the agent has created, with their identity if no other user can have
    /// replaced them since.
    created: HashMap<String, Option<FileId>>,
    /// The modes of new folders that are set at the end, because the agent writes to the folders.
    folder_modes: BTreeMap<String, (FileId, EntryMode)>,
    /// The identity of each file, by the hash of its path: a million paths would need more memory.
    files: HashMap<u64, FileId>,
    hashes: RandomState,
    /// The changed folders inside `folder`, to be synchronised to disk.
    changed: BTreeSet<String>,
    /// The changed folders above `folder`, to be synchronised to disk.
    above: Vec<&'a Path>,
}

/// Errors from writing one entry.
enum WriteEntryError {
    Archive(ArchiveError),
    InTheWay(&'static str),
    Io(io::Error),
    /// An error from earlier entries.
    Unpack(UnpackError),
}

impl From<ArchiveError> for WriteEntryError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<io::Error> for WriteEntryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<'a> Unpacker<'a> {
    fn open(folder: &'a Path, durability: Durability) -> Result<Self, UnpackError> {
        let missing = folder.ancestors().take_while(|folder| !folder.exists());
        let above = missing.filter_map(Path::parent).collect();
        // All later paths are resolved below this handle, so no link in the folder can lead out of
        // the folder.
        let dir = platform::open_folder(folder).map_err(|ComponentError { path, error }| {
            if is_full(&error) {
                UnpackError::NoSpace { path }
            } else {
                let source = error;
                UnpackError::Folder { path, source }
            }
        })?;
        Ok(Self {
            folders: Folders::new(dir),
            folder,
            names: System::here().map(NameCheck::new),
            durability,
            written: Written::default(),
            batch: Batch::default(),
            clean: HashSet::new(),
            created: HashMap::new(),
            folder_modes: BTreeMap::new(),
            files: HashMap::new(),
            hashes: RandomState::new(),
            changed: BTreeSet::new(),
            above,
        })
    }

    fn put(&mut self, entry: &Entry, content: &mut Content<'_>) -> Result<(), UnpackError> {
        let full = match self.try_put(entry, content) {
            Ok(full) => full,
            Err(WriteEntryError::Archive(error)) => return Err(UnpackError::Archive(error)),
            Err(WriteEntryError::Unpack(error)) => return Err(error),
            Err(WriteEntryError::InTheWay(obstacle)) => {
                return Err(UnpackError::InTheWay {
                    path: self.folder.join(entry.path.as_str()),
                    obstacle,
                });
            }
            Err(WriteEntryError::Io(error)) => return Err(self.cannot_write(&entry.path, error)),
        };
        if full || self.durability == Durability::Temporary {
            self.flush()?;
        }
        Ok(())
    }

    fn cannot_write(&self, path: &EntryPath, error: io::Error) -> UnpackError {
        cannot_write(self.folder.join(path.as_str()), error)
    }

    /// Writes a file, a link or a folder. Returns `true` if the batch is full.
    fn try_put(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
    ) -> Result<bool, WriteEntryError> {
        check_names(&mut self.names, entry)?;
        for folder in entry.path.ancestors() {
            self.make_folder(folder, None)?;
        }
        let path = entry.path.as_str();
        if let EntryKind::Directory { mode } = entry.kind {
            self.make_folder(path, Some(mode))?;
            return Ok(false);
        }
        let (folder, name) = split(path);
        let replaced = self.folders.open(folder)?.symlink_metadata(name).ok();
        if replaced.as_ref().is_some_and(Metadata::is_dir) {
            return Err(WriteEntryError::InTheWay("a folder"));
        }
        self.write(entry, content, replaced.as_ref())
    }

    fn make_folder(&mut self, path: &str, mode: Option<EntryMode>) -> Result<(), WriteEntryError> {
        let (above, name) = split(path);
        let dir = self.folders.open(above)?;
        let first = mode.unwrap_or(EntryMode::FOLDER);
        match platform::create_folder(dir, name, first) {
            Ok(id) => {
                self.created.insert(path.to_owned(), id);
                self.clean.insert(path.to_owned());
                self.changed.insert(above.to_owned());
                if let Some((id, mode)) = id.zip(mode)
                    && platform::needs_folder_mode(mode)
                {
                    self.folder_modes.insert(path.to_owned(), (id, mode));
                }
                return Ok(());
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            Err(_) => {}
        }
        let is_foreign = platform::is_link_of_another_user(dir, name);
        let found = dir.symlink_metadata(name)?;
        // A link to another folder inside `folder` may take the place of a folder.
        match self.folders.open(path) {
            _ if is_foreign => Err(WriteEntryError::InTheWay("a link of another user")),
            Err(_) if found.is_symlink() => Err(WriteEntryError::InTheWay(
                "a link to something else than a folder inside",
            )),
            Err(error) if found.is_dir() => Err(error.into()),
            Err(_) => Err(WriteEntryError::InTheWay("a file")),
            Ok(_) => {
                // The entry of a folder may come after the entries in the folder.
                if let Some((id, mode)) = self.created.get(path).copied().flatten().zip(mode) {
                    self.folder_modes.insert(path.to_owned(), (id, mode));
                }
                Ok(())
            }
        }
    }

    /// Writes a file or a link under a temporary name. Returns `true` if the batch is full.
    fn write(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        replaced: Option<&Metadata>,
    ) -> Result<bool, WriteEntryError> {
        let (folder, _) = split(entry.path.as_str());
        self.remove_leftovers(folder)?;
        let replaced = replaced.filter(|it| it.is_file());
        if let EntryKind::HardLink { target } = &entry.kind
            && replaced.is_some()
            && self.batch.part(target).is_some()
        {
            // The rights of the target decide if the link is a copy.
            self.flush().map_err(WriteEntryError::Unpack)?;
        }
        let part = leftovers::part_name(self.batch.next());
        let file = self
            .write_part(&part, entry, content, replaced)
            .inspect_err(|_| self.folders.remove_part(folder, &part))?;
        if let Some((id, _)) = file.rights {
            self.note_file(&entry.path, id);
        }
        if !self.changed.contains(folder) {
            self.changed.insert(folder.to_owned());
        }
        Ok(self.batch.add(entry.path.clone(), part, file)?)
    }

    fn note_file(&mut self, path: &EntryPath, id: FileId) {
        self.files.insert(self.hashes.hash_one(path), id);
    }

    /// Writes a file or a link.
    fn write_part(
        &mut self,
        part: &str,
        entry: &Entry,
        content: &mut Content<'_>,
        replaced: Option<&Metadata>,
    ) -> Result<NewFile, WriteEntryError> {
        let (folder, _) = split(entry.path.as_str());
        match &entry.kind {
            EntryKind::Symlink { target } => {
                platform::symlink(self.folders.open(folder)?, target.as_str(), part)?;
                Ok(NewFile::LINK)
            }
            EntryKind::File { mode, .. } => {
                let mut file = platform::create_private(self.folders.open(folder)?, part)?;
                let bytes = content.copy_to::<WriteEntryError>(&mut file)?;
                let rights = Rights::new(*mode, replaced);
                Ok(NewFile::new(file, bytes, rights)?)
            }
            EntryKind::HardLink { target } => self.link(part, target, entry, replaced),
            EntryKind::Directory { .. } => Ok(NewFile::LINK),
        }
    }

    /// Gives a file that was written before another name.
    ///
    /// The names share one owner and one mode. If the replaced file had other restrictions, the new
    /// one is a copy.
    fn link(
        &mut self,
        part: &str,
        target: &EntryPath,
        entry: &Entry,
        replaced: Option<&Metadata>,
    ) -> Result<NewFile, WriteEntryError> {
        let id = self.files.get(&self.hashes.hash_one(target)).copied();
        let id = id.ok_or_else(|| io::Error::other("the target of the hard link is unknown"))?;
        let (target_folder, target_name) = split(target.as_str());
        let from = self.folders.open_another(target_folder)?;
        let written = self.batch.part(target).unwrap_or(target_name);
        let (folder, _) = split(entry.path.as_str());
        let dir = self.folders.open(folder)?;
        let found = from.symlink_metadata(written)?;
        let copied = replaced.and_then(|replaced| platform::restrictions(&found, replaced));
        let Some(mode) = copied else {
            from.hard_link(written, dir, part)?;
            // The owner of a folder can replace the files in it.
            id.expect(&dir.symlink_metadata(part)?)?;
            self.note_file(&entry.path, id);
            return Ok(NewFile::LINK);
        };
        let mut from = platform::open_same(&from, written, id)?;
        let mut file = platform::create_private(dir, part)?;
        let bytes = io::copy(&mut from, &mut file)?;
        Ok(NewFile::new(file, bytes, Rights::new(mode, replaced))?)
    }

    /// Removes the incomplete files of an interrupted run from a folder.
    fn remove_leftovers(&mut self, folder: &str) -> io::Result<()> {
        if self.clean.contains(folder) {
            return Ok(());
        }
        leftovers::remove_parts(self.folders.open(folder)?)?;
        self.clean.insert(folder.to_owned());
        Ok(())
    }

    /// Gives the files of the batch their names.
    ///
    /// Each file is on disk before it gets its name, so that no crash leaves the name with a part
    /// of the content.
    fn flush(&mut self) -> Result<(), UnpackError> {
        let batch = std::mem::take(&mut self.batch);
        if self.durability == Durability::Lasting
            && let Err(error) = batch.sync()
        {
            batch.discard(&mut self.folders);
            return Err(cannot_write(self.folder.to_owned(), error));
        }
        let written = &mut self.written;
        batch
            .rename(&mut self.folders, self.durability, |path| {
                written.note(path);
            })
            .map_err(|(path, error)| self.cannot_write(&path, error))
    }

    /// Completes the files that are written, and the new folders.
    fn finish(&mut self) -> Result<(), UnpackError> {
        let flushed = self.flush();
        let modes = self.set_folder_modes();
        flushed.and(modes).and(self.sync())
    }

    fn set_folder_modes(&mut self) -> Result<(), UnpackError> {
        // In reverse order: a folder without the right to enter hides the folders in it.
        for (path, (id, mode)) in std::mem::take(&mut self.folder_modes).into_iter().rev() {
            let opened = self.folders.open(&path);
            opened
                .and_then(|folder| platform::set_folder_mode(folder, id, mode))
                .map_err(|error| cannot_write(self.folder.join(&path), error))?;
            self.changed.insert(path);
        }
        Ok(())
    }

    /// Synchronises the changed folders, so that new names survive a power failure.
    fn sync(&mut self) -> Result<(), UnpackError> {
        if self.durability == Durability::Temporary {
            return Ok(());
        }
        let mut volumes = Volumes::default();
        let is_few = self.changed.len() <= MAX_OPEN;
        for path in &self.changed {
            let opened = self.folders.open(path);
            let synced = opened.and_then(|folder| {
                if is_few {
                    platform::sync_open_folder(folder)
                } else {
                    volumes.add_folder(folder)
                }
            });
            synced.map_err(|error| cannot_write(self.folder.join(path), error))?;
        }
        for path in &self.above {
            platform::sync_folder(path).map_err(|error| cannot_write((*path).to_owned(), error))?;
        }
        let synced = volumes.sync();
        synced.map_err(|error| cannot_write(self.folder.to_owned(), error))
    }
}

fn cannot_write(path: PathBuf, error: io::Error) -> UnpackError {
    if is_full(&error) {
        UnpackError::NoSpace { path }
    } else {
        let source = error;
        UnpackError::Write { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_path() {
        let path = || PathBuf::from("/opt/app/bin");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            UnpackError::NoSpace { path: path() },
            UnpackError::Folder {
                path: path(),
                source: denied(),
            },
            UnpackError::InTheWay {
                path: path(),
                obstacle: "a folder",
            },
            UnpackError::Write {
                path: path(),
                source: denied(),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        not enough space for /opt/app/bin: free some on the device
        cannot create or open folder /opt/app/bin
        cannot write /opt/app/bin: a folder is in its place, remove or rename it
        cannot write /opt/app/bin
        ");
    }

    #[test]
    fn the_written_files_are_summarised() {
        let mut written = Written::default();
        let mut lines = vec![written.to_string()];
        for ends in [("a", "a"), ("a", "c/d")] {
            written.count += 1;
            written.ends = Some((ends.0.to_owned(), ends.1.to_owned()));
            lines.push(written.to_string());
        }
        let text = lines.join("\n");
        insta::assert_snapshot!(text, @r#"
        nothing was stored
        1 file was stored: "a"
        2 files were stored, from "a" to "c/d"
        "#);
    }
}

//! Writes the files of an archive to a folder.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File, OpenOptions};
use packcast_archive::{
    ArchiveError, Content, Entry, EntryKind, EntryPath, Limits, NameCheck, PART, Summary, System,
    shown, walk,
};
use packcast_protocol::ArchiveFormat;

use crate::platform::{self, ComponentError, is_full};

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
/// Neither on the way to `folder` nor inside does it follow a link that another user owns.
/// Files that are not in the archive stay. Modes are 755 for executables and 644 for other files.
/// Times are not preserved.
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
    // Complete files must survive a power failure, even after an error.
    let synced = unpacker.sync();
    walked
        .and_then(|summary| synced.map(|()| summary))
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
    dir: Dir,
    folder: &'a Path,
    names: Option<NameCheck>,
    durability: Durability,
    written: Written,
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
            dir,
            folder,
            names: System::here().map(NameCheck::new),
            durability,
            written: Written::default(),
            changed: BTreeSet::new(),
            above,
        })
    }

    fn put(&mut self, entry: &Entry, content: &mut Content<'_>) -> Result<(), UnpackError> {
        let path = || self.folder.join(entry.path.as_str());
        match self.try_put(entry, content) {
            Ok(()) => Ok(()),
            Err(WriteEntryError::Archive(error)) => Err(UnpackError::Archive(error)),
            Err(WriteEntryError::InTheWay(obstacle)) => Err(UnpackError::InTheWay {
                path: path(),
                obstacle,
            }),
            Err(WriteEntryError::Io(source)) if is_full(&source) => {
                Err(UnpackError::NoSpace { path: path() })
            }
            Err(WriteEntryError::Io(source)) => Err(UnpackError::Write {
                path: path(),
                source,
            }),
        }
    }

    fn try_put(&mut self, entry: &Entry, content: &mut Content<'_>) -> Result<(), WriteEntryError> {
        check_names(&mut self.names, entry)?;
        for folder in entry.path.ancestors() {
            self.make_folder(folder)?;
        }
        let path = entry.path.as_str();
        if entry.kind.is_folder() {
            return self.make_folder(path);
        }
        if self.dir.symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
            return Err(WriteEntryError::InTheWay("a folder"));
        }
        self.replace(entry, content)?;
        self.written.note(&entry.path);
        if !self.changed.contains(parent(&entry.path)) {
            self.changed.insert(parent(&entry.path).to_owned());
        }
        Ok(())
    }

    fn make_folder(&mut self, path: &str) -> Result<(), WriteEntryError> {
        let Err(error) = self.dir.create_dir(path) else {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            self.changed.insert(above.to_owned());
            return Ok(());
        };
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error.into());
        }
        if platform::is_link_of_another_user(&self.dir, path) {
            return Err(WriteEntryError::InTheWay("a link of another user"));
        }
        // A link to another folder inside `folder` may take the place of a folder.
        if self.dir.metadata(path).is_ok_and(|it| it.is_dir()) {
            return Ok(());
        }
        let link = self.dir.symlink_metadata(path)?.is_symlink();
        Err(WriteEntryError::InTheWay(if link {
            "a link to something else than a folder inside"
        } else {
            "a file"
        }))
    }

    /// Writes a file or a link under a temporary name, then renames it.
    fn replace(&self, entry: &Entry, content: &mut Content<'_>) -> Result<(), WriteEntryError> {
        let path = entry.path.as_str();
        let part = match parent(&entry.path) {
            "" => PART.to_owned(),
            parent => format!("{parent}/{PART}"),
        };
        self.remove_leftover(&part)?;
        self.write(&part, entry, content)
            .and_then(|file| {
                platform::make_replaceable(&self.dir, path)?;
                self.dir.rename(&part, &self.dir, path)?;
                match file.filter(|_| self.durability == Durability::Lasting) {
                    Some(file) => Ok(platform::sync_renamed(&file.into_std())?),
                    None => Ok(()),
                }
            })
            .inspect_err(|_| {
                // Report the first error, not an error from the removal.
                let _ = self.dir.remove_file(&part);
            })
    }

    /// Writes a file or a link. Returns the open file, or `None` for a link.
    fn write(
        &self,
        part: &str,
        entry: &Entry,
        content: &mut Content<'_>,
    ) -> Result<Option<File>, WriteEntryError> {
        match &entry.kind {
            EntryKind::Symlink { target } => {
                platform::symlink(&self.dir, target.as_str(), part)?;
                Ok(None)
            }
            EntryKind::File { executable, .. } => {
                // `create_new` does not follow a link that somebody else puts there.
                let mut options = OpenOptions::new();
                options.write(true).create_new(true);
                let mut file = self.dir.open_with(part, &options)?;
                content.copy_to::<WriteEntryError>(&mut file)?;
                platform::set_mode(&file, *executable)?;
                if self.durability == Durability::Lasting {
                    file.sync_all()?;
                }
                Ok(Some(file))
            }
            EntryKind::Directory => Ok(None),
        }
    }

    /// Removes the temporary file of an interrupted run.
    fn remove_leftover(&self, part: &str) -> io::Result<()> {
        match self.dir.remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Synchronises the changed folders, so that new names survive a power failure.
    fn sync(&self) -> Result<(), UnpackError> {
        if self.durability == Durability::Temporary {
            return Ok(());
        }
        let inside = self.changed.iter().map(|folder| self.folder.join(folder));
        let above = self.above.iter().map(|folder| (*folder).to_owned());
        for path in inside.chain(above) {
            platform::sync_folder(&path).map_err(|source| UnpackError::Write { path, source })?;
        }
        Ok(())
    }
}

fn parent(path: &EntryPath) -> &str {
    path.parent().unwrap_or_default()
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

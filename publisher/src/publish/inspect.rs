//! Inspects an archive: its digests, and its entries as agents will read them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use packcast_archive::{
    ArchiveError, Content, Entry, EntryKind, Limits, NameCheck, NameError, System,
};
use packcast_protocol::archive::ArchiveShapeError as DescribeError;
use packcast_protocol::fragment::FragmentSizeError;
use packcast_protocol::info::InfoArchive;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{Archive, ArchiveFormat, FragmentSize, Md5Digest};
use packcast_rollout::record::ArchiveRecord;

use super::links::Links;
use super::pack::PackError;
use super::pass::{Digests, Entries, Pass, PassError};
use super::source::Source;
use super::staged::StagedFragments;
use super::thread::ThreadError;
use crate::progress::{Progress, Work};
use crate::warning::Warning;

/// Errors from inspecting an archive.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot publish {}", path.display())]
    Archive { path: PathBuf, source: ArchiveError },
    #[error("cannot publish {}: the file changed while it was read", path.display())]
    Changed { path: PathBuf },
    #[error("cannot publish {}: the archive has no files", path.display())]
    NoFiles { path: PathBuf },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error(transparent)]
    FragmentSize(#[from] FragmentSizeError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
}

/// An archive with all its digests. The MD5 is for OCS agents only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedArchive {
    pub archive: Archive,
    pub md5: Md5Digest,
}

impl PlannedArchive {
    /// Returns the description of the archive for the record of the package.
    pub fn record(&self) -> ArchiveRecord {
        ArchiveRecord {
            format: self.archive.format(),
            bytes: self.archive.bytes(),
            sha256: self.archive.sha256(),
            fragment_size: self.archive.fragment_size(),
        }
    }

    /// Returns the description of the archive for `info`.
    pub fn for_info(&self) -> InfoArchive {
        InfoArchive {
            fragments: self.archive.fragment_count(),
            md5: self.md5,
        }
    }
}

/// The result of an inspection.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub archive: PlannedArchive,
    pub contents: Contents,
}

/// Facts about the entries of an archive, for the checks before publishing.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The names of the files at the top of the archive, and of the links to files of the archive.
    pub top_files: Vec<String>,
    /// The names of the other links at the top of the archive, and their targets.
    pub top_links: Vec<(String, String)>,
    /// The entries at the top of the archive. `None` for an entry that is not a file.
    pub top: BTreeMap<String, Option<TopFile>>,
    pub files: u64,
    /// The length of the largest file.
    pub largest_file: u64,
    /// An entry at the top of the archive has a name that starts with a dot.
    pub top_dotfiles: bool,
    /// The first path whose encoding the archive does not name.
    pub guessed_path: Option<String>,
    /// For each system that cannot store all entries, the first such entry.
    pub unfit: Vec<Unfit>,
}

/// A file at the top of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopFile {
    /// The first bytes of the file, at most 256; none after the first 10,000 entries.
    pub head: Vec<u8>,
    pub is_executable: bool,
}

/// An entry that a system cannot store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub system: System,
    pub entry: String,
    pub reason: NameError,
}

impl Contents {
    /// Returns true if a system can store an entry; notes the entry otherwise.
    fn fits(&mut self, check: &mut NameCheck, entry: &Entry) -> bool {
        let Err(reason) = check.add(entry) else {
            return true;
        };
        self.unfit.push(Unfit {
            system: check.system(),
            entry: entry.path.as_str().to_owned(),
            reason,
        });
        false
    }

    /// Notes an entry at the top of the archive.
    fn note_top(&mut self, entry: &Entry, content: &mut Content<'_>) -> Result<(), ArchiveError> {
        let name = entry.path.as_str();
        if name.contains('/') {
            return Ok(());
        }
        let file = match entry.kind {
            EntryKind::File { mode, .. } => Some(TopFile {
                head: if self.top.len() < MAX_HEADS {
                    head(content)?
                } else {
                    Vec::new()
                },
                is_executable: mode.bits() & 0o100 != 0,
            }),
            _ => None,
        };
        self.top.insert(name.to_owned(), file);
        Ok(())
    }

    /// Returns the warnings that concern every agent.
    pub fn warnings(&self) -> Vec<Warning> {
        let guessed = self.guessed_path.as_ref().map(|path| {
            let text = format!(
                "the archive does not name the encoding of its paths: read the first one as {path:?}, from code page 437"
            );
            Warning::new(text).hint(
                "use --name-encoding to name the encoding, such as shift_jis, gbk or windows-1252",
            )
        });
        guessed.into_iter().collect()
    }

    fn note(&mut self, entry: &Entry) {
        if entry.is_path_guessed && self.guessed_path.is_none() {
            self.guessed_path = Some(entry.path.as_str().to_owned());
        }
        let top = !entry.path.as_str().contains('/');
        self.top_dotfiles |= top && entry.path.as_str().starts_with('.');
        match entry.kind {
            EntryKind::File { bytes, .. } => self.largest_file = self.largest_file.max(bytes),
            EntryKind::HardLink { .. } => {}
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => return,
        }
        self.files += 1;
        if top {
            self.top_files.push(entry.path.as_str().to_owned());
        }
    }
}

impl Source {
    /// Reads the whole archive once: with the reader of the agents, and to compute its digests. Files
    /// that are not packed yet are packed meanwhile, or before, as zip.
    ///
    /// The function also stages the fragments (see [`stage_in`](Self::stage_in)). Without a
    /// `fragment_size`, the length of the archive or of the files decides it. `progress` advances by the
    /// bytes that are read.
    pub fn inspect(
        &self,
        limits: &Limits,
        fragment_size: Option<FragmentSize>,
        progress: &Progress,
    ) -> Result<Inspection, InspectError> {
        let size = fragment_size.unwrap_or_else(|| self.automatic_size());
        let staging = self.staging.as_ref();
        let pass = Pass { size, staging };
        let (digests, contents) = match self.unpacked() {
            Some(files) if self.format() == ArchiveFormat::TarGz => {
                let list = |entries| self.list(entries, limits);
                let packed = pass.pack(files, list, progress);
                let (digests, contents, file) = packed.map_err(|error| self.pass_error(error))?;
                self.keep_packed(file)?;
                (digests, contents)
            }
            Some(_) => {
                let packed = self.archive_for(size, progress)?;
                progress.begin(Work::Checking, packed.bytes());
                self.read(&pass, limits, progress)?
            }
            None => self.read(&pass, limits, progress)?,
        };
        size.count(digests.bytes)?;
        let (format, bytes, sha256) = (self.format(), digests.bytes, digests.sha256);
        let archive = Archive::new(format, bytes, sha256, size, digests.fragments)?;
        if let Some(area) = staging.filter(|_| digests.is_staged) {
            let staged = StagedFragments::of(&archive, area.clone());
            // An earlier inspection has staged the same fragments.
            let _ = self.staged.set(staged);
        }
        let md5 = digests.md5;
        Ok(Inspection {
            archive: PlannedArchive { archive, md5 },
            contents,
        })
    }

    fn read(
        &self,
        pass: &Pass<'_>,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(Digests, Contents), InspectError> {
        let archive = self.archive(progress)?;
        pass.size.count(archive.bytes())?;
        let file = (self.format(), archive.reader(), archive.bytes());
        let read = pass.read(file, |entries| self.list(entries, limits), progress);
        let io = |source| InspectError::Read {
            path: self.path().to_owned(),
            source,
        };
        // A change explains other errors.
        if !archive.is_unchanged().map_err(io)? {
            return Err(self.changed());
        }
        read.map_err(|error| self.pass_error(error))
    }

    fn pass_error(&self, error: PassError<InspectError>) -> InspectError {
        match error {
            PassError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.changed()
            }
            PassError::Read(source) => InspectError::Read {
                path: self.path().to_owned(),
                source,
            },
            PassError::Pack(error) => error.into(),
            PassError::Thread(error) => error.into(),
            PassError::Entries(error) => error,
        }
    }

    fn changed(&self) -> InspectError {
        InspectError::Changed {
            path: self.path().to_owned(),
        }
    }

    fn list(&self, entries: Entries, limits: &Limits) -> Result<Contents, InspectError> {
        let path = || self.path().to_owned();
        let mut contents = Contents::default();
        let mut links = Links::default();
        let systems = System::of(Platform::Any).iter().copied();
        let mut checks: Vec<NameCheck> = systems.map(NameCheck::new).collect();
        let visit = |entry: &Entry, content: &mut Content<'_>| {
            contents.note(entry);
            links.note(entry);
            contents.note_top(entry, content)?;
            checks.retain_mut(|check| contents.fits(check, entry));
            Ok(())
        };
        let walked = entries.walk(limits, visit);
        walked.map_err(|source: ArchiveError| InspectError::Archive {
            path: path(),
            source,
        })?;
        let linked = links.top_files();
        contents.top_files.extend(linked.files);
        contents.top_links = linked.others;
        if contents.files == 0 {
            return Err(InspectError::NoFiles { path: path() });
        }
        Ok(contents)
    }
}

/// The number of entries at the top of an archive whose first bytes are kept.
const MAX_HEADS: usize = 10_000;

/// The number of first bytes of a file that are kept: Linux reads no more of a script's first line.
const HEAD_BYTES: usize = 256;

/// Reads the first bytes of a file.
fn head(content: &mut Content<'_>) -> Result<Vec<u8>, ArchiveError> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    while length < HEAD_BYTES {
        match content.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    head.truncate(length);
    Ok(head)
}

#[cfg(test)]
mod tests;

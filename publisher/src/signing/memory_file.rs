//! The file with the memory of this machine for one target.
//!
//! The first line names the target and its root keys, so that nobody who controls the table can
//! pass off another target as this one. Each further line is an event of one commit, or a key list
//! that was public. A command appends a line, and synchronises the file, before it signs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use packcast_protocol::state::{KeyChain, TrustedRoots};
use packcast_rollout::memory::{Memory, MemoryLine, SignedList};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::failure::Failure;
use crate::private_file;

/// Number of lines above which a file is written again without the lines that later ones replace.
const MAX_LINES: usize = 2_000;

/// The memory of a target, which no other command changes while this value exists.
#[derive(Debug)]
pub struct MemoryFile {
    path: PathBuf,
    is_founder: bool,
    memory: Memory,
    file: File,
    /// Holds the lock. It is a file of its own, because the memory may be replaced.
    _lock: File,
}

/// Errors from opening or changing the memory of a target.
#[derive(Debug, thiserror::Error)]
pub enum MemoryFileError {
    #[error("cannot read or write the memory of signed commits {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot parse line {line} of the memory of signed commits {}", path.display())]
    Damaged {
        path: PathBuf,
        line: usize,
        source: serde_json::Error,
    },
    #[error(
        "the memory of signed commits {} belongs to another target or to other root keys: expected {expected}, found {found}",
        path.display()
    )]
    OtherTarget {
        path: PathBuf,
        expected: String,
        found: String,
    },
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    trust: TrustedRoots,
    /// True on the machine that has created the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    founder: bool,
}

/// A line after the first one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum FurtherLine {
    Commit(Box<MemoryLine>),
    List { list: SignedList },
}

impl MemoryFile {
    /// Opens the memory of a target, which is empty if there is no file, and locks it.
    ///
    /// Waits while another command of this machine has the lock.
    pub async fn open(path: &Path, trust: &TrustedRoots) -> Result<Self, MemoryFileError> {
        let (path, trust) = (path.to_owned(), trust.clone());
        let opened = spawn_blocking(move || Self::open_blocking(path, &trust)).await;
        opened.expect("opening the memory does not panic")
    }

    /// Creates the memory of a new target. This machine will sign the first key list.
    ///
    /// Returns false, and changes nothing, if there is a memory already.
    pub fn found(path: &Path, trust: &TrustedRoots) -> Result<bool, MemoryFileError> {
        let first = FirstLine {
            trust: trust.clone(),
            founder: true,
        };
        match private_file::create(path, &content(&first, &Memory::default())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(file_error(path)(error)),
        }
    }

    /// Stores target and root keys that another machine has created. A memory of a target that this
    /// machine has created is replaced if the target was never changed.
    pub fn accept(path: &Path, trust: &TrustedRoots) -> Result<(), MemoryFileError> {
        let lock = lock(path).map_err(file_error(path))?;
        let bytes = stored(path)?.unwrap_or_default();
        let mut lines = whole_lines(&bytes);
        let first = lines
            .next()
            .map(|line| first_line(path, line))
            .transpose()?;
        if first.as_ref().is_some_and(|first| first.trust == *trust) {
            return Ok(());
        }
        if let Some(first) = first.filter(|first| !first.founder || lines.next().is_some()) {
            return Err(other_target(path, trust, &first));
        }
        let first = FirstLine {
            trust: trust.clone(),
            founder: false,
        };
        let replaced = private_file::replace(path, &content(&first, &Memory::default()));
        replaced.map_err(file_error(path))?;
        drop(lock);
        Ok(())
    }

    /// Returns target and root keys of a memory. `None` if there is no memory.
    ///
    /// The first line never changes, so no lock is needed.
    pub fn trust(path: &Path) -> Result<Option<TrustedRoots>, MemoryFileError> {
        let bytes = stored(path)?.unwrap_or_default();
        let mut lines = whole_lines(&bytes);
        let first = lines
            .next()
            .map(|line| first_line(path, line))
            .transpose()?;
        Ok(first.map(|first| first.trust))
    }

    /// Returns target id and present root keys of a memory, by the key lists that it remembers, for
    /// new devices. `None` if there is no memory.
    ///
    /// During a rotation, the root keys stay those of the first line until the new root key has
    /// signed a key list. Before that, a device with the new root keys would find no list.
    pub fn present_trust(path: &Path) -> Result<Option<TrustedRoots>, MemoryFileError> {
        let Some(trust) = Self::trust(path)? else {
            return Ok(None);
        };
        let bytes = stored(path)?.unwrap_or_default();
        let (_, lines) = read(path, &trust, &bytes)?;
        let memory = memory_of(lines);
        let mut chain = KeyChain::new(trust.clone());
        // Nobody but a root key can have signed a list that the chain follows.
        let _ = chain.follow_all(memory.lists().map(|(_, list)| list));
        let newest = chain.newest();
        let has_signed = newest.is_some_and(|list| list.roots().contains(list.signer()));
        let present = TrustedRoots::new(chain.target(), chain.roots().to_vec());
        Ok(Some(present.ok().filter(|_| has_signed).unwrap_or(trust)))
    }

    fn open_blocking(path: PathBuf, trust: &TrustedRoots) -> Result<Self, MemoryFileError> {
        let lock = lock(&path).map_err(file_error(&path))?;
        let new = FirstLine {
            trust: trust.clone(),
            founder: false,
        };
        let (first, lines, is_whole) = match &stored(&path)? {
            None => (new, Vec::new(), false),
            Some(bytes) => {
                let (first, lines) = read(&path, trust, bytes)?;
                (first.unwrap_or(new), lines, bytes.ends_with(b"\n"))
            }
        };
        let is_long = lines.len() > MAX_LINES;
        let memory = memory_of(lines);
        // A line without its end was not complete when the machine stopped. Nothing was signed after
        // it, so it is left out.
        if !is_whole || is_long {
            let content = content(&first, &memory);
            private_file::replace(&path, &content).map_err(file_error(&path))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        Ok(Self {
            file: file.map_err(file_error(&path))?,
            path,
            is_founder: first.founder,
            memory,
            _lock: lock,
        })
    }

    /// Returns the remembered commits.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns true if this machine has created the target. Only this machine signs the first key
    /// list: on another one, a table without lists is a table that hides them.
    pub const fn is_founder(&self) -> bool {
        self.is_founder
    }

    /// Remembers events. When the function returns, they are on disk.
    pub fn append(&mut self, lines: &[MemoryLine]) -> Result<(), MemoryFileError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.write(lines)?;
        for line in lines {
            self.memory.remember(line.clone());
        }
        Ok(())
    }

    /// Remembers key lists that are public. When the function returns, they are on disk.
    pub fn append_lists(&mut self, lists: &[SignedList]) -> Result<(), MemoryFileError> {
        if lists.is_empty() {
            return Ok(());
        }
        let lines = lists.iter().cloned().map(|list| FurtherLine::List { list });
        self.write(&lines.collect::<Vec<_>>())?;
        for list in lists {
            self.memory.remember_list(list.clone());
        }
        Ok(())
    }

    fn write(&mut self, lines: &[impl Serialize]) -> Result<(), MemoryFileError> {
        let mut text = Vec::new();
        for line in lines {
            push_line(&mut text, line);
        }
        let written = self.file.write_all(&text);
        let synchronised = written.and_then(|()| self.file.sync_data());
        synchronised.map_err(file_error(&self.path))
    }
}

fn memory_of(lines: Vec<FurtherLine>) -> Memory {
    let mut memory = Memory::default();
    for line in lines {
        match line {
            FurtherLine::Commit(line) => memory.remember(*line),
            FurtherLine::List { list } => memory.remember_list(list),
        }
    }
    memory
}

/// Locks the memory at a path for as long as the returned file is open.
fn lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(path.with_added_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Returns the content of a memory. `None` if there is no file.
fn stored(path: &Path) -> Result<Option<Vec<u8>>, MemoryFileError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path)(error)),
    }
}

/// Returns the lines that have their end.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.rsplitn(2, |byte| *byte == b'\n').nth(1);
    whole
        .into_iter()
        .flat_map(|whole| whole.split(|byte| *byte == b'\n'))
}

fn damaged(path: &Path, line: usize) -> impl FnOnce(serde_json::Error) -> MemoryFileError {
    move |source| MemoryFileError::Damaged {
        path: path.to_owned(),
        line,
        source,
    }
}

fn first_line(path: &Path, line: &[u8]) -> Result<FirstLine, MemoryFileError> {
    serde_json::from_slice(line).map_err(damaged(path, 1))
}

fn other_target(path: &Path, expected: &TrustedRoots, found: &FirstLine) -> MemoryFileError {
    MemoryFileError::OtherTarget {
        path: path.to_owned(),
        expected: expected.to_string(),
        found: found.trust.to_string(),
    }
}

fn read(
    path: &Path,
    trust: &TrustedRoots,
    bytes: &[u8],
) -> Result<(Option<FirstLine>, Vec<FurtherLine>), MemoryFileError> {
    let mut lines = whole_lines(bytes);
    let Some(first) = lines.next() else {
        return Ok((None, Vec::new()));
    };
    let first = first_line(path, first)?;
    if first.trust != *trust {
        return Err(other_target(path, trust, &first));
    }
    let line = |(index, line)| serde_json::from_slice(line).map_err(damaged(path, index + 2));
    let lines: Result<Vec<FurtherLine>, _> = lines.enumerate().map(line).collect();
    Ok((Some(first), lines?))
}

fn content(first: &FirstLine, memory: &Memory) -> Vec<u8> {
    let mut text = Vec::new();
    push_line(&mut text, first);
    for line in memory.lines() {
        push_line(&mut text, line);
    }
    for (id, signed) in memory.lists() {
        let signed = signed.clone();
        let list = SignedList { id, signed };
        push_line(&mut text, &FurtherLine::List { list });
    }
    text
}

fn push_line(text: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *text, line).expect("lines have names as keys");
    text.push(b'\n');
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> MemoryFileError {
    move |source| MemoryFileError::File {
        path: path.to_owned(),
        source,
    }
}

impl From<MemoryFileError> for Failure {
    fn from(error: MemoryFileError) -> Self {
        let hint = match &error {
            MemoryFileError::File { .. } => {
                "make the file and its folder readable and writable for your user"
            }
            MemoryFileError::Damaged { .. } => {
                "remove the damaged line if you know the cause: without it, this machine accepts a state in which the commit of the line is missing"
            }
            MemoryFileError::OtherTarget { .. } => {
                "correct the trust line of the target, or move the file away if the target was set up again"
            }
        };
        Self::failed(error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::signature::PublicKey;
    use packcast_protocol::state::{CommitId, TargetId};
    use packcast_protocol::{Sha256Digest, UnixTime};
    use packcast_rollout::memory::MemoryEvent;
    use packcast_testing::commits::first_key_list;

    use super::*;
    use crate::rendered::converted;

    fn key() -> PublicKey {
        let bytes = [&b"Ed"[..], &[1; 40]].concat();
        data_encoding::BASE64.encode(&bytes).parse().unwrap()
    }

    fn trust(target: u8) -> TrustedRoots {
        TrustedRoots::new(TargetId::from_bytes([target; 16]), vec![key()]).unwrap()
    }

    fn line(number: u64, event: MemoryEvent) -> MemoryLine {
        MemoryLine {
            commit: CommitId {
                number,
                digest: Sha256Digest::of(&number.to_be_bytes()),
            },
            at: UnixTime(1_795_000_000),
            key: key(),
            event,
        }
    }

    fn lines(file: &MemoryFile) -> Vec<MemoryLine> {
        file.memory().lines().cloned().collect()
    }

    #[tokio::test]
    async fn events_are_read_back_by_the_next_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prod").join("commits");
        let events = [line(1, MemoryEvent::Stored), line(2, MemoryEvent::Seen)];
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert!(file.memory().is_empty());
        file.append(&events[..1]).unwrap();
        file.append(&events[1..]).unwrap();
        assert_eq!(lines(&file), events);
        drop(file);
        let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert_eq!(lines(&file), events);
    }

    #[tokio::test]
    async fn key_lists_are_read_back_by_the_next_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        let (id, signed) = first_key_list(UnixTime(1_795_000_000));
        let list = SignedList { id, signed };
        let commit = line(1, MemoryEvent::Stored);
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        file.append_lists(std::slice::from_ref(&list)).unwrap();
        file.append(&vec![commit.clone(); MAX_LINES]).unwrap();
        drop(file);
        for _ in 0..2 {
            let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
            let read: Vec<_> = file.memory().lists().collect();
            assert_eq!(read, [(list.id, &list.signed)]);
            assert_eq!(lines(&file), std::slice::from_ref(&commit));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }

    #[tokio::test]
    async fn the_machine_that_created_a_target_stays_its_founder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prod").join("commits");
        assert_eq!(MemoryFile::trust(&path).unwrap(), None);
        assert!(MemoryFile::found(&path, &trust(1)).unwrap());
        assert!(!MemoryFile::found(&path, &trust(2)).unwrap());
        assert_eq!(MemoryFile::trust(&path).unwrap(), Some(trust(1)));
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert!(file.is_founder());
        file.append(&vec![line(1, MemoryEvent::Seen); MAX_LINES + 1])
            .unwrap();
        drop(file);
        for _ in 0..2 {
            let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
            assert!(file.is_founder());
        }
        let other = folder.path().join("other");
        let file = MemoryFile::open(&other, &trust(1)).await.unwrap();
        assert!(!file.is_founder());
    }

    #[tokio::test]
    async fn the_trust_line_of_another_machine_replaces_an_unused_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        MemoryFile::accept(&path, &trust(1)).unwrap();
        MemoryFile::accept(&path, &trust(1)).unwrap();
        let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert!(!file.is_founder());
        drop(file);
        assert!(MemoryFile::accept(&path, &trust(2)).is_err());

        let path = folder.path().join("founded");
        assert!(MemoryFile::found(&path, &trust(1)).unwrap());
        MemoryFile::accept(&path, &trust(1)).unwrap();
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert!(file.is_founder());
        file.append(&[line(1, MemoryEvent::Stored)]).unwrap();
        drop(file);
        assert!(MemoryFile::accept(&path, &trust(2)).is_err());
        let path = folder.path().join("unused");
        assert!(MemoryFile::found(&path, &trust(1)).unwrap());
        MemoryFile::accept(&path, &trust(2)).unwrap();
        assert_eq!(MemoryFile::trust(&path).unwrap(), Some(trust(2)));
    }

    #[tokio::test]
    async fn of_two_commands_one_waits_for_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        let mut first = MemoryFile::open(&path, &trust(1)).await.unwrap();
        let other_path = path.clone();
        let second =
            tokio::spawn(async move { MemoryFile::open(&other_path, &trust(1)).await.unwrap() });
        let event = line(1, MemoryEvent::Stored);
        first.append(std::slice::from_ref(&event)).unwrap();
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(lines(&second.await.unwrap()), [event]);
    }

    #[tokio::test]
    async fn a_line_without_its_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        let event = line(1, MemoryEvent::Stored);
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        file.append(std::slice::from_ref(&event)).unwrap();
        drop(file);
        let whole = std::fs::read(&path).unwrap();
        let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
            assert!(file.memory().is_empty(), "{end}");
            drop(file);
            assert_eq!(std::fs::read(&path).unwrap(), whole[..first_line]);
        }
    }

    #[tokio::test]
    async fn replaced_lines_of_a_long_file_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        let mut file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        let events = vec![line(1, MemoryEvent::Seen); MAX_LINES + 1];
        file.append(&events).unwrap();
        drop(file);
        let file = MemoryFile::open(&path, &trust(1)).await.unwrap();
        assert_eq!(lines(&file), events[..1]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[tokio::test]
    async fn errors_have_next_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commits");
        drop(MemoryFile::open(&path, &trust(1)).await.unwrap());
        let other = MemoryFile::open(&path, &trust(2)).await.unwrap_err();
        let first = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{first}{{}}\n")).unwrap();
        let damaged = MemoryFile::open(&path, &trust(1)).await.unwrap_err();
        let unwritable = MemoryFile::open(folder.path(), &trust(1))
            .await
            .unwrap_err();
        let name = folder.path().display().to_string();
        let shown = converted([other, damaged, unwritable]).replace(&name, "/state");
        insta::assert_snapshot!(shown, @r"
        Failed: the memory of signed commits /state/commits belongs to another target or to other root keys: expected aibaeaqcaibaeaqcaibaeaqcai:RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB, found aeaqcaibaeaqcaibaeaqcaibae:RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
          hint: correct the trust line of the target, or move the file away if the target was set up again
        Failed: cannot parse line 2 of the memory of signed commits /state/commits
          hint: remove the damaged line if you know the cause: without it, this machine accepts a state in which the commit of the line is missing
        Failed: cannot read or write the memory of signed commits /state
          hint: make the file and its folder readable and writable for your user
        ");
    }
}

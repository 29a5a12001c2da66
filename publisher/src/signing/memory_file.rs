//! The file with the memory of this machine for one target.
//!
//! The first line names the target and its root keys, so that nobody who controls the table can
//! pass off another target as this one. Each further line is an event of one commit. A command
//! appends a line, and synchronises the file, before it signs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use packcast_protocol::state::TrustedRoots;
use packcast_rollout::memory::{Memory, MemoryLine};
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

    fn open_blocking(path: PathBuf, trust: &TrustedRoots) -> Result<Self, MemoryFileError> {
        let lock = lock(&path).map_err(file_error(&path))?;
        let stored = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(file_error(&path)(error)),
        };
        let (lines, is_whole) = match &stored {
            None => (Vec::new(), false),
            Some(bytes) => (read(&path, trust, bytes)?, bytes.ends_with(b"\n")),
        };
        let is_long = lines.len() > MAX_LINES;
        let memory = Memory::of_lines(lines);
        // A line without its end was not complete when the machine stopped. Nothing was signed after
        // it, so it is left out.
        if !is_whole || is_long {
            let content = content(trust, memory.lines());
            private_file::replace(&path, &content).map_err(file_error(&path))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        Ok(Self {
            file: file.map_err(file_error(&path))?,
            path,
            memory,
            _lock: lock,
        })
    }

    /// Returns the remembered commits.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Remembers events. When the function returns, they are on disk.
    pub fn append(&mut self, lines: &[MemoryLine]) -> Result<(), MemoryFileError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for line in lines {
            push_line(&mut text, line);
        }
        let written = self.file.write_all(&text);
        let synchronised = written.and_then(|()| self.file.sync_data());
        synchronised.map_err(file_error(&self.path))?;
        for line in lines {
            self.memory.remember(line.clone());
        }
        Ok(())
    }
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

fn read(
    path: &Path,
    trust: &TrustedRoots,
    bytes: &[u8],
) -> Result<Vec<MemoryLine>, MemoryFileError> {
    let damaged = |line: usize| {
        move |source| MemoryFileError::Damaged {
            path: path.to_owned(),
            line,
            source,
        }
    };
    let whole = bytes.rsplitn(2, |byte| *byte == b'\n').nth(1);
    let mut lines = whole.unwrap_or_default().split(|byte| *byte == b'\n');
    let first = lines.next().filter(|line| !line.is_empty());
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    let first: FirstLine = serde_json::from_slice(first).map_err(damaged(1))?;
    if first.trust != *trust {
        return Err(MemoryFileError::OtherTarget {
            path: path.to_owned(),
            expected: trust.to_string(),
            found: first.trust.to_string(),
        });
    }
    let line = |(index, line)| serde_json::from_slice(line).map_err(damaged(index + 2));
    lines.enumerate().map(line).collect()
}

fn content<'a>(trust: &TrustedRoots, lines: impl Iterator<Item = &'a MemoryLine>) -> Vec<u8> {
    let mut text = Vec::new();
    let trust = trust.clone();
    push_line(&mut text, &FirstLine { trust });
    for line in lines {
        push_line(&mut text, line);
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

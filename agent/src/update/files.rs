//! The files of versions, in a folder below the state folder that only the agent's user can enter.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use packcast_protocol::Sha256Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::memory::{News, StagedUpdate, StoredBuild, UpdateTask, VersionMemory};
use crate::command::version_role::VersionRole;
use crate::fault;
use crate::platform::{self, is_full};
use crate::stage;
use crate::state::checked_file::{self, CheckedFile};
use crate::state::damage::DamagedFile;
use crate::state::{Lock, StateDir, StateError, durable, remove_file};

/// The memory of the starter. Only the starter writes it.
const MEMORY: &str = "memory";

/// The version to try next. Only the agent writes it.
const STAGED: &str = "staged";

/// The confirmed trial. Only the agent on trial writes it.
const CONFIRMED: &str = "confirmed";

/// The updated version, or the one on trial, that has checked in. Only that version writes it.
const CHECKED_IN: &str = "checked-in";

/// The copy of a damaged program, so that a person can look at it.
const DAMAGED_PROGRAM: &str = "program.damaged";

/// The lock of the starter.
const LOCK: &str = "lock";

/// The space that a full disk leaves for the files above.
const RESERVE: &str = "reserve";

/// More than the files above, of less than 1 KiB each, take on any file system.
const RESERVE_BYTES: usize = 16 << 10;

/// The temporary file of a program.
const NEW_PROGRAM: &str = "program.new";

/// The folder of versions.
#[derive(Clone, Debug)]
pub(crate) struct VersionFiles(PathBuf);

/// Errors from a stored program, which make the starter run another version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("SHA-256 mismatch of {}: expected {expected}, found {found}", path.display())]
    Digest {
        path: PathBuf,
        expected: Sha256Digest,
        found: Sha256Digest,
    },
    #[error("cannot start {}", path.display())]
    Start {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl ProgramError {
    /// Returns `true` if the program cannot be started later either, in this role.
    ///
    /// Other errors may pass: a busy computer, a disk that fails for a moment, or missing rights.
    pub(crate) fn is_final(&self, role: VersionRole) -> bool {
        match self {
            Self::Digest { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Start { source, .. } => {
                source.kind() == io::ErrorKind::NotFound
                    || (role == VersionRole::Trial && platform::is_not_executable(source))
            }
        }
    }
}

impl VersionFiles {
    pub(crate) fn of(state: &StateDir) -> Self {
        Self(state.versions())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    #[cfg(test)]
    pub(crate) const fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Returns `true` if the device has ever staged an update.
    pub(crate) fn exist(&self) -> bool {
        self.0.is_dir()
    }

    /// Lets one starter at a time choose and run a version.
    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        Lock::of(&self.0.join(LOCK), &self.0)
    }

    /// Reads the memory of the starter; `None` without an update. A damaged file is moved aside.
    pub(crate) fn memory(
        &self,
    ) -> Result<(Option<VersionMemory>, Option<DamagedFile>), StateError> {
        let path = self.0.join(MEMORY);
        match checked_file::read(&path)? {
            None => Ok((None, None)),
            Some(CheckedFile {
                value: Some(memory),
                ..
            }) => Ok((Some(memory), None)),
            Some(damaged) => {
                let damaged =
                    damaged.move_aside(&path, "the installed version of the agent runs")?;
                Ok((None, Some(damaged)))
            }
        }
    }

    /// Reads the memory of the starter as an agent, which leaves a damaged file to the starter.
    pub(super) fn memory_if_whole(&self) -> Result<Option<VersionMemory>, StateError> {
        self.if_whole(MEMORY)
    }

    pub(super) fn staged(&self) -> Result<Option<StagedUpdate>, StateError> {
        self.if_whole(STAGED)
    }

    pub(crate) fn confirmed(&self) -> Result<Option<UpdateTask>, StateError> {
        self.if_whole(CONFIRMED)
    }

    pub(crate) fn checked_in(&self) -> Result<Option<Sha256Digest>, StateError> {
        self.if_whole(CHECKED_IN)
    }

    fn if_whole<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let file = checked_file::read(&self.0.join(name))?;
        Ok(file.and_then(|file| file.value))
    }

    /// Returns the news that agents have written since the last [`VersionFiles::remember`].
    pub(crate) fn news(&self) -> Result<News, StateError> {
        Ok(News {
            confirmed: self.confirmed()?,
            checked_in: self.checked_in()?,
            staged: self.staged()?,
        })
    }

    /// Writes the memory, and then removes the news that it contains, as far as possible.
    ///
    /// A file that cannot be removed changes nothing, because the memory already has its content.
    pub(crate) fn remember(&self, memory: &VersionMemory) -> Result<(), StateError> {
        self.write(MEMORY, memory)?;
        for news in [CONFIRMED, STAGED, CHECKED_IN] {
            let _ = remove_file(&self.0.join(news));
        }
        Ok(())
    }

    /// Writes the memory while an agent runs, and leaves the news as they are.
    pub(crate) fn note(&self, memory: &VersionMemory) -> Result<(), StateError> {
        self.write(MEMORY, memory)
    }

    /// Confirms the trial: the version on trial has checked in.
    pub(crate) fn confirm(&self, task: UpdateTask) -> Result<(), StateError> {
        self.write(CONFIRMED, &task)
    }

    /// Notes that a version has checked in.
    pub(crate) fn note_check_in(&self, version: Sha256Digest) -> Result<(), StateError> {
        self.write(CHECKED_IN, &version)
    }

    /// Forgets the check-in of an earlier start.
    pub(crate) fn forget_check_in(&self) -> Result<(), StateError> {
        remove_file(&self.0.join(CHECKED_IN))
    }

    /// Keeps the damaged program of a build under another name, and returns the damage.
    pub(crate) fn keep_damaged(&self, build: &StoredBuild) -> Result<DamagedFile, StateError> {
        let (path, kept) = (self.program(build), self.0.join(DAMAGED_PROGRAM));
        fs::rename(&path, &kept).map_err(StateError::at(&path))?;
        fault::point();
        let effect = "the version of the agent before the update runs";
        Ok(DamagedFile { path, kept, effect })
    }

    /// Stores a program, and stages it for the starter. Both are on disk when this returns.
    pub(crate) fn stage(&self, program: &Path, staged: &StagedUpdate) -> Result<(), StateError> {
        durable::folder(&self.0).map_err(StateError::at(&self.0))?;
        // The starter needs the lock on a full disk, too.
        let lock = self.0.join(LOCK);
        let file = File::options().append(true).create(true).open(&lock);
        file.map_err(StateError::at(&lock))?;
        // A program that runs cannot be replaced on Windows.
        if self.verified(&staged.build).is_err() {
            self.store(program, &staged.build)?;
        }
        // Random bytes, because a file system with compression would shrink zeros to nothing.
        let mut reserve = vec![0; RESERVE_BYTES];
        let path = self.0.join(RESERVE);
        let random = getrandom::fill(&mut reserve).map_err(io::Error::other);
        random
            .and_then(|()| durable::replace(&path, &reserve))
            .map_err(StateError::at(&path))?;
        self.write(STAGED, staged)
    }

    fn store(&self, program: &Path, build: &StoredBuild) -> Result<(), StateError> {
        let (new, path) = (self.0.join(NEW_PROGRAM), self.program(build));
        remove_file(&new)?;
        let (copy, found) = copy_program(program, &new).map_err(StateError::at(&new))?;
        if found != build.sha256 {
            let error = io::Error::other("the program changed while it was copied");
            return Err(StateError::at(program)(error));
        }
        durable::rename(&copy, &new, &path).map_err(StateError::at(&path))
    }

    /// Writes a small file, on a full disk, too.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let path = self.0.join(name);
        match checked_file::replace(&path, value) {
            Err(StateError::File { source, .. }) if is_full(&source) => {
                let reserve = self.0.join(RESERVE);
                remove_file(&reserve.with_extension("new"))?;
                remove_file(&reserve)?;
                checked_file::replace(&path, value)
            }
            written => written,
        }
    }

    /// Returns the path of a program after its digest was verified.
    ///
    /// The starter verifies the program before each start: a disk may fail, and a file system may
    /// lose the end of a file.
    pub(crate) fn verified(&self, build: &StoredBuild) -> Result<PathBuf, ProgramError> {
        let path = self.program(build);
        let read = |source| ProgramError::Read {
            path: path.clone(),
            source,
        };
        let found = File::open(&path).and_then(stage::digest).map_err(read)?;
        if found != build.sha256 {
            return Err(ProgramError::Digest {
                path,
                expected: build.sha256,
                found,
            });
        }
        Ok(path)
    }

    fn program(&self, build: &StoredBuild) -> PathBuf {
        let name = format!("{}{}", build.sha256, std::env::consts::EXE_SUFFIX);
        self.0.join(name)
    }

    /// Removes programs that the memory does not need, and temporary files, as far as possible.
    pub(crate) fn remove_unused(&self, memory: &VersionMemory) {
        let needed: Vec<PathBuf> = memory.builds().map(|build| self.program(build)).collect();
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let is_program = name.parse::<Sha256Digest>().is_ok();
            let is_temporary = path.extension().is_some_and(|kind| kind == "new");
            if is_temporary || (is_program && !needed.contains(&path)) {
                // On Windows, a program that still runs stays until the next start.
                let _ = fs::remove_file(&path);
                fault::point();
            }
        }
    }
}

/// Copies a program, and returns the copy with its digest. The copy is on disk when this returns.
fn copy_program(from: &Path, to: &Path) -> io::Result<(File, Sha256Digest)> {
    let mut source = File::open(from)?;
    let mut copy = platform::create_program(to)?;
    fault::point();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        copy.write_all(&buffer[..read])?;
    }
    copy.sync_all()?;
    fault::point();
    Ok((copy, Sha256Digest::from_bytes(hash.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::memory::Next;

    fn build(content: &[u8]) -> StoredBuild {
        StoredBuild {
            version: "1.1.0".parse().unwrap(),
            sha256: Sha256Digest::of(content),
        }
    }

    fn staged(content: &[u8]) -> StagedUpdate {
        StagedUpdate {
            task: UpdateTask {
                package: "1795000000".parse().unwrap(),
                attempt: 1,
            },
            build: build(content),
        }
    }

    fn files(dir: &Path) -> VersionFiles {
        VersionFiles(dir.join("state/versions"))
    }

    #[test]
    fn a_staged_program_is_verified_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        assert!(!files.exist());
        let program = dir.path().join("program");
        fs::write(&program, "new").unwrap();
        let staged = staged(b"new");
        files.stage(&program, &staged).unwrap();
        assert!(files.exist());
        assert!(files.0.join(LOCK).exists(), "a full disk has room for it");
        assert_eq!(files.news().unwrap().staged, Some(staged.clone()));
        let stored = files.verified(&staged.build).unwrap();
        for _ in 0..2 {
            assert_eq!(fs::read(&stored).unwrap(), b"new");
            // The same build may come again.
            files.stage(&program, &staged).unwrap();
        }
        fs::write(&stored, "nex").unwrap();
        let changed = files.verified(&staged.build);
        assert!(matches!(changed, Err(ProgramError::Digest { .. })));
        fs::remove_file(&stored).unwrap();
        let missing = files.verified(&staged.build);
        assert!(matches!(missing, Err(ProgramError::Read { .. })));
        let refused = files.stage(&program, &self::staged(b"other"));
        assert!(refused.is_err());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_or_change_a_stored_program() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let program = dir.path().join("program");
        fs::write(&program, "new").unwrap();
        files.stage(&program, &staged(b"new")).unwrap();
        let stored = files.verified(&build(b"new")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&stored), mode(&files.0)), (0o700, 0o700));
    }

    #[test]
    fn the_memory_survives_and_a_damaged_one_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let program = dir.path().join("program");
        fs::write(&program, "new").unwrap();
        files.stage(&program, &staged(b"new")).unwrap();
        assert_eq!(files.memory().unwrap(), (None, None));
        let own = || "1.0.0".parse().unwrap();
        let memory = VersionMemory::new(own()).with(files.news().unwrap(), own());
        files.remember(&memory).unwrap();
        assert_eq!(files.news().unwrap(), News::default());
        assert_eq!(files.memory().unwrap(), (Some(memory.clone()), None));
        files.remove_unused(&memory);
        files.verified(&build(b"new")).unwrap();

        fs::write(files.0.join(MEMORY), "{}").unwrap();
        assert_eq!(files.memory_if_whole().unwrap(), None);
        let (none, damaged) = files.memory().unwrap();
        assert!(none.is_none());
        assert!(damaged.unwrap().kept.exists());
        assert_eq!(files.memory().unwrap(), (None, None));
        let memory = VersionMemory::new(own());
        assert_eq!(memory.next(), Next::Installed);
        fs::write(files.0.join(NEW_PROGRAM), "").unwrap();
        files.remove_unused(&memory);
        assert!(files.verified(&build(b"new")).is_err());
        assert!(!files.0.join(NEW_PROGRAM).exists());
    }

    #[test]
    fn only_errors_that_stay_give_a_version_up() {
        let path = || PathBuf::from("program");
        let start = |code| ProgramError::Start {
            path: path(),
            source: io::Error::from_raw_os_error(code),
        };
        let read = |kind: io::ErrorKind| ProgramError::Read {
            path: path(),
            source: kind.into(),
        };
        let digest = ProgramError::Digest {
            path: path(),
            expected: Sha256Digest::of(b"1"),
            found: Sha256Digest::of(b"2"),
        };
        let roles = |error: &ProgramError| {
            [VersionRole::Kept, VersionRole::Trial].map(|role| error.is_final(role))
        };
        assert_eq!(roles(&digest), [true, true]);
        assert_eq!(roles(&read(io::ErrorKind::NotFound)), [true, true]);
        assert_eq!(
            roles(&read(io::ErrorKind::PermissionDenied)),
            [false, false]
        );
        #[cfg(unix)]
        {
            use rustix::io::Errno;
            for errno in [
                Errno::AGAIN,
                Errno::MFILE,
                Errno::TXTBSY,
                Errno::ACCESS,
                Errno::IO,
            ] {
                assert_eq!(roles(&start(errno.raw_os_error())), [false, false]);
            }
            assert_eq!(roles(&start(Errno::NOENT.raw_os_error())), [true, true]);
            assert_eq!(roles(&start(Errno::NOEXEC.raw_os_error())), [false, true]);
        }
        #[cfg(windows)]
        assert_eq!(roles(&start(193)), [false, true]);
    }

    #[test]
    fn a_damaged_program_is_kept_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let program = dir.path().join("program");
        fs::write(&program, "new").unwrap();
        files.stage(&program, &staged(b"new")).unwrap();
        let damaged = files.keep_damaged(&build(b"new")).unwrap();
        files.remove_unused(&VersionMemory::new("1.0.0".parse().unwrap()));
        assert_eq!(fs::read(damaged.kept).unwrap(), b"new");
        assert!(!damaged.path.exists());
    }

    #[test]
    fn news_that_cannot_be_removed_are_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        // A folder in the place of a file cannot be removed as a file.
        fs::create_dir_all(files.0.join(STAGED)).unwrap();
        let memory = VersionMemory::new("1.0.0".parse().unwrap());
        files.remember(&memory).unwrap();
        assert_eq!(files.memory().unwrap().0, Some(memory));
    }

    #[test]
    fn one_starter_at_a_time_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        durable::folder(&files.0).unwrap();
        let lock = files.lock().unwrap();
        let program = files.0.join("source");
        fs::write(&program, "new").unwrap();
        files.stage(&program, &staged(b"new")).unwrap();
        assert!(matches!(files.lock(), Err(StateError::Locked { .. })));
        drop(lock);
        files.lock().unwrap();
    }

    #[test]
    fn messages_name_the_path() {
        let path = || PathBuf::from("/var/lib/packcast-agent/versions/1");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            ProgramError::Read {
                path: path(),
                source: denied(),
            },
            ProgramError::Digest {
                path: path(),
                expected: Sha256Digest::of(b"1"),
                found: Sha256Digest::of(b"2"),
            },
            ProgramError::Start {
                path: path(),
                source: denied(),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot read /var/lib/packcast-agent/versions/1
        SHA-256 mismatch of /var/lib/packcast-agent/versions/1: expected 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, found d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
        cannot start /var/lib/packcast-agent/versions/1
        ");
    }
}

//! A folder to unpack into, with observed surroundings.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use packcast_agent::unpack::{Durability, Unfinished, unpack};
use packcast_archive::{Limits, Summary};
use packcast_protocol::ArchiveFormat;

/// A folder `inside`, among others that must not change.
pub(crate) struct Surroundings(tempfile::TempDir);

/// The observed state of a file. Links are not followed.
type Seen = (u32, u64, i64, i64, Vec<u8>);

impl Surroundings {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["inside", "outside/d", "d"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["x", "outside/x", "outside/d/x", "d/x"] {
            fs::write(dir.path().join(file), "untouched").unwrap();
        }
        Self(dir)
    }

    pub(crate) fn inside(&self) -> PathBuf {
        self.0.path().join("inside")
    }

    /// Unpacks, and checks that the surroundings have not changed.
    pub(crate) fn unpack(
        &self,
        format: ArchiveFormat,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Summary, Unfinished> {
        let before = self.snapshot();
        let result = unpack(
            format,
            Cursor::new(bytes),
            limits,
            &self.inside(),
            Durability::Temporary,
        );
        assert_eq!(self.snapshot(), before, "something outside was changed");
        result
    }

    fn snapshot(&self) -> BTreeMap<PathBuf, Seen> {
        let mut seen = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            seen.insert(folder.clone(), look(&folder));
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path == self.inside() {
                    continue;
                }
                if path.symlink_metadata().unwrap().is_dir() {
                    folders.push(path);
                } else {
                    seen.insert(path.clone(), look(&path));
                }
            }
        }
        seen
    }

    /// Returns the number of files and links inside, and the bytes of the files.
    pub(crate) fn count(&self) -> (u64, u64) {
        let (mut files, mut bytes) = (0, 0);
        let mut folders = vec![self.inside()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(path);
                } else {
                    files += 1;
                    bytes += if metadata.is_file() {
                        metadata.len()
                    } else {
                        0
                    };
                }
            }
        }
        (files, bytes)
    }
}

fn look(path: &Path) -> Seen {
    let metadata = path.symlink_metadata().unwrap();
    let content = if metadata.is_file() {
        fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    // The time of a folder also shows names that came and went.
    (
        metadata.mode(),
        metadata.nlink(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        content,
    )
}

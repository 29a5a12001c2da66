//! The folders that the entries of an archive lead to.

use std::io;

use cap_std::fs::Dir;

use crate::platform;

/// The folders inside a folder. Other users may own some of them, and may replace folders in these
/// at any time, so the agent changes entries only by the handle of their own folder.
#[derive(Debug)]
pub(super) struct Folders {
    root: Dir,
    /// The folder of the latest entry. Most entries are in the folder of the entry before, which is
    /// then not looked up again.
    latest: Option<(String, Dir)>,
}

impl Folders {
    pub(super) const fn new(root: Dir) -> Self {
        Self { root, latest: None }
    }

    /// Opens the folder at `path`, as [`platform::open_inside`] does.
    pub(super) fn open(&mut self, path: &str) -> io::Result<&Dir> {
        let latest = self.latest.take().filter(|(open, _)| open == path);
        let latest = match latest {
            Some(latest) => latest,
            None => (path.to_owned(), self.open_another(path)?),
        };
        let (_, dir) = self.latest.insert(latest);
        Ok(dir)
    }

    /// Opens a folder besides that of the latest entry.
    pub(super) fn open_another(&self, path: &str) -> io::Result<Dir> {
        platform::open_inside(&self.root, path)
    }

    /// Removes a file that has no name yet. An error is not reported: the next run in the folder
    /// removes such files.
    pub(super) fn remove_part(&mut self, folder: &str, part: &str) {
        if let Ok(dir) = self.open(folder) {
            let _ = dir.remove_file(part);
        }
    }
}

/// Returns the folder of a path, and the name in it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

//! Damaged files of the state folder. They are never discarded, so that a person can look at them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::Sha256Digest;

use super::durable;

/// The part of the name of a kept file before the digest.
const DAMAGED: &str = ".damaged-";

/// A damaged file that the agent found at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedFile {
    pub(crate) path: PathBuf,
    /// The file that keeps the damaged content.
    pub(crate) kept: PathBuf,
    /// The effect of the damage on the device.
    pub(crate) effect: &'static str,
}

/// Keeps the damaged content of a file under a name that begins with `path`, and returns the name.
///
/// The file itself stays, because the caller replaces it in one step. The same content gets the same
/// name, so that repeated starts keep it once.
pub(crate) fn keep_copy(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    Ok(keep(path, content)?.0)
}

/// Keeps damaged content like [`keep_copy`]. Returns `None` if it is kept already.
pub(crate) fn keep_new_copy(path: &Path, content: &[u8]) -> io::Result<Option<PathBuf>> {
    let (kept, is_new) = keep(path, content)?;
    Ok(is_new.then_some(kept))
}

fn keep(path: &Path, content: &[u8]) -> io::Result<(PathBuf, bool)> {
    let digest = Sha256Digest::of(content).to_string();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("{DAMAGED}{}", &digest[..8]));
    let kept = path.with_file_name(name);
    match durable::create(&kept, content) {
        Ok(()) => Ok((kept, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((kept, false)),
        Err(error) => Err(error),
    }
}

/// Returns `true` if `path` is a temporary file of a copy that a crash cut off.
pub(crate) fn is_left_of_copy(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(DAMAGED) && path.extension().is_some_and(|kind| kind == "new")
}

/// Moves a damaged file aside, and returns its new name.
pub(crate) fn move_aside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let kept = keep_copy(path, content)?;
    fs::remove_file(path)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_content_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        let mut names = Vec::new();
        for content in ["one", "one", "other"] {
            fs::write(&path, content).unwrap();
            names.push(move_aside(&path, content.as_bytes()).unwrap());
            assert!(!path.exists());
        }
        assert_eq!(names[0], names[1]);
        assert!(names.iter().all(|name| !is_left_of_copy(name)));
        let left = |name: &str| is_left_of_copy(&dir.path().join(name));
        assert!(left("journal-1795000000.damaged-5c7b0011.aB3.new") && !left("pass.new"));
        assert_eq!(fs::read_to_string(&names[0]).unwrap(), "one");
        assert_eq!(fs::read_to_string(&names[2]).unwrap(), "other");
    }
}

//! Whether there is room for a package, asked before anything of it is fetched.

use std::io;
use std::path::{Path, PathBuf};

use crate::platform;

/// A volume lacks room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} has {free} bytes free, the package needs {needed}: make room, and assign it again", folder.display()
)]
pub(crate) struct OutOfSpace {
    folder: PathBuf,
    needed: u64,
    free: u64,
}

/// Checks that there is room for what is to be fetched into `fragments`, and for the archive
/// in `unpacked`, a folder that may not exist yet.
///
/// How much an archive holds is known only when it is read; its own size is the least that
/// can be expected. A volume that does not tell its free space counts as large enough.
pub(crate) fn check(
    fragments: &Path,
    to_fetch: u64,
    unpacked: &Path,
    archive: u64,
) -> Result<(), OutOfSpace> {
    let unpacked = existing(unpacked);
    let both = to_fetch.saturating_add(archive);
    if platform::same_volume(fragments, unpacked).unwrap_or(false) {
        return room(fragments, both, fs4::available_space(fragments));
    }
    room(fragments, to_fetch, fs4::available_space(fragments))?;
    room(unpacked, archive, fs4::available_space(unpacked))
}

/// Checks that there is room for so many bytes in a folder, which may not exist yet.
pub(crate) fn check_folder(folder: &Path, needed: u64) -> Result<(), OutOfSpace> {
    let folder = existing(folder);
    room(folder, needed, fs4::available_space(folder))
}

fn room(folder: &Path, needed: u64, free: io::Result<u64>) -> Result<(), OutOfSpace> {
    match free {
        Ok(free) if free < needed => Err(OutOfSpace {
            folder: folder.to_owned(),
            needed,
            free,
        }),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the free space is not known");
            Ok(())
        }
    }
}

/// Returns the path, or the nearest folder above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_what_is_needed_is_too_little() {
        let check = |needed, free| room(Path::new("/v"), needed, Ok(free));
        assert_eq!(check(7, 7), Ok(()));
        assert_eq!(
            check(8, 7).unwrap_err().to_string(),
            "/v has 7 bytes free, the package needs 8: make room, and assign it again"
        );
    }

    #[test]
    fn what_is_on_one_volume_counts_together() {
        let dir = tempfile::tempdir().unwrap();
        let free = fs4::available_space(dir.path()).unwrap();
        let (most, folder) = (free / 4 * 3, dir.path().join("not/there/yet"));
        let error = check(dir.path(), most, &folder, most).unwrap_err();
        assert_eq!(error.needed, most * 2);
        assert_eq!(check(dir.path(), 0, &folder, 0), Ok(()));
    }
}

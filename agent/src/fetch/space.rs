//! The check for free space, before anything of a package is fetched.

use std::io;
use std::path::{Path, PathBuf};

use crate::platform;

/// The error of a volume without enough free space.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough space in {}: {needed} bytes needed, {free} free: free some space, and assign the package again", folder.display()
)]
pub(crate) struct OutOfSpace {
    folder: PathBuf,
    needed: u64,
    free: u64,
}

/// Checks the free space for fragments in `fragments`, and for the archive in `unpacked`.
///
/// The folder `unpacked` may not exist yet. The size of the unpacked files is unknown before the
/// archive is read, so its own size stands for them. A volume that does not report its free space
/// counts as large enough.
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

/// Checks the free space for `needed` bytes in a folder, which may not exist yet.
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
            tracing::warn!(folder = %folder.display(), %error, "cannot determine the free space");
            Ok(())
        }
    }
}

/// Returns the path, or its nearest parent folder that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_free_space_than_needed_is_an_error() {
        let check = |needed, free| room(Path::new("/v"), needed, Ok(free));
        assert_eq!(check(7, 7), Ok(()));
        assert_eq!(
            check(8, 7).unwrap_err().to_string(),
            "not enough space in /v: 8 bytes needed, 7 free: free some space, and assign the package again"
        );
    }

    #[test]
    fn needs_on_one_volume_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let free = fs4::available_space(dir.path()).unwrap();
        let (most, folder) = (free / 4 * 3, dir.path().join("not/there/yet"));
        let error = check(dir.path(), most, &folder, most).unwrap_err();
        assert_eq!(error.needed, most * 2);
        assert_eq!(check(dir.path(), 0, &folder, 0), Ok(()));
    }

    #[test]
    fn the_message_names_the_folder_and_the_remedy() {
        let error = room(Path::new("/var/lib"), 8, Ok(7)).unwrap_err();
        let text = error.to_string();
        insta::assert_snapshot!(text, @r"
        not enough space in /var/lib: 8 bytes needed, 7 free: free some space, and assign the package again
        ");
    }
}

//! The rights to files of packages.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, File, Metadata, MetadataExt as _};
use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use packcast_archive::EntryMode;
use rustix::fs::{Gid, Uid, fchown};

const STICKY: u32 = 0o1000;

/// Creates a file that only the agent's user can read, until [`set_rights`] is called.
///
/// A link in its place is not followed.
pub(crate) fn create_private(dir: &Dir, path: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    dir.open_with(path, &options)
}

/// Gives a new file the mode of its entry.
///
/// `replaced` is the file in `folder` that the new file will replace. Its owner and group are kept,
/// and its rights for group and others where they are stricter. If the agent may not give the file
/// to the owner or the group, the group gets only the rights of others.
pub(crate) fn set_rights(
    dir: &Dir,
    folder: &str,
    file: &File,
    mode: EntryMode,
    replaced: Option<&Metadata>,
) -> io::Result<()> {
    let mut bits = mode.bits();
    if let Some(replaced) = replaced {
        bits = stricter(bits, replaced.mode());
        let new = file.metadata()?;
        let is_same = (new.uid(), new.gid()) == (replaced.uid(), replaced.gid());
        if !is_same && !keep_owner(dir, folder, file, replaced) && new.gid() != replaced.gid() {
            bits &= !0o070 | (bits << 3);
        }
    }
    file.set_permissions(permissions(bits))
}

/// Returns `true` if the file has got the owner and the group of the file that it replaces.
fn keep_owner(dir: &Dir, folder: &str, file: &File, replaced: &Metadata) -> bool {
    let folder = if folder.is_empty() { "." } else { folder };
    // In such a folder, any user could have created the file, to own the new one.
    let is_shared = dir.metadata(folder).is_ok_and(|it| it.mode() & STICKY != 0);
    let owner = (Uid::from_raw(replaced.uid()), Gid::from_raw(replaced.gid()));
    !is_shared && fchown(file, Some(owner.0), Some(owner.1)).is_ok()
}

/// Returns the rights of a new file, which replaces a file with the rights `old`.
///
/// Group and others get no right to read or write that they did not have. They may run a new
/// program if they could read the old file.
const fn stricter(new: u32, old: u32) -> u32 {
    let readable = (old & 0o044) >> 2;
    new & (0o700 | (old & 0o077) | readable)
}

/// Returns the mode of a file in the folder, if a file that it replaces has other restrictions.
pub(crate) fn restrictions(
    dir: &Dir,
    path: &str,
    replaced: &Metadata,
) -> io::Result<Option<EntryMode>> {
    let new = dir.symlink_metadata(path)?;
    let is_same = (new.uid(), new.gid()) == (replaced.uid(), replaced.gid());
    let is_as_strict = stricter(new.mode(), replaced.mode()) == new.mode() & 0o777;
    Ok((!is_same || !is_as_strict).then(|| EntryMode::from_bits(new.mode())))
}

/// Creates a folder with the rights of its entry, as far as the agent can write to the folder.
pub(crate) fn create_folder(dir: &Dir, path: &str, mode: EntryMode) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(mode.bits() | 0o700);
    dir.create_dir_with(path, &builder)
}

/// Returns `true` if a folder needs [`set_folder_mode`] after [`create_folder`].
pub(crate) fn needs_folder_mode(mode: EntryMode) -> bool {
    (mode.bits() | 0o700) & !0o022 != mode.bits()
}

/// Gives a folder that the agent has created the mode of its entry.
pub(crate) fn set_folder_mode(dir: &Dir, path: &str, mode: EntryMode) -> io::Result<()> {
    dir.set_permissions(path, permissions(mode.bits()))
}

fn permissions(bits: u32) -> cap_std::fs::Permissions {
    cap_std::fs::Permissions::from_std(Permissions::from_mode(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_restrictions() {
        let check =
            |new, old, expected| assert_eq!(stricter(new, old), expected, "{new:o} {old:o}");
        check(0o644, 0o600, 0o600);
        check(0o644, 0o100_640, 0o640);
        check(0o600, 0o644, 0o600);
        check(0o644, 0o666, 0o644);
        check(0o664, 0o644, 0o644);
        check(0o644, 0o444, 0o644);
        // A new version of a script may be a program.
        check(0o755, 0o644, 0o755);
        check(0o755, 0o640, 0o750);
        check(0o755, 0o711, 0o711);
    }

    #[test]
    fn most_folders_have_their_mode_from_the_start() {
        let needs = |bits| needs_folder_mode(EntryMode::from_bits(bits));
        assert!(![0o755, 0o700, 0o750].into_iter().any(needs));
        assert!([0o555, 0o775, 0o500].into_iter().all(needs));
    }
}

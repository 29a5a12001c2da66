//! The rights to files of packages.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, File, Metadata, MetadataExt as _};
use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use packcast_archive::EntryMode;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, openat};

use super::is_trusted;
use super::trusted_path::{open_again, open_inside};

const STICKY: u32 = 0o1000;

/// The rights of group and others to write.
const SHARED: u32 = 0o022;

/// The identity of a file or folder on this device, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    dev: u64,
    ino: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
        }
    }

    /// Checks that a file or folder still has this identity.
    ///
    /// # Errors
    /// Another user has replaced the file or folder.
    pub(crate) fn expect(self, found: &Metadata) -> io::Result<()> {
        if self == Self::of(found) {
            return Ok(());
        }
        Err(io::Error::other(
            "another user has replaced the file or folder",
        ))
    }
}

/// The rights that a new file gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    mode: EntryMode,
    /// The owner, the group and the mode of the file that the new file will replace.
    replaced: Option<(u32, u32, u32)>,
}

impl Rights {
    pub(crate) fn new(mode: EntryMode, replaced: Option<&Metadata>) -> Self {
        Self {
            mode,
            replaced: replaced.map(|it| (it.uid(), it.gid(), it.mode())),
        }
    }
}

/// Creates a file that only the agent's user can read, until [`set_rights`] is called.
///
/// A link in its place is not followed.
pub(crate) fn create_private(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    dir.open_with(name, &options)
}

/// Opens a file to read, if it is still the one with this identity. A link is not followed.
pub(crate) fn open_same(dir: &Dir, name: &str, id: FileId) -> io::Result<File> {
    // Another file in its place may be a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from_std(openat(dir, name, flags, Mode::empty())?.into());
    id.expect(&file.metadata()?)?;
    Ok(file)
}

/// Gives a new file in `dir` its rights. `file` is the open file, if the agent has kept it open.
///
/// A file that replaces another gets the owner and the group of the replaced file, and gives group
/// and others no right to read or write that they did not have. If the agent may not give the file
/// to the owner or the group, the group gets only the rights of others.
pub(crate) fn set_rights(
    dir: &Dir,
    name: &str,
    file: Option<&File>,
    id: FileId,
    rights: Rights,
) -> io::Result<()> {
    let opened;
    let file = if let Some(file) = file {
        file
    } else {
        opened = open_same(dir, name, id)?;
        &opened
    };
    let mut bits = rights.mode.bits();
    if let Some((uid, gid, mode)) = rights.replaced {
        bits = stricter(bits, mode);
        let new = file.metadata()?;
        let is_same = (new.uid(), new.gid()) == (uid, gid);
        if !is_same && !keep_owner(dir, file, uid, gid) && new.gid() != gid {
            bits &= !0o070 | (bits << 3);
        }
    }
    file.set_permissions(permissions(bits))
}

/// Returns `true` if the file has got the owner and the group of the file that it replaces.
fn keep_owner(dir: &Dir, file: &File, uid: u32, gid: u32) -> bool {
    let folder = dir.dir_metadata();
    let is_chosen = folder.is_ok_and(|it| is_chosen_by_owner(uid, it.uid(), it.mode()));
    let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
    is_chosen && fchown(file, Some(owner.0), Some(owner.1)).is_ok()
}

/// Returns `true` if only the owner of the folder, or root, can have chosen the owner of a file in
/// the folder.
///
/// In any other folder, a user could have created the file to own the new one.
fn is_chosen_by_owner(file_owner: u32, folder_owner: u32, folder_mode: u32) -> bool {
    is_trusted(file_owner)
        || file_owner == folder_owner
        || (is_trusted(folder_owner) && folder_mode & SHARED == 0)
}

/// Returns the rights of a new file, which replaces a file with the rights `old`.
///
/// Group and others get no right to read or write that they did not have. They may run a new
/// program if they could read the old file.
const fn stricter(new: u32, old: u32) -> u32 {
    let readable = (old & 0o044) >> 2;
    new & (0o700 | (old & 0o077) | readable)
}

/// Returns the mode of a new file, if the file that it replaces under another name has other
/// restrictions.
pub(crate) fn restrictions(new: &Metadata, replaced: &Metadata) -> Option<EntryMode> {
    let is_same = (new.uid(), new.gid()) == (replaced.uid(), replaced.gid());
    let is_as_strict = stricter(new.mode(), replaced.mode()) == new.mode() & 0o777;
    (!is_same || !is_as_strict).then(|| EntryMode::from_bits(new.mode()))
}

/// Creates a folder with the rights of its entry, as far as the agent can write to the folder.
///
/// Returns the identity of the folder, if no other user can have replaced it since.
pub(crate) fn create_folder(dir: &Dir, name: &str, mode: EntryMode) -> io::Result<Option<FileId>> {
    let mut builder = DirBuilder::new();
    builder.mode(mode.bits() | 0o700);
    dir.create_dir_with(name, &builder)?;
    let above = dir.dir_metadata()?;
    let is_protected = above.mode() & SHARED == 0 || above.mode() & STICKY != 0;
    if !is_protected || !is_trusted(above.uid()) {
        return Ok(None);
    }
    Ok(Some(FileId::of(&open_inside(dir, name)?.dir_metadata()?)))
}

/// Returns `true` if a folder needs [`set_folder_mode`] after [`create_folder`].
pub(crate) fn needs_folder_mode(mode: EntryMode) -> bool {
    (mode.bits() | 0o700) & !SHARED != mode.bits()
}

/// Gives a folder that the agent has created the mode of its entry.
///
/// # Errors
/// Another user has put another folder in its place.
pub(crate) fn set_folder_mode(folder: &Dir, id: FileId, mode: EntryMode) -> io::Result<()> {
    let folder = File::from_std(open_again(folder)?.into());
    id.expect(&folder.metadata()?)?;
    folder.set_permissions(permissions(mode.bits()))
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
    fn an_owner_is_kept_only_if_no_other_user_can_have_chosen_it() {
        const ALICE: u32 = 65_533;
        const BEN: u32 = 65_534;
        let check = |owner, folder, mode, expected| {
            let found = is_chosen_by_owner(owner, folder, mode);
            assert_eq!(found, expected, "{owner} in a folder of {folder}, {mode:o}");
        };
        check(BEN, 0, 0o755, true);
        check(BEN, 0, 0o1777, false);
        check(BEN, 0, 0o2775, false);
        check(BEN, 0, 0o757, false);
        check(BEN, ALICE, 0o755, false);
        check(BEN, BEN, 0o755, true);
        check(BEN, BEN, 0o2775, true);
        check(0, 0, 0o1777, true);
        check(0, BEN, 0o2775, true);
    }

    #[test]
    fn most_folders_have_their_mode_from_the_start() {
        let needs = |bits| needs_folder_mode(EntryMode::from_bits(bits));
        assert!(![0o755, 0o700, 0o750].into_iter().any(needs));
        assert!([0o555, 0o775, 0o500].into_iter().all(needs));
    }
}

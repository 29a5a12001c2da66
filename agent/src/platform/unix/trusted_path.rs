//! Paths that other users cannot redirect.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use cap_std::fs::{Dir, MetadataExt as _};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::platform::ComponentError;

/// The number of links in one path, as Linux limits it.
const MAX_LINKS: usize = 40;

/// The rights of a new folder.
const NEW_FOLDER: Mode = Mode::from_raw_mode(0o755);

/// Flags to open a folder on the way. Linux then needs no right to read it.
#[cfg(target_os = "linux")]
const ON_THE_WAY: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const ON_THE_WAY: OFlags = OFlags::RDONLY;

/// A walk from the root of the file system to a folder, one component at a time.
///
/// The walk holds each folder open, so a later change of the path does not redirect it.
struct Walk {
    /// The open folders, the root first, with their names.
    folders: Vec<(OsString, OwnedFd)>,
    /// The owner of the root folder, who owns the system.
    owner: u32,
    links: usize,
    /// Creates missing folders.
    create: bool,
    /// Follows no link out of the folder where the walk starts.
    stays_inside: bool,
}

/// Opens a folder, and creates it and its missing parents.
///
/// The walk follows a link only if the link belongs to root or to the agent's user. Another user
/// could change the target of any other link.
pub(crate) fn open_folder(path: &Path) -> Result<Dir, ComponentError> {
    open_at_end(Walk::start(true)?, path)
}

/// Opens a folder as [`open_folder`] does, and creates nothing. Returns `None` if it does not exist.
pub(crate) fn find_folder(path: &Path) -> Result<Option<Dir>, ComponentError> {
    match open_at_end(Walk::start(false)?, path) {
        Err(ComponentError { error, .. })
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

fn open_at_end(mut walk: Walk, path: &Path) -> Result<Dir, ComponentError> {
    let path = &std::path::absolute(path).map_err(|error| ComponentError {
        path: path.to_owned(),
        error,
    })?;
    walk.follow(path, &|_, _| Ok(()))?;
    Ok(Dir::from_std_file(walk.read()?.into()))
}

/// Opens the folder at `path` inside `dir`. An empty path is `dir` itself.
///
/// Follows a link only if the link belongs to root or to the agent's user, and leads to a folder
/// inside `dir`. Other users may replace folders on the path at any time: the walk then ends in the
/// folder that was there before, or fails. On Linux, the folder cannot be synchronised by this
/// handle.
pub(crate) fn open_inside(dir: &Dir, path: &str) -> io::Result<Dir> {
    let flags = ON_THE_WAY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut walk = Walk {
        folders: vec![(OsString::new(), openat(dir, ".", flags, Mode::empty())?)],
        owner: 0,
        links: 0,
        create: false,
        stays_inside: true,
    };
    walk.follow(Path::new(path), &|_, _| Ok(()))
        .map_err(|found| found.error)?;
    let (_, folder) = walk.folders.pop().expect("the first folder is never left");
    Ok(Dir::from_std_file(folder.into()))
}

/// Opens a folder again, to read, synchronise or change the folder itself.
pub(super) fn open_again(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(dir, ".", flags, Mode::empty())?)
}

/// Returns `true` if the entry is a link that another user can replace.
pub(crate) fn is_link_of_another_user(dir: &Dir, name: &str) -> bool {
    let found = dir.symlink_metadata(name);
    found.is_ok_and(|it| it.is_symlink() && !super::is_trusted(it.uid()))
}

/// Expects that only root and the agent's user can rename or replace the folders on a path.
///
/// A folder that everybody can change is accepted if only the owner of an entry can rename the
/// entry, as in `/tmp`.
pub(crate) fn expect_unchangeable(path: &Path) -> Result<(), ComponentError> {
    Walk::start(false)?.follow(path, &expect_no_other_writer)
}

fn expect_no_other_writer(stat: &Stat, is_trusted: bool) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if !is_trusted {
        let reason = format!("it belongs to user {}", stat.st_uid);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    if mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX) {
        let reason = "other users can rename the folders in it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

/// Checks a folder; the second argument is `true` if its owner is trusted.
type Check<'a> = &'a dyn Fn(&Stat, bool) -> io::Result<()>;

impl Walk {
    fn start(create: bool) -> Result<Self, ComponentError> {
        let flags = ON_THE_WAY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open("/", flags, Mode::empty()).and_then(|root| Ok((fstat(&root)?, root)));
        let (stat, root) = opened.map_err(|error| ComponentError {
            path: "/".into(),
            error: error.into(),
        })?;
        Ok(Self {
            folders: vec![(OsString::from("/"), root)],
            owner: stat.st_uid,
            links: 0,
            create,
            stays_inside: false,
        })
    }

    fn is_trusted(&self, owner: u32) -> bool {
        super::is_trusted(owner) || owner == self.owner
    }

    fn follow(&mut self, path: &Path, check: Check<'_>) -> Result<(), ComponentError> {
        if path.is_absolute() {
            if self.stays_inside {
                return Err(self.outside());
            }
            self.folders.truncate(1);
            self.check_last(check)?;
        }
        for component in path.components() {
            match component {
                Component::Normal(name) => self.enter(name, check)?,
                Component::ParentDir if self.folders.len() > 1 => drop(self.folders.pop()),
                Component::ParentDir if self.stays_inside => return Err(self.outside()),
                _ => {}
            }
        }
        Ok(())
    }

    fn outside(&self) -> ComponentError {
        ComponentError {
            path: self.path(),
            error: Errno::XDEV.into(),
        }
    }

    /// Enters a folder, or the target of a link.
    fn enter(&mut self, name: &OsStr, check: Check<'_>) -> Result<(), ComponentError> {
        let at = |error: io::Error| ComponentError {
            path: self.path().join(name),
            error,
        };
        let flags = ON_THE_WAY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let enter = || openat(self.last(), name, flags, Mode::empty());
        let mut entered = enter();
        if self.create && entered.as_ref().is_err_and(|error| *error == Errno::NOENT) {
            match mkdirat(self.last(), name, NEW_FOLDER) {
                Ok(()) | Err(Errno::EXIST) => entered = enter(),
                Err(error) => return Err(at(error.into())),
            }
        }
        match entered {
            Ok(folder) => {
                self.folders.push((name.to_owned(), folder));
                self.check_last(check)
            }
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let target = self.link(name).map_err(at)?;
                self.links += 1;
                self.follow(&target, check)
            }
            Err(error) => Err(at(error.into())),
        }
    }

    /// Returns the target of a link that a trusted user owns.
    fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let stat = || statat(self.last(), name, AtFlags::SYMLINK_NOFOLLOW);
        let before = stat()?;
        if FileType::from_raw_mode(before.st_mode) != FileType::Symlink {
            return Err(Errno::NOTDIR.into());
        }
        let owner = before.st_uid;
        if !self.is_trusted(owner) {
            let reason = format!("the link belongs to user {owner}, who can change its target");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        if self.links == MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = readlinkat(self.last(), name, Vec::new())?;
        let after = stat()?;
        // A link never changes, but another user may put another link in its place.
        if (before.st_dev, before.st_ino, owner) != (after.st_dev, after.st_ino, after.st_uid) {
            return Err(io::Error::other("the link was replaced meanwhile"));
        }
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn check_last(&self, check: Check<'_>) -> Result<(), ComponentError> {
        let at = |error| ComponentError {
            path: self.path(),
            error,
        };
        let stat = fstat(self.last()).map_err(|error| at(error.into()))?;
        check(&stat, self.is_trusted(stat.st_uid)).map_err(at)
    }

    fn last(&self) -> &OwnedFd {
        let (_, folder) = self.folders.last().expect("the root is never left");
        folder
    }

    fn path(&self) -> PathBuf {
        self.folders.iter().map(|(name, _)| name).collect()
    }

    /// Opens the last folder to read and write in it.
    fn read(&self) -> Result<OwnedFd, ComponentError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.last(), ".", flags, Mode::empty()).map_err(|error| ComponentError {
            path: self.path(),
            error: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;
    use crate::skip::{Missing, skip};

    const OTHER: Option<u32> = Some(65_534);

    /// Only root can change the owner of a file.
    const CHANGING_OWNERS: Missing<'_> = Missing::Optional("changing the owner of a file");

    /// Returns the real path of a folder, without links.
    fn real(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().canonicalize().unwrap()
    }

    fn is_open(path: &Path) -> Result<(), String> {
        open_folder(path)
            .map(drop)
            .map_err(|it| it.error.to_string())
    }

    #[test]
    fn missing_folders_are_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = real(&dir).join("a/b");
        for _ in 0..2 {
            is_open(&path).unwrap();
            assert!(path.is_dir());
        }
        File::create(path.join("file")).unwrap();
        let error = open_folder(&path.join("file/c")).unwrap_err();
        assert_eq!(error.path, path.join("file"));
    }

    #[test]
    fn links_of_trusted_users_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = real(&dir);
        fs::create_dir(path.join("target")).unwrap();
        symlink("target", path.join("relative")).unwrap();
        symlink("relative/../target", path.join("around")).unwrap();
        symlink(path.join("around"), path.join("absolute")).unwrap();
        is_open(&path.join("absolute/new")).unwrap();
        assert!(path.join("target/new").is_dir());
        symlink("loop", path.join("loop")).unwrap();
        assert!(is_open(&path.join("loop")).is_err());
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = real(&dir);
        fs::create_dir(path.join("target")).unwrap();
        symlink("target", path.join("link")).unwrap();
        if lchown(path.join("link"), OTHER, None).is_err() {
            skip(CHANGING_OWNERS);
            return;
        }
        symlink("link", path.join("own")).unwrap();
        for name in ["link", "link/new", "own"] {
            let error = open_folder(&path.join(name)).unwrap_err();
            assert_eq!(error.path, path.join("link"), "{name}");
            let reason = "the link belongs to user 65534, who can change its target";
            assert_eq!(error.error.to_string(), reason);
        }
        assert!(!path.join("target/new").exists());
    }

    #[test]
    fn folders_that_others_can_rename_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = real(&dir);
        let (above, below) = (path.join("above"), path.join("above/below"));
        fs::create_dir_all(&below).unwrap();
        let check = |mode, expected: Option<&str>| {
            fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
            let found = expect_unchangeable(&below).err();
            let found = found.map(|found| (found.path, found.error.to_string()));
            assert_eq!(
                found,
                expected.map(|reason| (above.clone(), reason.to_owned()))
            );
        };
        let changeable = Some("other users can rename the folders in it");
        check(0o755, None);
        check(0o775, changeable);
        check(0o757, changeable);
        check(0o1777, None);
        check(0o755, None);
        if lchown(&above, OTHER, None).is_ok() {
            check(0o755, Some("it belongs to user 65534"));
        } else {
            skip(CHANGING_OWNERS);
        }
    }
}

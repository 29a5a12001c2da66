//! The files on disk after unpacking.
#![cfg(unix)]

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;

use packcast_agent::unpack::{Durability, Unfinished, UnpackError, unpack};
use packcast_archive::{Limits, Summary};
use packcast_protocol::ArchiveFormat::TarGz;

use crate::archives::{Tar, gzip};
use crate::packages::noise;
use crate::skip::{Missing, skip};

fn put(archive: Tar, folder: &Path) -> Result<Summary, UnpackError> {
    store(archive, folder).map_err(|unfinished| unfinished.cause)
}

fn store(archive: Tar, folder: &Path) -> Result<Summary, Unfinished> {
    let (bytes, limits) = (Cursor::new(archive.gz()), Limits::default());
    unpack(TarGz, bytes, &limits, folder, Durability::Lasting)
}

/// The id of another user.
const OTHER: u32 = 65_534;

/// Only root can change the owner of a file.
const CHANGING_OWNERS: Missing<'_> = Missing::Optional("changing the owner of a file");

/// An archive that lets another user act when half of it was read.
struct Interfered<F> {
    archive: Cursor<Vec<u8>>,
    act: Option<F>,
}

impl<F: FnOnce()> Read for Interfered<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.archive.position() > self.archive.get_ref().len() as u64 / 2
            && let Some(act) = self.act.take()
        {
            act();
        }
        // Small reads, so that the unpacker is not ahead of the act.
        let most = buffer.len().min(4096);
        self.archive.read(&mut buffer[..most])
    }
}

impl<F> Seek for Interfered<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.archive.seek(to)
    }
}

/// Stores the first entries, lets another user act, and stores the others.
fn interfered(
    first: Tar,
    then: impl FnOnce(Tar) -> Tar,
    folder: &Path,
    act: impl FnOnce(),
) -> Result<Summary, UnpackError> {
    let archive = Interfered {
        archive: Cursor::new(then(first.file("between", &noise(1 << 20))).gz()),
        act: Some(act),
    };
    let stored = unpack(
        TarGz,
        archive,
        &Limits::default(),
        folder,
        Durability::Lasting,
    );
    stored.map_err(|unfinished| unfinished.cause)
}

/// A folder with a private file and a private folder of the agent, and a folder of another user.
///
/// Returns `None` if the test may not change owners; the test is then skipped.
fn folder_with_a_foreign_folder() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("key"), "secret").unwrap();
    fs::set_permissions(at("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(at("private")).unwrap();
    fs::set_permissions(at("private"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(at("up")).unwrap();
    if lchown(at("up"), Some(OTHER), None).is_err() {
        skip(CHANGING_OWNERS);
        return None;
    }
    Some(dir)
}

/// Puts a link of another user in the place of an entry.
fn replace_by_link(path: &Path, target: &str) {
    fs::rename(path, path.with_file_name("away")).unwrap();
    symlink(target, path).unwrap();
    lchown(path, Some(OTHER), None).unwrap();
}

#[test]
fn the_mode_of_a_new_folder_is_set_on_no_file_in_its_place() {
    let Some(dir) = folder_with_a_foreign_folder() else {
        return;
    };
    let new = dir.path().join("up/new");
    for target in ["../key", "../private"] {
        let folder = Tar::new().entry(tar::EntryType::Directory, "up/new/", "", 0o775, b"");
        let act = || replace_by_link(&new, target);
        // The rest of the archive is stored, or an error is reported.
        let _ = interfered(folder, |rest| rest, dir.path(), act);
        fs::remove_file(&new).unwrap();
        fs::remove_dir(dir.path().join("up/away")).unwrap();
    }
    assert_eq!(mode(&dir.path().join("key")), 0o600);
    assert_eq!(mode(&dir.path().join("private")), 0o700);
}

#[test]
fn a_link_in_place_of_a_new_folder_is_not_followed() {
    let Some(dir) = folder_with_a_foreign_folder() else {
        return;
    };
    let first = Tar::new().entry(tar::EntryType::Directory, "up/new/", "", 0o755, b"");
    let act = || replace_by_link(&dir.path().join("up/new"), "../private");
    let then = |rest: Tar| rest.file("up/new/x", b"x");
    let error = interfered(first, then, dir.path(), act).unwrap_err();
    assert!(
        matches!(&error, UnpackError::InTheWay { obstacle, .. } if *obstacle == "a link of another user"),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(dir.path().join("private")).unwrap().count(), 0);
}

#[test]
fn a_hard_link_leads_to_no_file_that_took_the_place_of_its_target() {
    let Some(dir) = folder_with_a_foreign_folder() else {
        return;
    };
    let at = |name: &str| dir.path().join(name);
    let old = |name: &str| {
        fs::write(at(name), "old").unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        lchown(at(name), Some(OTHER), None).unwrap();
    };
    for name in ["up/b", "other"] {
        let _ = fs::remove_file(at("up/a"));
        old("up/b");
        let act = || {
            let part = at("up/.packcast.part-0");
            replace_by_link(&part, "../key");
        };
        let then = |rest: Tar| rest.entry(tar::EntryType::Link, name, "up/a", 0o644, b"");
        interfered(Tar::new().file("up/a", b"new"), then, dir.path(), act).unwrap_err();
        fs::remove_file(at("up/away")).unwrap();
    }
    // The owner of a file can read it.
    assert_eq!(fs::read(at("up/b")).unwrap(), b"old");
    assert!(at("other").symlink_metadata().is_err());
    assert_eq!(fs::metadata(at("key")).unwrap().nlink(), 1);
}

/// An interrupted run leaves such files, and a web server may serve them.
#[test]
fn a_file_without_its_name_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    let act = || {
        let parts = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        found.extend(parts.map(|part| mode(&part.path())));
    };
    let first = Tar::new().file("a", b"a").program("b", "b");
    interfered(first, |rest| rest, dir.path(), act).unwrap();
    assert_eq!(found, [0o600; 3]);
    assert_eq!(mode(&dir.path().join("a")), 0o644);
    assert_eq!(mode(&dir.path().join("b")), 0o755);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn names_modes_and_links_are_preserved() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a b/ü");
    let archive = Tar::new()
        .program("bin/run me", "x")
        .entry(tar::EntryType::Regular, "suid", "", 0o6755, b"s")
        .file(".hidden", b"h")
        .link("link", "bin/run me");
    put(archive, &folder).unwrap();
    assert_eq!(fs::read(folder.join("link")).unwrap(), b"x");
    assert_eq!(fs::read(folder.join(".hidden")).unwrap(), b"h");
    assert_eq!(mode(&folder.join("bin/run me")), 0o755);
    assert_eq!(mode(&folder.join(".hidden")), 0o644);
    assert_eq!(mode(&folder.join("suid")), 0o755);
}

#[test]
fn no_mode_is_wider_than_in_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let modes = [
        0o600, 0o640, 0o400, 0o700, 0o750, 0o711, 0o664, 0o775, 0o555, 0o000,
    ];
    let mut archive = Tar::new();
    for mode in modes {
        let (folder, file) = (format!("d{mode:o}/"), format!("d{mode:o}/f{mode:o}"));
        archive = archive
            .entry(tar::EntryType::Directory, &folder, "", mode, b"")
            .entry(tar::EntryType::Regular, &file, "", mode, b"x");
    }
    // The right of others to write is never given.
    let archive = archive.entry(tar::EntryType::Regular, "shared", "", 0o777, b"x");
    // The entry of a folder may follow its files.
    let archive = archive
        .entry(tar::EntryType::Regular, "late/f", "", 0o644, b"x")
        .entry(tar::EntryType::Directory, "late/", "", 0o700, b"");
    put(archive, dir.path()).unwrap();
    for expected in modes {
        let folder = dir.path().join(format!("d{expected:o}"));
        assert_eq!(mode(&folder), expected, "{expected:o}");
        // Only root can look into a folder without rights.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(mode(&folder.join(format!("f{expected:o}"))), expected);
    }
    assert_eq!(mode(&dir.path().join("shared")), 0o775);
    assert_eq!(mode(&dir.path().join("late")), 0o700);
}

#[test]
fn a_replaced_file_keeps_its_owner_and_its_restrictions() {
    let dir = tempfile::tempdir().unwrap();
    let old = [("key", 0o600), ("open", 0o666), ("script", 0o640)];
    for (name, mode) in old {
        let path = dir.path().join(name);
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let owner = lchown(dir.path().join("key"), Some(65_534), Some(65_533)).is_ok();
    let archive = Tar::new()
        .file("key", b"new")
        .file("open", b"new")
        .program("script", "new");
    put(archive, dir.path()).unwrap();
    let modes = old.map(|(name, _)| mode(&dir.path().join(name)));
    assert_eq!(modes, [0o600, 0o644, 0o750]);
    let key = fs::metadata(dir.path().join("key")).unwrap();
    if owner {
        assert_eq!((key.uid(), key.gid()), (65_534, 65_533));
    } else {
        skip(CHANGING_OWNERS);
    }
    assert_eq!(fs::read(dir.path().join("key")).unwrap(), b"new");
}

/// In a folder such as `/tmp`, anybody could have created the file.
#[test]
fn a_file_in_a_shared_folder_gets_the_agent_as_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = dir.path().join("planted");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let own = fs::metadata(dir.path()).unwrap().uid();
    if lchown(&path, Some(65_534), Some(65_533)).is_err() {
        skip(CHANGING_OWNERS);
        return;
    }
    put(Tar::new().file("planted", b"new"), dir.path()).unwrap();
    let new = fs::metadata(&path).unwrap();
    assert_eq!(new.uid(), own);
    assert_eq!(mode(&path), 0o600, "another group gets no rights");
}

#[test]
fn hard_links_share_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let hard =
        |archive: Tar, name, target| archive.entry(tar::EntryType::Link, name, target, 0o644, b"");
    for content in ["old", "new"] {
        let archive = Tar::new().program("a", content);
        let archive = hard(hard(archive, "d/b", "./a"), "c", "d/b");
        let archive = hard(archive, "c", "a");
        // The later file has the name, and the links keep the earlier one.
        put(archive.file("a", b"later"), dir.path()).unwrap();
        let inode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
        assert_eq!(fs::read_to_string(dir.path().join("c")).unwrap(), content);
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "later");
        assert_eq!(mode(&dir.path().join("c")), 0o755);
        assert_eq!(inode("c"), inode("d/b"));
        assert_ne!(inode("c"), inode("a"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}

/// A member of the folder's group could have created the file.
#[test]
fn a_file_in_a_folder_of_a_group_gets_the_agent_as_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.conf");
    fs::write(&path, "old").unwrap();
    let own = fs::metadata(dir.path()).unwrap().uid();
    if lchown(&path, Some(OTHER), Some(OTHER)).is_err() {
        skip(CHANGING_OWNERS);
        return;
    }
    for (mode, expected) in [(0o755, OTHER), (0o2775, own), (0o757, own)] {
        lchown(&path, Some(OTHER), Some(OTHER)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        put(Tar::new().file("app.conf", b"new"), dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), expected, "{mode:o}");
    }
}

/// Otherwise, everybody could read the content under the other name.
#[test]
fn a_hard_link_in_place_of_a_private_file_is_a_private_copy() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("b"), "old").unwrap();
    fs::set_permissions(at("b"), fs::Permissions::from_mode(0o600)).unwrap();
    let archive = Tar::new().file("a", b"new");
    let archive = archive.entry(tar::EntryType::Link, "b", "a", 0o644, b"");
    put(archive, dir.path()).unwrap();
    assert_eq!((mode(&at("a")), mode(&at("b"))), (0o644, 0o600));
    assert_eq!(fs::read(at("b")).unwrap(), b"new");
}

#[test]
fn many_files_are_stored_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("app");
    fs::create_dir_all(folder.join("f3")).unwrap();
    fs::write(folder.join("f3/.packcast.part-17"), "left over").unwrap();
    fs::write(folder.join("f3/other"), "kept").unwrap();
    for round in 0..2 {
        let mut archive = Tar::new();
        for number in 0..300 {
            let content = format!("{round} {number}");
            archive = archive.file(&format!("f{}/{number}", number / 10), content.as_bytes());
        }
        put(archive, &folder).unwrap();
        for number in 0..300 {
            let path = folder.join(format!("f{}/{number}", number / 10));
            assert_eq!(
                fs::read_to_string(path).unwrap(),
                format!("{round} {number}")
            );
        }
        let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!(names(&folder), 30);
        assert_eq!(names(&folder.join("f3")), 11);
        assert_eq!(names(&folder.join("f4")), 10);
    }
}

#[test]
fn existing_files_are_replaced_or_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("read-only"), "old").unwrap();
    fs::set_permissions(at("read-only"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::write(at("other"), "kept").unwrap();
    fs::write(at(".packcast.part-0"), "left over").unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), at("was-link")).unwrap();
    let archive = Tar::new()
        .file("read-only", b"new")
        .file("was-link", b"new");
    put(archive, dir.path()).unwrap();
    assert_eq!(fs::read(at("read-only")).unwrap(), b"new");
    assert_eq!(fs::read(at("was-link")).unwrap(), b"new");
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
    assert_eq!(fs::read(at("other")).unwrap(), b"kept");
    assert!(!at(".packcast.part-0").exists());
}

#[test]
fn an_existing_link_does_not_lead_outside() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("lib")).unwrap();
    let error = put(Tar::new().file("lib/x", b"x"), dir.path()).unwrap_err();
    assert!(error.to_string().contains("lib/x"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn an_obstacle_is_named() {
    let check = |make: fn(&Path), file: &str, obstacle: &str| {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("x"));
        let error = put(Tar::new().file(file, b"x"), dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(obstacle) && text.contains("/x"), "{text}");
        assert!(!dir.path().join(".packcast.part-0").exists());
    };
    check(|x| fs::create_dir(x).unwrap(), "x", "a folder");
    check(|x| fs::write(x, "").unwrap(), "x/y", "a file");
    check(|x| symlink("/tmp", x).unwrap(), "x/y", "a link");
    check(|x| symlink("..", x).unwrap(), "x/y", "a link");
    check(|x| symlink("nowhere", x).unwrap(), "x/y", "a link");
}

#[test]
fn files_stored_before_an_error_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("d/c")).unwrap();
    let archive = || {
        let folder = Tar::new().of_kind(tar::EntryType::Directory, "e/");
        folder
            .file("a", b"a")
            .file("b", b"b")
            .file("d/c", b"c")
            .file("e/f", b"f")
    };
    let unfinished = store(archive(), dir.path()).unwrap_err();
    assert_eq!(
        unfinished.written.to_string(),
        "2 files were stored, from \"a\" to \"b\""
    );
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"b");
    assert!(!dir.path().join("e/f").exists());
    fs::remove_dir(dir.path().join("d/c")).unwrap();
    store(archive(), dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("e/f")).unwrap(), b"f");
}

#[test]
fn other_names_of_a_file_keep_its_content() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("x"), "kept").unwrap();
    fs::hard_link(outside.path().join("x"), dir.path().join("x")).unwrap();
    put(Tar::new().file("x", b"new"), dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"new");
    assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"kept");
}

#[test]
fn links_inside_are_followed_to_folders_inside() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("releases")).unwrap();
    symlink("releases", dir.path().join("current")).unwrap();
    put(Tar::new().file("current/x", b"x"), dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("releases/x")).unwrap(), b"x");
}

#[test]
fn an_incomplete_file_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), "old").unwrap();
    let mut bytes = Tar::new().file("x", &vec![7; 100_000]).plain();
    bytes.truncate(60_000);
    let (bytes, limits) = (Cursor::new(gzip(&bytes)), Limits::default());
    unpack(TarGz, bytes, &limits, dir.path(), Durability::Lasting).unwrap_err();
    assert!(fs::read(dir.path().join("x")).unwrap() == b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_in_place_of_the_folder_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = put(Tar::new().file("x", b"x"), file.path()).unwrap_err();
    assert!(matches!(&error, UnpackError::Folder { .. }), "{error:?}");
}

#[test]
fn links_of_other_users_are_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = dir.path().join("app");
    fs::create_dir_all(folder.join("releases")).unwrap();
    symlink("releases", folder.join("current")).unwrap();
    symlink(outside.path(), dir.path().join("way")).unwrap();
    let links = [folder.join("current"), dir.path().join("way")];
    let give_to = |user| {
        links
            .iter()
            .all(|link| lchown(link, Some(user), None).is_ok())
    };
    if !give_to(65_534) {
        skip(CHANGING_OWNERS);
        return;
    }
    let inside = || put(Tar::new().file("current/x", b"x"), &folder);
    let on_the_way = || put(Tar::new().file("x", b"x"), &dir.path().join("way/app"));
    assert!(matches!(
        inside(),
        Err(UnpackError::InTheWay {
            obstacle: "a link of another user",
            ..
        })
    ));
    let Err(UnpackError::Folder { path, source }) = on_the_way() else {
        panic!("the link is not followed");
    };
    assert!(path.ends_with("way"), "{}", path.display());
    assert!(
        source.to_string().contains("belongs to user 65534"),
        "{source}"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.join("releases")).unwrap().count(), 0);
    give_to(0);
    inside().unwrap();
    on_the_way().unwrap();
}

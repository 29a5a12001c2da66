//! What unpacking leaves on disk.
#![cfg(unix)]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use packcast_agent::archive::{Limits, Summary, UnpackError, unpack};
use packcast_protocol::ArchiveFormat::TarGz;

use crate::archives::Tar;

fn put(archive: Tar, folder: &Path) -> Result<Summary, UnpackError> {
    unpack(TarGz, Cursor::new(archive.gz()), &Limits::default(), folder)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn names_modes_and_links_arrive() {
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
fn what_is_there_is_replaced_or_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("read-only"), "old").unwrap();
    fs::set_permissions(at("read-only"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::write(at("other"), "kept").unwrap();
    fs::write(at(".packcast.part"), "left over").unwrap();
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
    assert!(!at(".packcast.part").exists());
}

#[test]
fn a_link_that_was_there_leads_nothing_outside() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("lib")).unwrap();
    let error = put(Tar::new().file("lib/x", b"x"), dir.path()).unwrap_err();
    assert!(error.to_string().contains("lib/x"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_in_the_way_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    let error = put(Tar::new().file("x", b"x"), dir.path()).unwrap_err();
    assert!(
        matches!(&error, UnpackError::Write { path, .. } if path.ends_with("x")),
        "{error:?}"
    );
    assert!(!dir.path().join(".packcast.part").exists());
}

#[test]
fn a_file_in_place_of_the_folder_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = put(Tar::new().file("x", b"x"), file.path()).unwrap_err();
    assert!(matches!(&error, UnpackError::Folder { .. }), "{error:?}");
}

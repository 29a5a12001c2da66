//! Objects in a directory.

use std::fs;
use std::io::Write as _;

use bytes::Bytes;
use packcast_protocol::FragmentNumber;
use packcast_store::objects::{PutError, StagingArea};
use packcast_store::{Directory, Objects};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::conformance::{folder, fragment};

fn start() -> (TempDir, Objects) {
    let place = tempfile::tempdir().unwrap();
    let objects = Objects::Directory(Directory::new(place.path().join("objects")));
    (place, objects)
}

conforms!(Some(start()));

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[(
    "§8.21: info is fetched once, so a published object must never change",
    different_bytes_are_refused,
)];

/// Returns every file below the directory, complete or not.
fn files(place: &TempDir) -> Vec<String> {
    let mut folders = vec![place.path().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    files
}

#[tokio::test]
async fn a_file_gets_its_name_when_it_is_complete() {
    let (place, objects) = start();
    let (sender, chunks) = mpsc::channel(1);
    let key = fragment(0);
    let watch = async {
        sender.send(Bytes::from_static(b"ab")).await.unwrap();
        // The writer takes the second chunk only after it has written the first.
        sender.send(Bytes::from_static(b"cd")).await.unwrap();
        sender.reserve().await.unwrap();
        assert!(objects.list(&folder()).await.unwrap().is_empty());
        let partial = files(&place);
        assert!(
            matches!(partial.as_slice(), [name] if name.starts_with(".partial-")),
            "{partial:?}"
        );
        drop(sender);
    };
    let (put, ()) = tokio::join!(objects.put(&key, 4, chunks), watch);
    put.unwrap();
    assert_eq!(files(&place), ["1795327754-1"]);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_not_listed() {
    let (place, objects) = start();
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    let stray = "objects/d/segment/1795327754/.partial-x1y2z3";
    fs::write(place.path().join(stray), "a").unwrap();
    assert_eq!(objects.list(&folder()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_with_their_folder() {
    let (place, objects) = start();
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    let stray = "objects/d/segment/1795327754/.partial-x1y2z3";
    fs::write(place.path().join(stray), "a").unwrap();
    assert_eq!(objects.delete(&folder()).await.unwrap(), 1);
    assert!(!place.path().join("objects/d/segment").exists());
}

#[tokio::test]
async fn a_failed_put_leaves_no_file() {
    let (place, objects) = start();
    let (sender, chunks) = mpsc::channel(1);
    sender.try_send(Bytes::from_static(b"abc")).unwrap();
    drop(sender);
    let refused = objects.put(&fragment(0), 9, chunks).await;
    assert!(matches!(refused, Err(PutError::Length { given: 3, .. })));
    assert!(files(&place).is_empty());
}

fn stage(area: &StagingArea, index: u32, bytes: &str) {
    let file = area.create(FragmentNumber::from_index(index));
    file.unwrap().write_all(bytes.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_staged_file_becomes_an_object_and_the_others_are_removed() {
    let (place, objects) = start();
    let staging = objects.stage().unwrap().unwrap();
    let area = staging.area();
    for index in 0..3 {
        stage(&area, index, "abc");
    }
    assert!(objects.list(&folder()).await.unwrap().is_empty());
    let put = |index| vec![(FragmentNumber::from_index(index), fragment(0))];
    area.put(put(0)).await.unwrap();
    area.put(put(1)).await.unwrap();
    stage(&area, 3, "other");
    let refused = area.put(put(3)).await;
    assert!(matches!(refused, Err(PutError::Conflict { .. })));
    let object = objects.get(&fragment(0), 9).await.unwrap().unwrap();
    assert_eq!(object, "abc");
    drop(staging);
    assert!(area.create(FragmentNumber::from_index(4)).is_err());
    let mut files = files(&place);
    files.sort_unstable();
    assert_eq!(files, ["1795327754-1", "lock"]);
}

#[tokio::test]
async fn staged_files_of_a_killed_publisher_are_removed_by_the_next() {
    let (place, objects) = start();
    let living = objects.stage().unwrap().unwrap();
    stage(&living.area(), 0, "abc");
    let dead = place.path().join("objects/.staging/publisher-dead");
    fs::create_dir(&dead).unwrap();
    for name in ["lock", ".partial-1"] {
        fs::write(dead.join(name), "").unwrap();
    }
    let _next = objects.stage().unwrap().unwrap();
    assert!(!dead.exists());
    let first = vec![(FragmentNumber::from_index(0), fragment(0))];
    living.area().put(first).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_for_staged_files_that_is_a_link_or_open_to_others_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (place, objects) = start();
    let home = place.path().join("home");
    for folder in ["photos", "publisher-notes"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    fs::write(home.join("lock"), "content").unwrap();
    let staging = place.path().join("objects/.staging");
    fs::create_dir_all(staging.parent().unwrap()).unwrap();
    symlink(&home, &staging).unwrap();
    objects.stage().unwrap_err();
    fs::remove_file(&staging).unwrap();
    fs::rename(&home, &staging).unwrap();
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o777)).unwrap();
    objects.stage().unwrap_err();
    assert!(staging.join("photos").exists() && staging.join("publisher-notes").exists());
    assert_eq!(fs::read_to_string(staging.join("lock")).unwrap(), "content");
}

#[cfg(unix)]
#[tokio::test]
async fn a_web_server_can_read_published_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, objects) = start();
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    let path = place.path().join("objects").join(fragment(0).path());
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444);
}

#[tokio::test]
async fn an_error_names_a_place_that_is_not_a_directory() {
    let (place, objects) = start();
    fs::write(place.path().join("objects"), "a file").unwrap();
    let refused = objects.put_bytes(&fragment(0), "abc".into()).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains(fragment(0).path()), "{error}");
    assert!(
        error.contains(&place.path().display().to_string()),
        "{error}"
    );
}

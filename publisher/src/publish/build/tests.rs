//! Tests of stored fragments: staged, kept, changed and refused.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use packcast_archive::Limits;
use packcast_protocol::FragmentSize;
use packcast_protocol::manifest::Platform;
use packcast_store::Directory;

use super::*;
use crate::rendered::messages;

fn open(path: &Path) -> Source {
    Source::open(path, Platform::Any, None).unwrap()
}

/// Ten fragments that gzip cannot make smaller.
fn archive(folder: &std::path::Path) -> std::path::PathBuf {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    });
    let inside = folder.join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(
        inside.join("noise"),
        noise.take(10_000).collect::<Vec<u8>>(),
    )
    .unwrap();
    let path = folder.join("archive.tar.gz");
    let packed = open(&inside);
    let mut packed = packed.archive(&Progress::none()).unwrap().reader();
    io::copy(&mut packed, &mut File::create(&path).unwrap()).unwrap();
    path
}

#[tokio::test]
async fn a_fragment_that_changed_is_never_stored() {
    let place = tempfile::tempdir().unwrap();
    let path = archive(place.path());
    let source = open(&path);
    let size = FragmentSize::try_from(1024).unwrap();
    let inspection = source
        .inspect(&Limits::default(), Some(size), &Progress::none())
        .unwrap();
    let archive = &inspection.archive.archive;
    let count = archive.fragment_count().get();
    let objects = Objects::Directory(Directory::new(place.path().join("objects")));
    let folder: ObjectPath = "d/x".parse().unwrap();
    let id = "1795000000".parse().unwrap();
    let unseen = Progress::none();
    let run = async |source: &Source| build(source, archive, &folder, id, &objects, &unseen).await;

    let whole = std::fs::read(&path).unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut put = |byte: u8| {
        file.seek(SeekFrom::Start(5000)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    put(!whole[5000]);
    let refused = run(&source).await;
    assert!(matches!(refused, Err(BuildError::Changed { path: changed }) if changed == path));
    let changed = ObjectKey::fragment(
        &folder,
        id,
        packcast_protocol::FragmentNumber::from_index(4),
    );
    assert!(
        !objects
            .list(&folder)
            .await
            .unwrap()
            .contains_key(changed.path())
    );

    put(whole[5000]);
    // The missing fragments are right again, but the file was written to.
    let refused = run(&source).await;
    assert!(matches!(refused, Err(BuildError::Changed { path: changed }) if changed == path));
    assert_eq!(objects.list(&folder).await.unwrap().len(), count as usize);
    assert_eq!(run(&open(&path)).await.unwrap().fragments, count);
}

#[tokio::test]
async fn a_stored_fragment_with_other_bytes_of_the_same_length_is_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let path = archive(place.path());
    let source = open(&path);
    let size = FragmentSize::try_from(1024).unwrap();
    let inspection = source
        .inspect(&Limits::default(), Some(size), &Progress::none())
        .unwrap();
    let archive = &inspection.archive.archive;
    let directory = Directory::new(place.path().join("objects"));
    let objects = Objects::Directory(directory.clone());
    let folder: ObjectPath = "d/x".parse().unwrap();
    let id = "1795000000".parse().unwrap();
    let unseen = Progress::none();
    let run = || build(&source, archive, &folder, id, &objects, &unseen);

    run().await.unwrap();
    let number = packcast_protocol::FragmentNumber::from_index(1);
    let key = ObjectKey::fragment(&folder, id, number);
    let file = directory.root().join(key.path());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = run().await;
    assert!(
        matches!(&refused, Err(BuildError::Put(PutError::Conflict { path })) if path == key.path()),
        "{refused:?}"
    );
}

/// An archive whose fragments were staged during the inspection.
struct StagedArchive {
    place: tempfile::TempDir,
    source: Source,
    archive: Archive,
    objects: Objects,
    _staging: packcast_store::objects::Staging,
}

impl StagedArchive {
    /// Inspects an archive, after `prepare` has used the place of the staged fragments.
    fn inspect(prepare: impl FnOnce(&packcast_store::objects::StagingArea)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let objects = Objects::Directory(Directory::new(place.path().join("objects")));
        let staging = objects.stage().unwrap().unwrap();
        prepare(&staging.area());
        let mut source = open(&archive(place.path()));
        source.stage_in(staging.area());
        let size = FragmentSize::try_from(1024).unwrap();
        let inspection = source.inspect(&Limits::default(), Some(size), &Progress::none());
        Self {
            archive: inspection.unwrap().archive.archive,
            place,
            source,
            objects,
            _staging: staging,
        }
    }

    async fn build(&self) -> Result<KeptFragments, BuildError> {
        let (folder, id) = (Self::folder(), "1795000000".parse().unwrap());
        let unseen = Progress::none();
        let (source, archive) = (&self.source, &self.archive);
        build(source, archive, &folder, id, &self.objects, &unseen).await
    }

    fn folder() -> ObjectPath {
        "d/x".parse().unwrap()
    }

    fn file(&self, index: u32) -> PathBuf {
        let number = FragmentNumber::from_index(index);
        let key = ObjectKey::fragment(&Self::folder(), "1795000000".parse().unwrap(), number);
        self.place.path().join("objects").join(key.path())
    }

    /// Expects that the objects are the archive.
    fn expect_whole(&self) {
        let files = (0..self.archive.fragment_count().get()).map(|index| self.file(index));
        let bytes: Vec<u8> = files
            .flat_map(|file| std::fs::read(file).unwrap())
            .collect();
        assert_eq!(Sha256Digest::of(&bytes), self.archive.sha256());
    }
}

#[tokio::test]
async fn staged_fragments_are_the_archive() {
    let staged = StagedArchive::inspect(|_| {});
    assert!(staged.source.staged.get().is_some());
    assert_eq!(staged.build().await.unwrap(), KeptFragments::default());
    staged.expect_whole();
}

#[tokio::test]
async fn stored_fragments_are_kept_and_the_missing_ones_are_staged() {
    let staged = StagedArchive::inspect(|_| {});
    let count = staged.archive.fragment_count().get();
    let source = open(staged.source.path());
    let (folder, id) = (StagedArchive::folder(), "1795000000".parse().unwrap());
    let (archive, objects) = (&staged.archive, &staged.objects);
    let unseen = Progress::none();
    let unstaged = build(&source, archive, &folder, id, objects, &unseen);
    assert_eq!(unstaged.await.unwrap(), KeptFragments::default());
    for index in [1, 4] {
        std::fs::remove_file(staged.file(index)).unwrap();
    }
    assert_eq!(staged.build().await.unwrap().fragments, count - 2);
    staged.expect_whole();
}

#[tokio::test]
async fn a_source_that_changed_after_its_fragments_were_staged_is_refused() {
    let staged = StagedArchive::inspect(|_| {});
    let file = File::options()
        .write(true)
        .open(staged.source.path())
        .unwrap();
    // Two changes within one tick of the clock have the same time.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    file.set_modified(later).unwrap();
    assert!(matches!(
        staged.build().await,
        Err(BuildError::Changed { .. })
    ));
    let stored = staged.objects.list(&StagedArchive::folder()).await;
    assert!(stored.unwrap().is_empty());
}

#[tokio::test]
async fn fragments_are_uploaded_if_one_cannot_be_staged() {
    let staged = StagedArchive::inspect(|area| {
        // A file is in the place of the fourth fragment.
        area.create(FragmentNumber::from_index(3)).unwrap();
    });
    assert!(staged.source.staged.get().is_none());
    assert_eq!(staged.build().await.unwrap(), KeptFragments::default());
    staged.expect_whole();
}

#[test]
fn small_fragments_are_uploaded_in_parallel_within_the_memory() {
    let parallel = [0, 1 << 10, 1 << 20, 4 << 20, 8 << 20, 1 << 30].map(parallel);
    assert_eq!(parallel, [16, 16, 12, 4, 4, 4]);
}

#[test]
fn messages_of_build_errors() {
    let errors = [
        BuildError::Read {
            path: "/x".into(),
            source: io::Error::other("cause"),
        },
        BuildError::Changed { path: "/x".into() },
        BuildError::Put(PutError::Conflict {
            path: "p".to_owned(),
        }),
        BuildError::List(GetError::TooLarge {
            path: "p".to_owned(),
            limit: 1,
        }),
        BuildError::Compare(GetError::TooLarge {
            path: "p".to_owned(),
            limit: 1,
        }),
        BuildError::Stopped,
    ];
    insta::assert_snapshot!(messages(errors), @r"
    cannot read /x
    cannot publish /x: it changed during the publication
    cannot store a fragment
    cannot list the stored objects
    cannot compare a stored fragment with the source
    cannot upload the fragments: a task of the publisher stopped
    ");
}

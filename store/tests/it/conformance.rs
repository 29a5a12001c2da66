//! The rules of objects, turned into tests for each kind of storage.

use bytes::Bytes;
use packcast_protocol::{FragmentNumber, ObjectPath, PackageId, Sha256Digest};
use packcast_rollout::LocationRecord;
use packcast_store::objects::{GetError, Put, PutError, StoredDigest};
use packcast_store::{ObjectKey, Objects};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) fn id() -> PackageId {
    "1795327754".parse().unwrap()
}

pub(crate) fn folder() -> ObjectPath {
    "d/segment".parse().unwrap()
}

pub(crate) fn fragment(index: u32) -> ObjectKey {
    ObjectKey::fragment(&folder(), id(), FragmentNumber::from_index(index))
}

/// Puts an object in these chunks, with `bytes` as its announced length.
pub(crate) async fn put(
    objects: &Objects,
    key: &ObjectKey,
    bytes: u64,
    chunks: &[&'static [u8]],
) -> Result<Put, PutError> {
    let (sender, receiver) = mpsc::channel(chunks.len().max(1));
    for chunk in chunks {
        sender.try_send(Bytes::from_static(chunk)).unwrap();
    }
    drop(sender);
    objects.put(key, bytes, receiver).await
}

pub(crate) async fn an_object_can_be_read_after_it_was_put(objects: Objects) {
    let key = fragment(0);
    let written = put(&objects, &key, 5, &[b"ab", b"", b"cde"]).await.unwrap();
    assert_eq!(written, Put::Written);
    let read = objects.get(&key, 5).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"abcde"[..]));
    assert_eq!(objects.get(&fragment(1), 5).await.unwrap(), None);
}

pub(crate) async fn an_object_may_be_empty(objects: Objects) {
    let key = fragment(0);
    let written = objects.put_bytes(&key, Bytes::new()).await.unwrap();
    assert_eq!(written, Put::Written);
    assert_eq!(objects.get(&key, 0).await.unwrap(), Some(Bytes::new()));
}

pub(crate) async fn putting_the_same_bytes_again_finds_them_present(objects: Objects) {
    let bytes = Bytes::from(vec![7; 200_000]);
    let first = objects.put_bytes(&fragment(0), bytes.clone()).await;
    assert_eq!(first.unwrap(), Put::Written);
    let second = objects.put_bytes(&fragment(0), bytes).await;
    assert_eq!(second.unwrap(), Put::Present);
}

pub(crate) async fn different_bytes_are_refused(objects: Objects) {
    let key = fragment(0);
    let good = Bytes::from(vec![7; 200_000]);
    objects.put_bytes(&key, good.clone()).await.unwrap();
    let mut last_differs = good.to_vec();
    last_differs[199_999] = 8;
    for other in [last_differs, vec![7; 100], Vec::new()] {
        let refused = objects.put_bytes(&key, other.into()).await;
        assert!(
            matches!(&refused, Err(PutError::Conflict { path }) if path == key.path()),
            "{refused:?}"
        );
    }
    assert_eq!(objects.get(&key, 200_000).await.unwrap(), Some(good));
}

pub(crate) async fn bytes_with_another_digest_are_refused(objects: Objects) {
    let (key, digest) = (fragment(0), Sha256Digest::of(b"abc"));
    let refused = objects.put_verified(&key, "abd".into(), digest).await;
    assert!(
        matches!(&refused, Err(PutError::Digest { path }) if path == key.path()),
        "{refused:?}"
    );
    assert_eq!(objects.get(&key, 3).await.unwrap(), None);
    let written = objects.put_verified(&key, "abc".into(), digest).await;
    assert_eq!(written.unwrap(), Put::Written);
}

pub(crate) async fn too_few_or_too_many_bytes_leave_no_object(objects: Objects) {
    for (bytes, given) in [(4, 3), (2, 3)] {
        let refused = put(&objects, &fragment(0), bytes, &[b"abc"]).await;
        assert!(
            matches!(refused, Err(PutError::Length { expected, given: got, .. })
                if expected == bytes && got == given),
            "{refused:?}"
        );
    }
    assert!(objects.list(&folder()).await.unwrap().is_empty());
    assert_eq!(objects.get(&fragment(0), 9).await.unwrap(), None);
}

pub(crate) async fn a_folder_lists_the_objects_below_it(objects: Objects) {
    assert!(objects.list(&folder()).await.unwrap().is_empty());
    let site = LocationRecord {
        name: "site".parse().unwrap(),
        location: "cdn.example.net".parse().unwrap(),
    };
    let (first, info) = (fragment(0), ObjectKey::info(&folder(), &site, id()));
    let elsewhere = ObjectKey::manifest(&"d/segments".parse().unwrap(), id());
    for (key, bytes) in [(&first, "abc"), (&info, "<D/>"), (&elsewhere, "{}")] {
        objects.put_bytes(key, bytes.into()).await.unwrap();
    }
    let listed: Vec<_> = objects.list(&folder()).await.unwrap().into_iter().collect();
    assert_eq!(
        listed,
        [(first.path().to_owned(), 3), (info.path().to_owned(), 4),]
    );
}

pub(crate) async fn an_object_above_the_limit_is_not_read(objects: Objects) {
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    let refused = objects.get(&fragment(0), 2).await;
    assert!(matches!(refused, Err(GetError::TooLarge { limit: 2, .. })));
}

pub(crate) async fn the_digest_of_an_object_is_that_of_its_bytes(objects: Objects) {
    let key = fragment(0);
    assert_eq!(objects.digest(&key, 3).await.unwrap(), None);
    objects.put_bytes(&key, "abc".into()).await.unwrap();
    let digest = objects.digest(&key, 3).await.unwrap();
    let expected = StoredDigest::Whole(Sha256Digest::of(b"abc"));
    assert_eq!(digest, Some(expected));
    assert_eq!(objects.digest(&key, 4).await.unwrap(), None);
}

pub(crate) async fn of_concurrent_writers_exactly_one_writes(objects: Objects) {
    let bytes = Bytes::from(vec![1; 50_000]);
    let (first, key) = (fragment(0), fragment(0));
    let (one, other) = tokio::join!(
        objects.put_bytes(&first, bytes.clone()),
        objects.put_bytes(&key, bytes.clone()),
    );
    let mut puts = [one.unwrap(), other.unwrap()];
    puts.sort_by_key(|put| *put == Put::Present);
    assert_eq!(puts, [Put::Written, Put::Present]);
}

pub(crate) async fn of_concurrent_writers_of_different_bytes_exactly_one_writes(objects: Objects) {
    let write = |byte: u8| {
        let (objects, key) = (objects.clone(), fragment(0));
        async move { objects.put_bytes(&key, vec![byte; 50_000].into()).await }
    };
    let mut writers: JoinSet<_> = (0..8).map(write).collect();
    let (mut written, mut refused) = (0, 0);
    while let Some(put) = writers.join_next().await {
        match put.unwrap() {
            Ok(Put::Written) => written += 1,
            Err(PutError::Conflict { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((written, refused), (1, 7));
}

/// The length of an object that a bucket receives in two full parts and a small one.
const LARGE_BYTES: usize = (16 << 20) + 3;

/// Puts a large object of zeros in chunks, with `last` as its last byte.
async fn put_large(objects: &Objects, key: &ObjectKey, last: u8) -> Result<Put, PutError> {
    let (sender, receiver) = mpsc::channel(4);
    let send = async {
        let zeros = Bytes::from(vec![0; 1 << 18]);
        for _ in 0..LARGE_BYTES / zeros.len() {
            // If the receiver is gone, the put itself returns the error.
            let _ = sender.send(zeros.clone()).await;
        }
        let _ = sender.send(Bytes::copy_from_slice(&[0, 0, last])).await;
        drop(sender);
    };
    let (put, ()) = tokio::join!(objects.put(key, LARGE_BYTES as u64, receiver), send);
    put
}

pub(crate) async fn a_large_object_is_stored_completely(objects: Objects) {
    let key = fragment(0);
    assert_eq!(put_large(&objects, &key, 1).await.unwrap(), Put::Written);
    let listed = objects.list(&folder()).await.unwrap();
    assert_eq!(listed.get(key.path()), Some(&(LARGE_BYTES as u64)));
    let read = objects.get(&key, LARGE_BYTES as u64).await.unwrap();
    let read = read.unwrap();
    assert_eq!(read.len(), LARGE_BYTES);
    assert!(read[..LARGE_BYTES - 1].iter().all(|byte| *byte == 0) && read.ends_with(&[1]));
}

pub(crate) async fn a_large_object_never_changes(objects: Objects) {
    let key = fragment(0);
    put_large(&objects, &key, 1).await.unwrap();
    assert_eq!(put_large(&objects, &key, 1).await.unwrap(), Put::Present);
    let refused = put_large(&objects, &key, 2).await;
    assert!(
        matches!(refused, Err(PutError::Conflict { .. })),
        "{refused:?}"
    );
}

pub(crate) async fn a_large_object_that_ends_early_leaves_nothing(objects: Objects) {
    let (sender, receiver) = mpsc::channel(1);
    let send = async move {
        let bytes = Bytes::from(vec![0; LARGE_BYTES - 1]);
        let _ = sender.send(bytes).await;
    };
    let key = fragment(0);
    let (put, ()) = tokio::join!(objects.put(&key, LARGE_BYTES as u64, receiver), send);
    assert!(matches!(put, Err(PutError::Length { .. })), "{put:?}");
    assert!(objects.list(&folder()).await.unwrap().is_empty());
}

pub(crate) async fn removing_a_folder_leaves_its_neighbours(objects: Objects) {
    let neighbour = ObjectKey::manifest(&"d/segments".parse().unwrap(), id());
    for key in [&fragment(0), &fragment(1), &neighbour] {
        objects.put_bytes(key, "abc".into()).await.unwrap();
    }
    assert_eq!(objects.delete(&folder()).await.unwrap(), 2);
    assert!(objects.list(&folder()).await.unwrap().is_empty());
    assert!(objects.get(&neighbour, 3).await.unwrap().is_some());
    assert_eq!(objects.delete(&folder()).await.unwrap(), 0);
    let again = objects.put_bytes(&fragment(0), "other".into()).await;
    assert_eq!(again.unwrap(), Put::Written);
}

pub(crate) async fn more_objects_than_one_page_are_listed_and_removed(objects: Objects) {
    const OBJECTS: u32 = 1005;
    const AT_ONCE: usize = 16;
    let put = |index| {
        let objects = objects.clone();
        async move { objects.put_bytes(&fragment(index), "a".into()).await }
    };
    let mut puts: JoinSet<Result<Put, PutError>> = JoinSet::new();
    for index in 0..OBJECTS {
        if puts.len() == AT_ONCE {
            puts.join_next().await.unwrap().unwrap().unwrap();
        }
        puts.spawn(put(index));
    }
    puts.join_all().await;
    assert_eq!(
        objects.list(&folder()).await.unwrap().len(),
        OBJECTS as usize
    );
    assert_eq!(objects.delete(&folder()).await.unwrap(), u64::from(OBJECTS));
    assert!(objects.list(&folder()).await.unwrap().is_empty());
}

/// Turns each rule into a test of the objects that `$start` returns, with the value that keeps
/// them alive; the test is skipped where `$start` returns `None`.
macro_rules! conforms {
    ($start:expr; $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                if let Some((_kept, objects)) = $start {
                    crate::conformance::$rule(objects).await;
                }
            }
        )+
    };
    ($start:expr) => {
        conforms! {
            $start;
            an_object_can_be_read_after_it_was_put
            an_object_may_be_empty
            putting_the_same_bytes_again_finds_them_present
            different_bytes_are_refused
            bytes_with_another_digest_are_refused
            too_few_or_too_many_bytes_leave_no_object
            a_folder_lists_the_objects_below_it
            an_object_above_the_limit_is_not_read
            the_digest_of_an_object_is_that_of_its_bytes
            of_concurrent_writers_exactly_one_writes
            of_concurrent_writers_of_different_bytes_exactly_one_writes
            a_large_object_is_stored_completely
            a_large_object_never_changes
            a_large_object_that_ends_early_leaves_nothing
            removing_a_folder_leaves_its_neighbours
            more_objects_than_one_page_are_listed_and_removed
        }
    };
}

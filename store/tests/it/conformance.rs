//! The rules of objects, stamped for each place that holds them.

use bytes::Bytes;
use packcast_protocol::{FragmentNumber, ObjectPath, PackageId};
use packcast_rollout::LocationRecord;
use packcast_store::objects::{GetError, Put, PutError};
use packcast_store::{ObjectKey, Objects};
use tokio::sync::mpsc;

pub(crate) fn id() -> PackageId {
    "1795327754".parse().unwrap()
}

pub(crate) fn folder() -> ObjectPath {
    "d/segment".parse().unwrap()
}

pub(crate) fn fragment(index: u32) -> ObjectKey {
    ObjectKey::fragment(&folder(), id(), FragmentNumber::from_index(index))
}

/// Puts what is sent in these chunks, announced as `bytes` bytes.
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

pub(crate) async fn what_was_put_is_there(objects: Objects) {
    let key = fragment(0);
    let written = put(&objects, &key, 5, &[b"ab", b"", b"cde"]).await.unwrap();
    assert_eq!(written, Put::Written);
    let read = objects.get(&key, 5).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"abcde"[..]));
    assert_eq!(objects.get(&fragment(1), 5).await.unwrap(), None);
}

pub(crate) async fn an_empty_object_is_one(objects: Objects) {
    let key = fragment(0);
    let written = objects.put_bytes(&key, Bytes::new()).await.unwrap();
    assert_eq!(written, Put::Written);
    assert_eq!(objects.get(&key, 0).await.unwrap(), Some(Bytes::new()));
}

pub(crate) async fn the_same_bytes_are_present(objects: Objects) {
    let bytes = Bytes::from(vec![7; 200_000]);
    let first = objects.put_bytes(&fragment(0), bytes.clone()).await;
    assert_eq!(first.unwrap(), Put::Written);
    let second = objects.put_bytes(&fragment(0), bytes).await;
    assert_eq!(second.unwrap(), Put::Present);
}

pub(crate) async fn other_bytes_are_refused(objects: Objects) {
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

pub(crate) async fn too_few_or_too_many_bytes_leave_nothing(objects: Objects) {
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

pub(crate) async fn a_folder_lists_what_is_below_it(objects: Objects) {
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

pub(crate) async fn a_larger_object_than_asked_for_is_not_read(objects: Objects) {
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    let refused = objects.get(&fragment(0), 2).await;
    assert!(matches!(refused, Err(GetError::TooLarge { limit: 2, .. })));
}

pub(crate) async fn of_writers_at_once_one_writes(objects: Objects) {
    let bytes = Bytes::from(vec![1; 50_000]);
    let (first, key) = (fragment(0), fragment(0));
    let (one, other) = tokio::join!(
        objects.put_bytes(&first, bytes.clone()),
        objects.put_bytes(&key, bytes.clone()),
    );
    let mut came = [one.unwrap(), other.unwrap()];
    came.sort_by_key(|put| *put == Put::Present);
    assert_eq!(came, [Put::Written, Put::Present]);
}

/// Makes each rule a test of the objects that an expression gives, with what keeps them alive.
macro_rules! conforms {
    ($start:expr; $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let (_kept, objects) = $start;
                crate::conformance::$rule(objects).await;
            }
        )+
    };
    ($start:expr) => {
        conforms! {
            $start;
            what_was_put_is_there
            an_empty_object_is_one
            the_same_bytes_are_present
            other_bytes_are_refused
            too_few_or_too_many_bytes_leave_nothing
            a_folder_lists_what_is_below_it
            a_larger_object_than_asked_for_is_not_read
            of_writers_at_once_one_writes
        }
    };
}

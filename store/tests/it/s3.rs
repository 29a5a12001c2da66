//! Objects in a bucket, on the engines whose addresses are in environment variables.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use packcast_protocol::Sha256Digest;
use packcast_store::ObjectKey;
use packcast_store::objects::{PartsHasher, StoredDigest};
use packcast_testing::bucket::{LOCALSTACK, MINISTACK, TestBucket};

use crate::conformance::{folder, fragment, id, put};

/// Unsigned requests to a bucket.
trait UnsignedRequests {
    /// Sends a request, and returns the answer with its head in lower case.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String;

    /// Returns the head of the answer to a request for an object.
    fn head(&self, key: &ObjectKey) -> String {
        let path = format!("/{}", key.path());
        self.ask("HEAD", &path, "x-amz-checksum-mode: ENABLED\r\n", "")
    }

    /// Returns the number of uploads that are not completed.
    fn unfinished(&self) -> usize {
        let answer = self.ask("GET", "/?uploads", "", "");
        assert!(answer.contains("ListMultipartUploadsResult"), "{answer}");
        answer.matches("<Upload>").count()
    }
}

impl UnsignedRequests for TestBucket {
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let address = self.engine;
        let mut stream = TcpStream::connect(address).unwrap();
        let (name, length) = (&self.name, body.len());
        let request = format!(
            "{method} /{name}{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             {headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) => format!("{}\r\n\r\n{body}", head.to_lowercase()),
            None => answer,
        }
    }
}

/// Turns each rule that holds for buckets only into a test.
macro_rules! bucket_rules {
    ($engine:expr; $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                if let Some(bucket) = TestBucket::on($engine).await {
                    super::$rule(bucket).await;
                }
            }
        )+
    };
    ($engine:expr) => {
        conforms!(TestBucket::on($engine).await.map(|bucket| ((), bucket.objects)));
        bucket_rules! {
            $engine;
            a_bucket_is_created_once
            the_store_checks_bytes
            digests_are_those_that_the_bucket_computed
            an_object_without_a_digest_is_read
            objects_are_served_with_the_headers_of_their_keys
            uploads_that_end_early_are_aborted
            abandoned_uploads_are_removed_with_their_folder
        }
    };
}

async fn objects_are_served_with_the_headers_of_their_keys(bucket: TestBucket) {
    let objects = &bucket.objects;
    let manifest = ObjectKey::manifest(&folder(), id());
    let large = Bytes::from(vec![0; (8 << 20) + 1]);
    for (key, bytes) in [(manifest, Bytes::from("{}")), (fragment(0), large)] {
        objects.put_bytes(&key, bytes).await.unwrap();
        let head = bucket.head(&key);
        for line in [
            format!("content-type: {}", key.headers().content_type),
            format!("cache-control: {}", key.headers().cache_control),
        ] {
            assert!(head.contains(&line), "{line}: {head}");
        }
    }
}

async fn a_bucket_is_created_once(bucket: TestBucket) {
    let objects = &bucket.objects;
    objects.put_bytes(&fragment(0), "abc".into()).await.unwrap();
    bucket.owner.create_bucket().await.unwrap();
    assert!(objects.get(&fragment(0), 3).await.unwrap().is_some());
}

async fn the_store_checks_bytes(bucket: TestBucket) {
    let objects = &bucket.objects;
    let large = Bytes::from(vec![0; (8 << 20) + 1]);
    for (key, bytes) in [(fragment(0), Bytes::from("abc")), (fragment(1), large)] {
        objects.put_bytes(&key, bytes).await.unwrap();
        let head = bucket.head(&key);
        assert!(head.contains("x-amz-checksum-sha256: "), "{head}");
    }
    let wrong = format!("x-amz-checksum-sha256: {}=\r\n", "A".repeat(43));
    let answer = bucket.ask("PUT", "/d/wrong", &wrong, "abc");
    assert!(answer.starts_with("http/1.1 400 "), "{answer}");
}

async fn digests_are_those_that_the_bucket_computed(bucket: TestBucket) {
    let objects = &bucket.objects;
    let large = vec![5; (8 << 20) + 1];
    for (index, bytes) in [(0, b"abc".to_vec()), (1, large)] {
        let (key, length) = (fragment(index), bytes.len() as u64);
        objects.put_bytes(&key, bytes.clone().into()).await.unwrap();
        let stored = objects.digest(&key, length).await.unwrap().unwrap();
        let is_equal = |other: &[u8]| match stored {
            StoredDigest::Whole(digest) => index == 0 && digest == Sha256Digest::of(other),
            StoredDigest::Parts { part_bytes, digest } => {
                let mut hasher = PartsHasher::new(part_bytes);
                hasher.update(other);
                index == 1 && hasher.finish() == digest
            }
        };
        assert!(is_equal(&bytes), "{stored:?}");
        let mut other = bytes;
        *other.last_mut().unwrap() ^= 1;
        assert!(!is_equal(&other), "{stored:?}");
    }
}

async fn an_object_without_a_digest_is_read(bucket: TestBucket) {
    let key = fragment(0);
    let path = format!("/{}", key.path());
    let answer = bucket.ask("PUT", &path, "x-amz-checksum-crc32: NSRBwg==\r\n", "abc");
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    let digest = bucket.objects.digest(&key, 3).await.unwrap();
    let expected = StoredDigest::Whole(Sha256Digest::of(b"abc"));
    assert_eq!(digest, Some(expected));
}

async fn uploads_that_end_early_are_aborted(bucket: TestBucket) {
    let objects = &bucket.objects;
    let broken = put(objects, &fragment(0), 9 << 20, &[b"abc"]).await;
    broken.unwrap_err();
    assert_eq!(bucket.unfinished(), 0);
}

async fn abandoned_uploads_are_removed_with_their_folder(bucket: TestBucket) {
    let objects = &bucket.objects;
    for path in [fragment(0).path(), "d/segments/other"] {
        let begun = bucket.ask("POST", &format!("/{path}?uploads"), "", "");
        assert!(begun.starts_with("http/1.1 200 "), "{begun}");
    }
    assert_eq!(bucket.unfinished(), 2);
    assert_eq!(objects.delete(&folder()).await.unwrap(), 0);
    assert_eq!(bucket.unfinished(), 1);
}

mod localstack {
    use super::{LOCALSTACK, TestBucket};

    bucket_rules!(LOCALSTACK);
}

mod ministack {
    use super::{MINISTACK, TestBucket};

    bucket_rules!(MINISTACK);
}

//! Writing an object: in one request, or in parts if it is large.
//!
//! The body of a request is kept in memory, so that the SDK can repeat the request. This takes at
//! most one part for each upload in progress.

use std::mem;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::checksum;
use super::client::S3;
use super::connect::upload_settings;
use super::error::{BucketError, CONDITIONAL_CONFLICT};
use super::part::{PART_BYTES, part_bytes};
use crate::key::ObjectKey;
use crate::objects::backend::Put;
use crate::objects::error::PutError;

/// Condition of a write that never replaces an object.
const ABSENT: &str = "*";

/// Error code of a body whose digest is not the one in the request.
const OTHER_DIGEST: &str = "BadDigest";

/// An object that is arriving, with the digest of the bytes so far.
struct Incoming<'a> {
    key: &'a ObjectKey,
    bytes: u64,
    given: u64,
    digest: Sha256,
    chunks: mpsc::Receiver<Bytes>,
    /// Bytes that arrived beyond the last part.
    rest: Bytes,
}

impl Incoming<'_> {
    /// Returns the next `bytes` bytes. Fails if fewer arrive.
    async fn take(&mut self, bytes: u64) -> Result<Bytes, PutError> {
        let mut part = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0));
        while (part.len() as u64) < bytes {
            let mut chunk = mem::take(&mut self.rest);
            if chunk.is_empty() {
                chunk = self.next().await.ok_or_else(|| self.wrong_length())?;
            }
            let missing = usize::try_from(bytes - part.len() as u64).unwrap_or(usize::MAX);
            self.rest = chunk.split_off(missing.min(chunk.len()));
            part.extend_from_slice(&chunk);
        }
        Ok(part.freeze())
    }

    /// Checks that no more bytes arrive, and returns the digest of all bytes.
    async fn end(mut self) -> Result<[u8; 32], PutError> {
        while self.given <= self.bytes && self.next().await.is_some() {}
        if self.given == self.bytes {
            Ok(self.digest.finalize().into())
        } else {
            Err(self.wrong_length())
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.recv().await?;
        self.given += chunk.len() as u64;
        self.digest.update(&chunk);
        Some(chunk)
    }

    fn wrong_length(&self) -> PutError {
        PutError::Length {
            path: self.key.path().to_owned(),
            expected: self.bytes,
            given: self.given,
        }
    }
}

/// Answer of S3 to the request that makes an object visible.
enum Made {
    Written,
    /// The key has an object already, or another upload is creating one.
    Taken(BucketError),
}

impl S3 {
    pub(super) async fn upload(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError> {
        let incoming = Incoming {
            key,
            bytes,
            given: 0,
            digest: Sha256::new(),
            chunks,
            rest: Bytes::new(),
        };
        let (made, digest) = if bytes <= PART_BYTES {
            self.upload_whole(incoming).await?
        } else {
            self.upload_in_parts(incoming).await?
        };
        match made {
            Made::Written => Ok(Put::Written),
            Made::Taken(error) => self.compare(key, bytes, &digest, error).await,
        }
    }

    /// Uploads an object in one request, whatever its length.
    ///
    /// S3 refuses the body if its digest is another one, so nobody computes the digest again here.
    pub(in crate::objects) async fn upload_verified(
        &self,
        key: &ObjectKey,
        body: Bytes,
        digest: &[u8; 32],
    ) -> Result<Put, PutError> {
        let bytes = body.len() as u64;
        match self.put_whole(key, body, digest).await? {
            Made::Written => Ok(Put::Written),
            Made::Taken(error) => self.compare(key, bytes, digest, error).await,
        }
    }

    async fn upload_whole(&self, mut incoming: Incoming<'_>) -> Result<(Made, [u8; 32]), PutError> {
        let key = incoming.key;
        let body = incoming.take(incoming.bytes).await?;
        let digest = incoming.end().await?;
        let made = self.put_whole(key, body, &digest).await?;
        Ok((made, digest))
    }

    async fn put_whole(
        &self,
        key: &ObjectKey,
        body: Bytes,
        digest: &[u8; 32],
    ) -> Result<Made, PutError> {
        let put = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.path())
            .content_type(key.headers().content_type)
            .cache_control(key.headers().cache_control)
            .checksum_sha256(checksum::text(*digest))
            .if_none_match(ABSENT)
            .body(ByteStream::from(body))
            .customize()
            // The signature covers the checksum, and so the body, without another digest of it.
            .disable_payload_signing()
            .config_override(upload_settings())
            .send()
            .await;
        match put {
            Ok(_) => Ok(Made::Written),
            Err(error) if is_taken(error.code()) => Ok(Made::Taken(self.failed(error))),
            Err(error) if error.code() == Some(OTHER_DIGEST) => Err(PutError::Digest {
                path: key.path().to_owned(),
            }),
            Err(error) => Err(put_error(key, self.failed(error))),
        }
    }

    /// Uploads one part after the other. If the upload fails, its parts are discarded.
    async fn upload_in_parts(&self, incoming: Incoming<'_>) -> Result<(Made, [u8; 32]), PutError> {
        let key = incoming.key;
        let begun = self.begin(key).await;
        let id = begun.map_err(|source| put_error(key, source))?;
        let made = self.upload_parts(incoming, &id).await;
        if !matches!(made, Ok((Made::Written, _))) {
            // If the parts cannot be discarded now, they stay invisible and are removed with the folder.
            let _ = self.abort(key.path(), &id).await;
        }
        made
    }

    async fn begin(&self, key: &ObjectKey) -> Result<String, BucketError> {
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.path())
            .content_type(key.headers().content_type)
            .cache_control(key.headers().cache_control)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        begun
            .upload_id
            .ok_or_else(|| self.refused("no upload id", "the upload was created without an id"))
    }

    async fn upload_parts(
        &self,
        mut incoming: Incoming<'_>,
        id: &str,
    ) -> Result<(Made, [u8; 32]), PutError> {
        let (key, bytes) = (incoming.key, incoming.bytes);
        let fail = |source| put_error(key, source);
        let mut parts = Vec::new();
        let mut left = bytes;
        for number in 1.. {
            let part = incoming.take(left.min(part_bytes(bytes))).await?;
            left -= part.len() as u64;
            let stored = self.upload_part(key, id, number, part).await;
            parts.push(stored.map_err(fail)?);
            if left == 0 {
                break;
            }
        }
        let digest = incoming.end().await?;
        let made = self.complete(key, id, bytes, parts).await.map_err(fail)?;
        Ok((made, digest))
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        id: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, BucketError> {
        let checksum = checksum::text(Sha256::digest(&part).into());
        let stored = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key.path())
            .upload_id(id)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(part))
            .customize()
            .disable_payload_signing()
            .config_override(upload_settings())
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(stored.e_tag)
            .checksum_sha256(checksum)
            .build())
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        id: &str,
        bytes: u64,
        parts: Vec<CompletedPart>,
    ) -> Result<Made, BucketError> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.path())
            .upload_id(id)
            .multipart_upload(parts)
            .set_mpu_object_size(i64::try_from(bytes).ok())
            .if_none_match(ABSENT)
            .send()
            .await;
        match completed {
            Ok(_) => Ok(Made::Written),
            // If the answer to a first, successful attempt was lost, the upload no longer exists.
            Err(error) if is_taken(error.code()) || error.code() == Some("NoSuchUpload") => {
                Ok(Made::Taken(self.failed(error)))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) async fn abort(&self, path: &str, id: &str) -> Result<(), BucketError> {
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.bucket)
            .key(path)
            .upload_id(id)
            .send()
            .await;
        match aborted {
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            aborted => aborted.map(|_| ()).map_err(|error| self.failed(error)),
        }
    }

    /// Compares the existing object with the one to put. `taken` is the error of the put.
    async fn compare(
        &self,
        key: &ObjectKey,
        bytes: u64,
        digest: &[u8; 32],
        taken: BucketError,
    ) -> Result<Put, PutError> {
        let fail = |source| put_error(key, source);
        let Some(mut stored) = self.open(key.path()).await.map_err(fail)? else {
            return Err(fail(taken));
        };
        let stored_bytes = stored.content_length().and_then(|n| u64::try_from(n).ok());
        let mut found = Sha256::new();
        // Equal digests mean that an earlier upload of the same object succeeded.
        if stored_bytes == Some(bytes) {
            while let Some(chunk) = stored.body.next().await {
                found.update(&chunk.map_err(|error| fail(self.broke_off(error)))?);
            }
            if <[u8; 32]>::from(found.finalize()) == *digest {
                return Ok(Put::Present);
            }
        }
        Err(PutError::Conflict {
            path: key.path().to_owned(),
        })
    }
}

fn put_error(key: &ObjectKey, source: BucketError) -> PutError {
    PutError::Bucket {
        path: key.path().to_owned(),
        source: source.into(),
    }
}

/// Returns true if a conditional write was refused because of another object.
fn is_taken(code: Option<&str>) -> bool {
    matches!(code, Some("PreconditionFailed" | CONDITIONAL_CONFLICT))
}

//! Checksums of objects, as S3 writes them in headers.
//!
//! S3 computes the SHA-256 of each request's body. The checksum of an object in parts is the digest
//! of the parts' digests, with their number
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>).

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::ChecksumMode;
use data_encoding::BASE64;
use packcast_protocol::Sha256Digest;
use sha2::{Digest as _, Sha256};

use super::client::S3;
use super::error::BucketError;
use super::part::part_bytes;
use crate::objects::digest::{PartsDigest, StoredDigest};

/// Returns the text of a digest for a header.
pub(super) fn text(digest: [u8; 32]) -> String {
    BASE64.encode(&digest)
}

/// Reads the checksum of an object of `bytes` bytes.
///
/// Returns `None` if the parts do not have the length that the publisher gives them.
fn read(checksum: &str, bytes: u64) -> Option<StoredDigest> {
    let digest = |text: &str| <[u8; 32]>::try_from(BASE64.decode(text.as_bytes()).ok()?).ok();
    match checksum.split_once('-') {
        None => Some(StoredDigest::Whole(Sha256Digest::from_bytes(digest(
            checksum,
        )?))),
        Some((checksum, parts)) => {
            let part_bytes = part_bytes(bytes);
            let is_expected = parts.parse() == Ok(bytes.div_ceil(part_bytes));
            is_expected.then_some(StoredDigest::Parts {
                part_bytes,
                digest: PartsDigest::from_bytes(digest(checksum)?),
            })
        }
    }
}

impl S3 {
    /// Returns the digest of an object of `bytes` bytes, or `None` if there is no such object.
    pub(super) async fn stored_digest(
        &self,
        path: &str,
        bytes: u64,
    ) -> Result<Option<StoredDigest>, BucketError> {
        let head = self
            .client
            .head_object()
            .bucket(&*self.bucket)
            .key(path)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let head = match head {
            Err(error) if error.code() == Some("NotFound") => return Ok(None),
            head => head.map_err(|error| self.failed(error))?,
        };
        if head.content_length().and_then(|n| u64::try_from(n).ok()) != Some(bytes) {
            return Ok(None);
        }
        match head.checksum_sha256().and_then(|text| read(text, bytes)) {
            Some(digest) => Ok(Some(digest)),
            None => self.hash(path).await,
        }
    }

    /// Reads an object to compute its digest.
    async fn hash(&self, path: &str) -> Result<Option<StoredDigest>, BucketError> {
        let Some(mut object) = self.open(path).await? else {
            return Ok(None);
        };
        let mut digest = Sha256::new();
        while let Some(chunk) = object.body.next().await {
            digest.update(&chunk.map_err(|error| self.broke_off(error))?);
        }
        let digest = Sha256Digest::from_bytes(digest.finalize().into());
        Ok(Some(StoredDigest::Whole(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn checksums_of_whole_objects_and_of_parts_are_read() {
        let digest = [7; 32];
        let whole = Sha256Digest::from_bytes(digest);
        assert_eq!(read(&text(digest), 3), Some(StoredDigest::Whole(whole)));
        assert_eq!(
            read(&format!("{}-2", text(digest)), 9 * MIB),
            Some(StoredDigest::Parts {
                part_bytes: 8 * MIB,
                digest: PartsDigest::from_bytes(digest),
            })
        );
    }

    #[test]
    fn checksums_of_other_parts_and_other_texts_are_not_used() {
        let of_parts = |parts: &str| format!("{}-{parts}", text([7; 32]));
        for unusable in [
            String::new(),
            "abc".to_owned(),
            "AAAA".to_owned(),
            of_parts("1"),
            of_parts("3"),
            of_parts("two"),
        ] {
            assert_eq!(read(&unusable, 9 * MIB), None, "{unusable}");
        }
    }
}

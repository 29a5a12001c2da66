//! Objects in a bucket.

mod checksum;
mod client;
mod connect;
mod delete;
pub(super) mod error;
mod part;
mod read;
mod upload;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use packcast_protocol::ObjectPath;
use tokio::sync::mpsc;

use super::backend::{Backend, Put};
use super::digest::StoredDigest;
use super::error::{DeleteError, GetError, PutError};
use crate::key::ObjectKey;

pub use self::client::S3;
pub use self::connect::S3Config;
pub use self::error::{BucketError, BucketFault};

fn get_error(path: &str, source: BucketError) -> GetError {
    GetError::Bucket {
        path: path.to_owned(),
        source: source.into(),
    }
}

impl Backend for S3 {
    async fn put(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError> {
        self.upload(key, bytes, chunks).await
    }

    async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError> {
        let found = self.walk(folder).await;
        found.map_err(|source| get_error(folder.as_str(), source))
    }

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, GetError> {
        let fail = |source| get_error(path, source);
        let Some(mut object) = self.open(path).await.map_err(fail)? else {
            return Ok(None);
        };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk.map_err(|error| fail(self.broke_off(error)))?;
            // Check before the copy, so that a huge object never fills the memory.
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(GetError::TooLarge {
                    path: path.to_owned(),
                    limit,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes.freeze()))
    }

    async fn digest(&self, path: &str, bytes: u64) -> Result<Option<StoredDigest>, GetError> {
        let found = self.stored_digest(path, bytes).await;
        found.map_err(|source| get_error(path, source))
    }

    async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        self.remove(folder).await
    }
}

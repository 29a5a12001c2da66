//! Objects in a bucket.

mod connect;
mod delete;
mod error;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use packcast_protocol::ObjectPath;
use tokio::sync::mpsc;

pub use connect::S3Config;
pub use error::{BucketError, BucketFault};

use super::{Backend, DeleteError, GetError, Put, PutError};
use crate::key::ObjectKey;

/// A bucket that holds objects at their paths.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    bucket: Arc<str>,
    /// The address, or the service and its region: what an error names.
    endpoint: Arc<str>,
}

impl S3 {
    /// Makes the bucket; one that is there already stays as it is.
    ///
    /// For an engine on this machine: in the cloud the bucket is part of the stack.
    pub async fn create_bucket(&self) -> Result<(), BucketError> {
        let made = self
            .client
            .create_bucket()
            .bucket(&*self.bucket)
            .send()
            .await;
        match made {
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            made => made.map(|_| ()).map_err(|error| self.failed(error)),
        }
    }

    /// Asks for an object; none if there is none.
    async fn open(&self, path: &str) -> Result<Option<GetObjectOutput>, BucketError> {
        let found = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(path)
            .send()
            .await;
        match found {
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            found => found.map(Some).map_err(|error| self.failed(error)),
        }
    }

    async fn walk(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, BucketError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(below(folder))
            .into_paginator()
            .send();
        let mut objects = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(error))?;
            for object in page.contents.unwrap_or_default() {
                let bytes = object.size.and_then(|bytes| u64::try_from(bytes).ok());
                if let (Some(path), Some(bytes)) = (object.key, bytes) {
                    objects.insert(path, bytes);
                }
            }
        }
        Ok(objects)
    }
}

fn get_error(path: &str, source: BucketError) -> GetError {
    GetError::Bucket {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Returns what the paths below a folder begin with.
fn below(folder: &ObjectPath) -> String {
    format!("{folder}/")
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

    async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        self.remove(folder).await
    }
}

//! Reading and listing objects.

use std::collections::BTreeMap;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use packcast_protocol::ObjectPath;

use super::client::S3;
use super::error::BucketError;

impl S3 {
    /// Requests an object. Returns `None` if it does not exist.
    pub(super) async fn open(&self, path: &str) -> Result<Option<GetObjectOutput>, BucketError> {
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

    /// Returns the path and the size of every object below a folder.
    pub(super) async fn walk(
        &self,
        folder: &ObjectPath,
    ) -> Result<BTreeMap<String, u64>, BucketError> {
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

/// Returns the prefix of all paths below a folder.
pub(super) fn below(folder: &ObjectPath) -> String {
    format!("{folder}/")
}

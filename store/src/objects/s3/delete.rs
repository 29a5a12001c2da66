//! Removing all objects below a folder.

use aws_sdk_s3::types::{Delete, Error, ObjectIdentifier};
use packcast_protocol::ObjectPath;

use super::client::S3;
use super::error::BucketError;
use super::read::below;
use crate::objects::error::DeleteError;

/// Maximum number of keys that S3 accepts in one request.
const BATCH: usize = 1000;

impl S3 {
    /// Removes the objects below a folder, then the remains of unfinished uploads.
    pub(super) async fn remove(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        let fail = |source: BucketError| DeleteError::Bucket {
            path: folder.to_string(),
            source: source.into(),
        };
        let paths: Vec<String> = self.walk(folder).await.map_err(fail)?.into_keys().collect();
        for batch in paths.chunks(BATCH) {
            self.remove_batch(batch).await?;
        }
        self.abort_uploads(folder).await.map_err(fail)?;
        Ok(paths.len() as u64)
    }

    /// Removes several objects with one request.
    ///
    /// If S3 refuses some keys, this fails, but the other objects are removed.
    async fn remove_batch(&self, paths: &[String]) -> Result<(), DeleteError> {
        let fail = |path: &str, source: BucketError| DeleteError::Bucket {
            path: path.to_owned(),
            source: source.into(),
        };
        let keys = paths.iter().map(|path| {
            let key = ObjectIdentifier::builder().key(path).build();
            key.expect("the key is set")
        });
        let batch = Delete::builder()
            .set_objects(Some(keys.collect()))
            .quiet(true)
            .build()
            .expect("the keys are set");
        let removed = self
            .client
            .delete_objects()
            .bucket(&*self.bucket)
            .delete(batch)
            .send()
            .await
            .map_err(|error| fail(&paths[0], self.failed(error)))?;
        match removed.errors() {
            [] => Ok(()),
            [first, ..] => Err(fail(
                first.key().unwrap_or(&paths[0]),
                self.refused_key(first),
            )),
        }
    }

    fn refused_key(&self, error: &Error) -> BucketError {
        let code = error.code().unwrap_or("no code");
        self.refused(code, error.message().unwrap_or(code))
    }

    /// Aborts the unfinished uploads below a folder.
    async fn abort_uploads(&self, folder: &ObjectPath) -> Result<(), BucketError> {
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&*self.bucket)
                .prefix(below(folder))
                .send()
                .await
                .map_err(|error| self.failed(error))?;
            for upload in page.uploads() {
                if let (Some(path), Some(id)) = (upload.key(), upload.upload_id()) {
                    self.abort(path, id).await?;
                }
            }
            // Aborted uploads are not listed again, so the first page always has the next ones.
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
        }
    }
}

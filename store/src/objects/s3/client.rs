//! The bucket to which every request goes.

use std::sync::Arc;

use aws_sdk_s3::Client;

/// A bucket in which each object is stored under its path.
#[derive(Clone, Debug)]
pub struct S3 {
    pub(super) client: Client,
    pub(super) bucket: Arc<str>,
    /// Name of the service in errors: its address, or `S3 in` and the region.
    pub(super) endpoint: Arc<str>,
}

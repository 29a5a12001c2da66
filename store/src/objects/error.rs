//! Errors from every kind of object store.

use std::io;

use super::s3::BucketError;

/// Errors from putting an object. Nothing of the object is visible.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("object {path} exists with other content, and objects never change")]
    Conflict { path: String },
    #[error("object {path}: expected {expected} bytes, found {given}")]
    Length {
        path: String,
        expected: u64,
        given: u64,
    },
    #[error("cannot write object {path}: no space is left in {place}")]
    NoSpace {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot write object {path}: check the permissions of {place}")]
    Denied {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot write object {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot store object {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Errors from reading objects.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("object {path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("cannot read {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot read {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Errors from removing the objects of a folder.
///
/// Some objects may be removed already. Another try can remove the others.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("cannot remove {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot remove {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

impl PutError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl GetError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl DeleteError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

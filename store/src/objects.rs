//! Published objects: immutable bytes under a key.

mod directory;
mod s3;

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use packcast_protocol::ObjectPath;
use tokio::sync::mpsc;

pub use directory::Directory;
pub use s3::{BucketError, BucketFault, S3, S3Config};

use crate::key::ObjectKey;

/// Whether an object was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Written,
    /// The same bytes were there already.
    Present,
}

/// Why an object was not put; nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("object {path} exists with other content, and objects never change")]
    Conflict { path: String },
    #[error("object {path} was announced with {expected} bytes, but {given} came")]
    Length {
        path: String,
        expected: u64,
        given: u64,
    },
    #[error("no space is left for object {path} in {place}")]
    NoSpace {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("object {path} may not be written in {place}: check who may write there")]
    Denied {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("object {path} could not be written in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("object {path} could not be stored")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Why objects were not read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("object {path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("{path} could not be read in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("{path} could not be read")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Why not all objects of a folder were removed; what is left can be removed by another try.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("{path} could not be removed in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("{path} could not be removed")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

impl PutError {
    /// Tells whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl GetError {
    /// Tells whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl DeleteError {
    /// Tells whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

/// Where the objects of a target are.
#[derive(Clone, Debug)]
pub enum Objects {
    Directory(Directory),
    S3(S3),
}

/// What every place of objects can do.
trait Backend {
    async fn put(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError>;

    async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError>;

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, GetError>;

    async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError>;
}

impl Objects {
    /// Puts an object of exactly `bytes` bytes, which come in chunks of any size.
    ///
    /// It becomes visible whole or not at all. The sender tells a source that failed by
    /// sending fewer bytes.
    pub async fn put(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError> {
        match self {
            Self::Directory(directory) => directory.put(key, bytes, chunks).await,
            Self::S3(s3) => s3.put(key, bytes, chunks).await,
        }
    }

    /// Puts an object that is held in memory.
    pub async fn put_bytes(&self, key: &ObjectKey, bytes: Bytes) -> Result<Put, PutError> {
        let (sender, chunks) = mpsc::channel(1);
        let length = bytes.len() as u64;
        if !bytes.is_empty() {
            // A channel of one has room for the only chunk.
            let _ = sender.try_send(bytes);
        }
        drop(sender);
        self.put(key, length, chunks).await
    }

    /// Returns path and size in bytes of every object below a folder, at any depth.
    ///
    /// A folder that does not exist has no objects.
    pub async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError> {
        match self {
            Self::Directory(directory) => directory.list(folder).await,
            Self::S3(s3) => s3.list(folder).await,
        }
    }

    /// Returns an object of at most `limit` bytes; none if there is none.
    pub async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Option<Bytes>, GetError> {
        match self {
            Self::Directory(directory) => directory.get(key.path(), limit).await,
            Self::S3(s3) => s3.get(key.path(), limit).await,
        }
    }

    /// Removes every object below a folder, at any depth, and what unfinished ones have left.
    ///
    /// Returns how many objects there were. A folder that does not exist has none.
    pub async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        match self {
            Self::Directory(directory) => directory.delete(folder).await,
            Self::S3(s3) => s3.delete(folder).await,
        }
    }
}

//! Published objects: immutable bytes under a key.

mod backend;
mod digest;
mod directory;
mod error;
mod s3;
mod staging;

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use packcast_protocol::{ObjectPath, Sha256Digest};
use tokio::sync::mpsc;

use self::backend::Backend as _;
use crate::key::ObjectKey;

pub use self::backend::Put;
pub use self::digest::{PartsDigest, PartsHasher, StoredDigest};
pub use self::directory::Directory;
pub use self::error::{DeleteError, GetError, PutError};
pub use self::s3::{BucketError, BucketFault, S3, S3Config};
pub use self::staging::{Staging, StagingArea};

/// Object store of a target.
#[derive(Clone, Debug)]
pub enum Objects {
    Directory(Directory),
    S3(S3),
}

impl Objects {
    /// Puts an object of exactly `bytes` bytes, which arrive in chunks of any size.
    ///
    /// The object becomes visible whole or not at all. If the sender's source fails, the sender
    /// closes the channel before it has sent all bytes, and nothing is written.
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

    /// Puts an object of at most 5 GiB from memory, whose digest the caller has computed.
    ///
    /// Bytes with another digest are refused: a bucket computes the digest itself, so that this machine
    /// need not.
    pub async fn put_verified(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        sha256: Sha256Digest,
    ) -> Result<Put, PutError> {
        match self {
            Self::Directory(_) if Sha256Digest::of(&bytes) != sha256 => Err(PutError::Digest {
                path: key.path().to_owned(),
            }),
            Self::Directory(_) => self.put_bytes(key, bytes).await,
            Self::S3(s3) => s3.upload_verified(key, bytes, sha256.as_bytes()).await,
        }
    }

    /// Puts an object from memory.
    pub async fn put_bytes(&self, key: &ObjectKey, bytes: Bytes) -> Result<Put, PutError> {
        let (sender, chunks) = mpsc::channel(1);
        let length = bytes.len() as u64;
        if !bytes.is_empty() {
            // The channel has room for the only chunk, so sending cannot fail.
            let _ = sender.try_send(bytes);
        }
        drop(sender);
        self.put(key, length, chunks).await
    }

    /// Creates a place for complete files that get the path of an object later, or returns `None` if
    /// the objects are in a bucket. Blocks the thread.
    pub fn stage(&self) -> io::Result<Option<Staging>> {
        match self {
            Self::Directory(directory) => Staging::create(directory).map(Some),
            Self::S3(_) => Ok(None),
        }
    }

    /// Returns the path and the size in bytes of every object below a folder, at any depth.
    ///
    /// A folder that does not exist has no objects.
    pub async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError> {
        match self {
            Self::Directory(directory) => directory.list(folder).await,
            Self::S3(s3) => s3.list(folder).await,
        }
    }

    /// Returns an object of at most `limit` bytes, or `None` if it does not exist.
    pub async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Option<Bytes>, GetError> {
        match self {
            Self::Directory(directory) => directory.get(key.path(), limit).await,
            Self::S3(s3) => s3.get(key.path(), limit).await,
        }
    }

    /// Returns the digest of an object of `bytes` bytes, or `None` if there is no such object.
    ///
    /// A bucket answers one HEAD request. The object is read only if S3 has no usable digest of it,
    /// or if it is in a directory.
    pub async fn digest(
        &self,
        key: &ObjectKey,
        bytes: u64,
    ) -> Result<Option<StoredDigest>, GetError> {
        match self {
            Self::Directory(directory) => directory.digest(key.path(), bytes).await,
            Self::S3(s3) => s3.digest(key.path(), bytes).await,
        }
    }

    /// Removes every object below a folder, at any depth, and the remains of unfinished uploads.
    ///
    /// Returns the number of removed objects. A folder that does not exist has no objects.
    pub async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        match self {
            Self::Directory(directory) => directory.delete(folder).await,
            Self::S3(s3) => s3.delete(folder).await,
        }
    }
}

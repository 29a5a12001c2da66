//! The operations that every kind of object store has.

use std::collections::BTreeMap;

use bytes::Bytes;
use packcast_protocol::ObjectPath;
use tokio::sync::mpsc;

use super::digest::StoredDigest;
use super::error::{DeleteError, GetError, PutError};
use crate::key::ObjectKey;

/// Outcome of putting an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was written.
    Written,
    /// An object with the same bytes existed already.
    Present,
}

/// The operations of an object store. See [`Objects`](super::Objects) for their meaning.
pub(super) trait Backend {
    async fn put(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError>;

    async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError>;

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, GetError>;

    async fn digest(&self, path: &str, bytes: u64) -> Result<Option<StoredDigest>, GetError>;

    async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError>;
}

//! Pages of trees, each found by its hash.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use packcast_protocol::state::NodeHash;

use super::super::item::Item;
use super::super::key::Key;
use super::super::{Records, RecordsError};

/// Attribute with the bytes of a page.
const BYTES: &str = "bytes";

/// Attribute with the hash of a page, because answers have no order.
const HASH: &str = "hash";

/// A page with its hash. The reader of the bytes compares them with the hash.
pub type StoredPage = (NodeHash, Vec<u8>);

impl Records {
    /// Writes pages. A page that exists already is written again.
    pub async fn put_pages(&self, pages: &[StoredPage]) -> Result<(), RecordsError> {
        self.put_all(pages.iter().map(item).collect()).await
    }

    /// Returns the pages with these hashes, in no particular order. Unknown hashes are left out.
    pub async fn pages(&self, hashes: &[NodeHash]) -> Result<Vec<StoredPage>, RecordsError> {
        let keys: Vec<Key> = hashes.iter().map(Key::page).collect();
        let items = self.unchanging_batch(&keys).await?;
        items.into_iter().map(page).collect()
    }
}

fn item((hash, bytes): &StoredPage) -> Item {
    let mut item = Key::page(hash).attributes();
    item.insert(HASH.to_owned(), AttributeValue::S(hash.to_string()));
    let bytes = AttributeValue::B(Blob::new(bytes.clone()));
    item.insert(BYTES.to_owned(), bytes);
    item
}

fn page(mut item: Item) -> Result<StoredPage, RecordsError> {
    let Some(AttributeValue::S(hash)) = item.remove(HASH) else {
        return Err(corrupt("", "the page has no hash".into()));
    };
    let Some(AttributeValue::B(bytes)) = item.remove(BYTES) else {
        return Err(corrupt(&hash, "the page has no bytes".into()));
    };
    match hash.parse() {
        Ok(known) => Ok((known, bytes.into_inner())),
        Err(error) => Err(corrupt(&hash, Box::new(error))),
    }
}

fn corrupt(key: &str, source: Box<dyn std::error::Error + Send + Sync>) -> RecordsError {
    RecordsError::Corrupt {
        key: format!("PAGE#{key}"),
        source,
    }
}

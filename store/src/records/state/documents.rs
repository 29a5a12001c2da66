//! Documents of the signed state, each found by its digest.

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::DocumentText;
use serde::{Deserialize, Serialize};

use super::super::item;
use super::super::key::Key;
use super::super::{Records, RecordsError};

#[derive(Serialize, Deserialize)]
struct DocumentItem {
    text: DocumentText,
}

impl Records {
    /// Writes documents. A document that exists already is written again.
    pub async fn put_documents(&self, documents: &[DocumentText]) -> Result<(), RecordsError> {
        let items = documents.iter().map(|text| {
            let key = Key::document(&text.digest());
            key.item(&DocumentItem { text: text.clone() })
        });
        self.put_all(items.collect()).await
    }

    /// Returns the documents with these digests, in no particular order. Unknown digests are left
    /// out.
    ///
    /// The digest of each text is computed again. An item whose text has another digest than its
    /// key is an error.
    pub async fn documents(
        &self,
        digests: &[Sha256Digest],
    ) -> Result<Vec<DocumentText>, RecordsError> {
        let keys: Vec<Key> = digests.iter().map(Key::document).collect();
        let items = self.unchanging_batch(&keys).await?;
        let read = |item| {
            let key = |read: &DocumentItem| Key::document(&read.text.digest());
            item::read_at(item, key).map(|read: DocumentItem| read.text)
        };
        items.into_iter().map(read).collect()
    }
}

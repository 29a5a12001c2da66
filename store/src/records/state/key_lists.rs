//! The key lists of a target, each in its own item.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::state::{KeyListId, SignedKeyList};
use serde::{Deserialize, Serialize};

use super::super::commit::Commit;
use super::super::key::{Key, Range};
use super::super::write;
use super::super::{Records, RecordsError};

#[derive(Serialize, Deserialize)]
struct KeyListItem {
    #[serde(flatten)]
    signed: SignedKeyList,
}

impl Records {
    /// Returns the key lists with serial numbers above `after`, in the order of these numbers.
    pub async fn lists_after(&self, after: u64) -> Result<Vec<SignedKeyList>, RecordsError> {
        let items: Vec<KeyListItem> = self.all(&Range::key_lists(after)).await?;
        Ok(items.into_iter().map(|item| item.signed).collect())
    }

    /// Adds a key list. Returns false, and adds nothing, if it is on record already.
    pub async fn add_list(
        &self,
        id: &KeyListId,
        signed: &SignedKeyList,
    ) -> Result<bool, RecordsError> {
        let write = self.adding_list(id, signed);
        Ok(self.commit(vec![write]).await? == Commit::Done)
    }

    /// Returns the write that adds a key list, on the condition that it is not on record.
    pub(super) fn adding_list(&self, id: &KeyListId, signed: &SignedKeyList) -> TransactWriteItem {
        let item = Key::key_list(id).item(&KeyListItem {
            signed: signed.clone(),
        });
        write::create(self.table(), item)
    }
}

//! The key lists of a target, all in one item.

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::names::SERIAL;
use super::stored::{self, KeyListsItem, NumberedKeyList};
use super::write::{self, ABSENT, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Returns the published key lists, in order.
    pub async fn key_lists(&self) -> Result<Vec<NumberedKeyList>, RecordsError> {
        let lists: Option<KeyListsItem> = self.get(&Key::keys()).await?;
        Ok(lists.unwrap_or_default().lists)
    }

    /// Appends key lists to the existing key lists, which are `before`.
    ///
    /// Returns false, and adds nothing, if other key lists were added in the meantime.
    pub async fn add_key_lists(
        &self,
        before: &[NumberedKeyList],
        added: &[NumberedKeyList],
    ) -> Result<bool, RecordsError> {
        let serial = added.last().map_or(0, |newest| newest.serial);
        let lists = before.iter().chain(added).cloned().collect();
        let item = stored::key_lists(&KeyListsItem { serial, lists });
        let write = match before.last() {
            None => write::put(self.table(), item, ABSENT, &Terms::default()),
            Some(newest) => {
                let terms = Terms::default()
                    .name(SERIAL)
                    .value("serial", item::number(&newest.serial));
                write::put(self.table(), item, "#serial = :serial", &terms)
            }
        };
        Ok(self.commit(vec![write]).await? == Commit::Done)
    }
}

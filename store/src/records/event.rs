//! Events: the changes of an administrator that are not part of the signed state.
//!
//! Each event is written in the transaction of its change, so that neither is on record without the
//! other. The role of the function can neither read nor write events.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_rollout::event::{AdministratorEvent, ChangedBy, EventTime, UnsignedChange};

use super::item::{self, Item};
use super::key::{Key, Range};
use super::write;
use super::{Records, RecordsError};

/// An event on record. Nothing verifies it.
#[derive(Debug)]
pub struct EventRecord {
    pub at: EventTime,
    /// An error if the item is not an event.
    pub event: Result<AdministratorEvent, RecordsError>,
}

/// The place in the list of events at which the next request continues.
#[derive(Clone, Debug)]
pub struct EventCursor(Item);

impl Records {
    /// Returns the newest events before a time, the newest first, with one Query that reads at most
    /// `most` events.
    ///
    /// The next request continues at the returned cursor; `None` after the oldest event. The cost
    /// does not depend on the number of events on record.
    pub async fn events(
        &self,
        before: EventTime,
        from: Option<EventCursor>,
        most: u16,
    ) -> Result<(Vec<EventRecord>, Option<EventCursor>), RecordsError> {
        let query = self
            .query(&Range::events(before))
            .scan_index_forward(false)
            .limit(i32::from(most).max(1))
            .set_exclusive_start_key(from.map(|from| from.0));
        let found = query.send().await.map_err(|error| self.failed(error))?;
        let items = found.items.unwrap_or_default().into_iter();
        let events = items.filter_map(|item| {
            // Only forged keys do not begin with a time.
            let at = Key::time_of_event(&item)?;
            let event = item::read(item);
            Some(EventRecord { at, event })
        });
        let next = found.last_evaluated_key.map(EventCursor);
        Ok((events.collect(), next))
    }

    /// Returns the write of the event of a change, for the transaction of the change.
    pub(super) fn event(&self, by: &ChangedBy, change: UnsignedChange) -> TransactWriteItem {
        let key = Key::event(by.at, fastrand::u64(..));
        // Only a new item: no event takes the place of another.
        write::create(self.table(), key.item(&by.event(change)))
    }
}

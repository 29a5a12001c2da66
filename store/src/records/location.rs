//! The locations of a target.

use packcast_rollout::LocationRecord;

use super::item;
use super::key::Range;
use super::stored;
use super::{Records, RecordsError};

impl Records {
    /// Adds a location that the signed state does not have yet. Returns the location of the same
    /// name that it replaces, if there is one.
    pub async fn add_location(
        &self,
        location: &LocationRecord,
    ) -> Result<Option<LocationRecord>, RecordsError> {
        let replaced = self.put(stored::location(location)).await?;
        replaced.map(item::read).transpose()
    }

    /// Returns every location, in the order of the names.
    pub async fn locations(&self) -> Result<Vec<LocationRecord>, RecordsError> {
        self.all(&Range::locations()).await
    }
}

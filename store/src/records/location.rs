//! The locations of a target.

use aws_sdk_dynamodb::types::ReturnValue;
use packcast_protocol::LocationName;
use packcast_rollout::LocationRecord;

use super::item;
use super::key::{Key, Range};
use super::stored;
use super::{Records, RecordsError};

impl Records {
    /// Adds a location. Returns the location of the same name that it replaces, if there is one.
    pub async fn add_location(
        &self,
        location: &LocationRecord,
    ) -> Result<Option<LocationRecord>, RecordsError> {
        let replaced = self.put(stored::location(location)).await?;
        replaced.map(item::read).transpose()
    }

    /// Removes and returns a location. Packages that are active there keep it.
    pub async fn remove_location(
        &self,
        name: &LocationName,
    ) -> Result<Option<LocationRecord>, RecordsError> {
        let output = self
            .client
            .delete_item()
            .table_name(self.table())
            .set_key(Some(Key::location(name).attributes()))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        output.attributes.map(item::read).transpose()
    }

    /// Returns every location, in the order of the names.
    pub async fn locations(&self) -> Result<Vec<LocationRecord>, RecordsError> {
        self.all(&Range::locations()).await
    }
}

//! The places that serve a target's objects.

use packcast_protocol::LocationName;
use packcast_rollout::LocationRecord;

use super::{Records, RecordsError};

impl Records {
    /// Adds a location, or replaces the one of its name, which is returned.
    pub async fn add_location(
        &self,
        _location: &LocationRecord,
    ) -> Result<Option<LocationRecord>, RecordsError> {
        unimplemented!()
    }

    /// Removes and returns a location; packages that were activated there keep it.
    pub async fn remove_location(
        &self,
        _name: &LocationName,
    ) -> Result<Option<LocationRecord>, RecordsError> {
        unimplemented!()
    }

    /// Returns every location, by name.
    pub async fn locations(&self) -> Result<Vec<LocationRecord>, RecordsError> {
        unimplemented!()
    }
}

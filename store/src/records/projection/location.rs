//! The records of locations.

use packcast_protocol::{Location, LocationName};
use packcast_rollout::LocationRecord;

use super::super::commit::Commit;
use super::super::key::Key;
use super::super::stored;
use super::super::write;
use super::super::{Records, RecordsError};
use super::group::MAX_WRITES;

impl Records {
    /// Writes the addresses of locations, so that they follow from the head with this order. A
    /// location without an address is removed. Packages that are active there keep it.
    ///
    /// A location has no order of its own: it is written only while the head has this order.
    /// Returns false if there is a later head. The rest is not written then.
    pub async fn project_locations(
        &self,
        locations: &[(LocationName, Option<Location>)],
        order: u64,
    ) -> Result<bool, RecordsError> {
        for locations in locations.chunks(MAX_WRITES - 1) {
            let writes = locations.iter().map(|(name, location)| match location {
                Some(location) => {
                    let (name, location) = (name.clone(), location.clone());
                    let record = LocationRecord { name, location };
                    write::replace(self.table(), stored::location(&record))
                }
                None => write::remove(self.table(), &Key::location(name)),
            });
            let writes = writes.chain([self.at_head(order)]).collect();
            if self.commit(writes).await? != Commit::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! The table itself.

use super::{Records, RecordsError};

impl Records {
    /// Creates the table, for embedded engines; one that exists is left as it is.
    pub async fn create_table(&self) -> Result<(), RecordsError> {
        unimplemented!()
    }
}

//! The table that every question goes to.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;

/// The one table of a target.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) client: Client,
    pub(super) table: Arc<str>,
    /// What an operator knows the service by: an address, or a region.
    pub(super) endpoint: Arc<str>,
}

impl Records {
    pub fn table(&self) -> &str {
        &self.table
    }
}

//! The table to which every request goes.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;

/// The one table of a target.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) client: Client,
    pub(super) table: Arc<str>,
    /// Name of the service in errors: its address, or its region.
    pub(super) endpoint: Arc<str>,
    /// Reads of lists and counts are eventually consistent.
    pub(super) is_for_display: bool,
}

impl Records {
    pub fn table(&self) -> &str {
        &self.table
    }
}
